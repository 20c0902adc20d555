package client_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/redact"
	"github.com/latchkey-go/latchkey/internal/redact/redacttest"
	"github.com/latchkey-go/latchkey/middleware"
)

const (
	gatewayCanary = "0123456789abcdefCANARY0123456789"
	tokenCanary   = "eyJ0eXAiOiJKV1QifQ.eyJDQU5BUlkiOjF9.CANARY_token-signature"
)

// An echoing server answers every request with the same bytes, over a
// connection in memory.
type echoing struct{ answer string }

func (e *echoing) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	go func() {
		defer func() { _ = far.Close() }()
		if req, err := http.ReadRequest(bufio.NewReader(far)); err == nil {
			_, _ = io.Copy(io.Discard, req.Body)
			_, _ = io.WriteString(far, e.answer)
		}
	}()
	return near, nil
}

// A leakRow is a way for a credential to go out.
type leakRow struct {
	name, secret string
	cfg          client.Config
}

func leakRows() []leakRow {
	bare := func(text string, scheme credential.Scheme) credential.Source {
		return credential.Static(credential.NewSecret(text), scheme)
	}
	return []leakRow{
		{"key", key, client.Config{}},
		{"key in a header of its own", gatewayCanary, client.Config{Source: bare(gatewayCanary, credential.APIKey), KeyHeader: "api-key"}},
		{"token", tokenCanary, client.Config{Source: bare(tokenCanary, credential.BearerToken)}},
		{"gateway's key", gatewayCanary, client.Config{SubscriptionKey: bare(gatewayCanary, credential.APIKey)}},
	}
}

// A leakTest is a client whose server echoes, and all that is shown of its calls.
type leakTest struct {
	server echoing
	client *client.Client
	secret string
	shown  map[string]*strings.Builder
}

func newLeakTest(t *testing.T, row leakRow) *leakTest {
	t.Helper()
	l := &leakTest{secret: row.secret, shown: map[string]*strings.Builder{}}
	row.cfg.Cache = &credential.CacheOptions{Grace: -1}
	l.client = l.newClient(t, row.cfg, &middleware.RetryOptions{MaxRetries: -1}, l.server.dial)
	return l
}

// newClient returns a client whose sinks are those of l.
func (l *leakTest) newClient(t *testing.T, cfg client.Config, retry *middleware.RetryOptions, dial func(context.Context, string, string) (net.Conn, error)) *client.Client {
	t.Helper()
	transport := &http.Transport{DialContext: dial, DisableKeepAlives: true}
	t.Cleanup(transport.CloseIdleConnections)
	if cfg.Source == nil {
		cfg.Source = static()
	}
	cfg.BaseURL, cfg.Transport, cfg.Retry = "http://localhost/v1/", transport, retry
	cfg.Logger = slog.New(slog.NewJSONHandler(writerFunc(func(p []byte) { l.show("Log", string(p)) }), nil))
	cfg.Log = &middleware.LogOptions{Headers: []string{"X-Named", "X-Request-Id", "Server", "Warning"}}
	cfg.Observe = func(_ context.Context, s *middleware.Send) { l.show("Observe", fmt.Sprintf("%+v", *s)) }
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

func (l *leakTest) show(sink string, what ...any) {
	if l.shown[sink] == nil {
		l.shown[sink] = &strings.Builder{}
	}
	_, _ = fmt.Fprintln(l.shown[sink], what...)
}

func (l *leakTest) showError(sink string, err error) {
	if err == nil {
		return
	}
	l.show(sink, fmt.Sprintf("%v %+v", err, err))
	if e, ok := client.AsError(err); ok {
		l.show(sink+": fields", e.Message, e.Code, e.Type, e.Param, e.RequestID, e.Hint())
	}
}

// leaks makes calls that are answered so, and returns the sinks that show the
// secret.
func (l *leakTest) leaks(ctx context.Context, t *testing.T, answer string) (sinks []string) {
	t.Helper()
	clear(l.shown)
	l.server.answer = answer
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		l.show("the caller's trace", code, h)
		return nil
	}})
	var out struct {
		Choices []struct{ Index json.Number }
		Created time.Time
		ID      string
	}
	res, err := l.client.Post(ctx, "chat/completions", chatRequest, &out)
	l.show("Response", fmt.Sprintf("%+v", res))
	l.showError("Post", err)
	for _, err := range l.client.Stream(ctx, "chat/completions", chatRequest) {
		l.showError("Stream", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://localhost/v1/chat/completions", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := l.client.HTTPClient().Do(req); err == nil { // follows redirects
		text, err := io.ReadAll(resp.Body)
		l.showError("read", err)
		_ = resp.Body.Close()
		if resp.StatusCode >= 300 {
			l.show("the body of a refusal", string(text))
		}
		l.show("http.Response", resp.Status, resp.Header, resp.Trailer, resp.Request.URL)
	} else {
		l.showError("HTTPClient", err)
	}
	for sink, text := range l.shown {
		if redact.Text(text.String(), false, l.secret) != text.String() {
			sinks = append(sinks, sink)
		}
	}
	return sinks
}

// fullMatrix makes a test take every cell of the matrix, which takes minutes.
const fullMatrix = "LATCHKEY_LEAK_MATRIX"

// cells calls f with each place, form and status. Unless every cell is wanted it
// takes a few statuses for each place and form, in turn, so that every place and
// every form meets every status.
func cells(secret string, f func(redacttest.Place, redacttest.Form, int)) {
	statuses, few, turn := redacttest.Statuses(), 2, 0
	if os.Getenv(fullMatrix) != "" {
		few = len(statuses)
	} else if raceEnabled || !proofs() {
		few = 1
	}
	forms := redacttest.Forms(secret)
	for _, place := range redacttest.Places() {
		for i, form := range forms {
			if (raceEnabled || !proofs()) && i%4 != turn%4 {
				continue
			}
			n := few
			if place.Fixed {
				n = 1
			}
			for range n {
				f(place, form, statuses[turn%len(statuses)])
				turn++
			}
		}
	}
}

// Whatever went out, wherever it comes back, with whatever status and in
// whatever form: it is not shown.
func TestNoCredentialIsShownWhereverTheServerEchoesIt(t *testing.T) {
	for _, row := range leakRows() {
		t.Run(row.name, func(t *testing.T) {
			l, checks, sinks := newLeakTest(t, row), 0, map[string]bool{}
			cells(row.secret, func(place redacttest.Place, form redacttest.Form, status int) {
				checks++
				if leaks := l.leaks(t.Context(), t, place.Answer(status, form)); len(leaks) > 0 {
					t.Errorf("%s in the %s, status %d: shown by %q", form.Name, place.Name, status, leaks)
				}
				for sink := range l.shown {
					sinks[sink] = true
				}
			})
			if want := 10; len(sinks) < want {
				t.Errorf("only %d sinks were written to: %v", len(sinks), sinks)
			}
			t.Logf("%d answers, %d sinks", checks, len(sinks))
		})
	}
}

// The credential that went out is not the one that is current when the answer
// goes wrong: another call may have replaced it meanwhile.
func TestAnErrorInAStreamDoesNotShowTheKeyThatWasReplacedMeanwhile(t *testing.T) {
	first, second := credential.NewSecret(key), credential.NewSecret("sk-CANARY-next-0002")
	src := &counted{v: credential.Value{Secret: first}}
	cache, err := credential.NewCache(src, &credential.CacheOptions{Grace: -1})
	if err != nil {
		t.Fatal(err)
	}
	c := inMemory(t, client.Config{Source: cache}, func(req *http.Request) (*http.Response, error) {
		src.v.Secret = second
		if _, err := cache.Replace(req.Context(), credential.Rejection{Value: credential.Value{Secret: first}, StatusCode: 401}); err != nil {
			t.Errorf("the key was not replaced: %T", err)
		}
		return answer(req, 200, "data: {\"error\":{\"message\":\"your key is "+key+"\"}}\n\n", "Content-Type", "text/event-stream"), nil
	})
	_, err = events(t, c, "chat/completions")
	if e := (*client.Error)(nil); !errors.As(err, &e) || e.Message != "your key is [redacted]" {
		t.Error("the error is not the service's, or shows the key")
	}
}
