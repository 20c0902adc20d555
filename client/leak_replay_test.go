package client_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/redact/redacttest"
	"github.com/latchkey-go/latchkey/middleware"
)

const nextCanary = "sk-CANARY-next-0002"

// A rotating provider has a first key for each call, and another one to replace it.
type rotating struct{ first, next string }

func (p rotating) Retrieve(context.Context) (credential.Value, error) {
	return credential.Value{Secret: credential.NewSecret(p.first)}, nil
}

func (p rotating) Replace(context.Context, credential.Rejection) (credential.Value, error) {
	return credential.Value{Secret: credential.NewSecret(p.next)}, nil
}

func (rotating) Accept(credential.Value) {}

// An inTurn provider has two keys, and gives one after the other.
type inTurn struct {
	keys  [2]string
	asked atomic.Int64
}

func (p *inTurn) Retrieve(context.Context) (credential.Value, error) {
	return credential.Value{Secret: credential.NewSecret(p.keys[(p.asked.Add(1)-1)%2])}, nil
}

func (p *inTurn) Replace(ctx context.Context, _ credential.Rejection) (credential.Value, error) {
	return p.Retrieve(ctx)
}

func (*inTurn) Accept(credential.Value) {}

// A remembering server refuses a key, and answers the next one with what it
// remembers of the first.
type remembering struct {
	*echoing
	refused  string
	refusal  string // of the first key
	refusals atomic.Int64
}

func (r *remembering) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	go func() {
		defer func() { _ = far.Close() }()
		if req, err := http.ReadRequest(bufio.NewReader(far)); err == nil {
			_, _ = io.Copy(io.Discard, req.Body)
			answer := r.answer
			for _, values := range req.Header {
				if strings.HasSuffix(strings.Join(values, " "), r.refused) {
					answer = r.refusal
					r.refusals.Add(1)
				}
			}
			_, _ = io.WriteString(far, answer)
		}
	}()
	return near, nil
}

// TestTheKeyOfTheSendBeforeIsNotShownEither: the answer to a replay or a retry
// may hold the credential of the send before it, in any place and form.
func TestTheKeyOfTheSendBeforeIsNotShownEither(t *testing.T) {
	const (
		wrong        = "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
		wrongGateway = "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nWww-Authenticate: AzureApiManagementKey\r\nContent-Length: 0\r\n\r\n"
		busy         = "HTTP/1.1 503 Busy\r\nConnection: close\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"
	)
	for name, tc := range map[string]struct {
		cfg             client.Config
		secret, refusal string
	}{
		"a key that is replaced":           {client.Config{Source: rotating{key, nextCanary}}, key, wrong},
		"a gateway's key that is replaced": {client.Config{SubscriptionKey: rotating{gatewayCanary, nextCanary}}, gatewayCanary, wrongGateway},
		"a key that is another at a retry": {client.Config{Source: &inTurn{keys: [2]string{key, nextCanary}}}, key, busy},
	} {
		t.Run(name, func(t *testing.T) {
			l := &leakTest{secret: tc.secret, shown: map[string]*strings.Builder{}}
			server := &remembering{echoing: &l.server, refused: tc.secret, refusal: tc.refusal}
			l.client = l.newClient(t, tc.cfg, &middleware.RetryOptions{BaseDelay: 1}, server.dial)
			cells(tc.secret, func(place redacttest.Place, form redacttest.Form, status int) {
				if status == http.StatusUnauthorized || status >= 500 || status == 408 || status == 429 {
					return // the next send is refused as well
				}
				server.refusals.Store(0)
				if leaks := l.leaks(t.Context(), t, place.Answer(status, form)); len(leaks) > 0 {
					t.Errorf("%s in the %s, status %d: shown by %q", form.Name, place.Name, status, leaks)
				}
				if n := server.refusals.Load(); n < 3 {
					t.Errorf("%s in the %s: %d of 3 calls were sent again", form.Name, place.Name, n)
				}
			})
		})
	}
}

// TestAnErrorThatIsHeldBackShowsNoKey: neither the answer that stands for it nor
// the record of its send, which quotes but the beginning of it.
func TestAnErrorThatIsHeldBackShowsNoKey(t *testing.T) {
	for n := 260; n <= 300; n += 4 {
		var records strings.Builder
		c := inMemory(t, client.Config{
			Source: rotating{key, nextCanary}, HoldBack: true, Retry: &middleware.RetryOptions{MaxRetries: -1},
			Observe: func(_ context.Context, s *middleware.Send) { _, _ = fmt.Fprintf(&records, "%+v\n", *s) },
		}, func(req *http.Request) (*http.Response, error) {
			if strings.HasSuffix(req.Header.Get("Authorization"), key) {
				return answer(req, 401, ""), nil
			}
			message := strings.Repeat("x", n) + key + " " + nextCanary
			return answer(req, 200, "data: {\"error\":{\"code\":\"server_error\",\"message\":\""+message+"\"}}\n\n", "Content-Type", "text/event-stream"), nil
		})
		req, err := http.NewRequestWithContext(t.Context(), "POST", c.BaseURL()+"chat/completions", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.HTTPClient().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != 500 || !json.Valid(text) || strings.Contains(string(text), "CANARY") {
			t.Errorf("%d: status %d, %d bytes, %v", n, resp.StatusCode, len(text), err)
		}
		if shown := records.String(); strings.Contains(shown, key[:6]) || !strings.Contains(shown, "server_error") {
			t.Errorf("%d: the record shows a part of a key, or not its error", n)
		}
	}
}

// TestWhatIsNoStreamShowsNoKeyOfTheSendBefore: the error quotes the beginning of
// a text, and a key may be cut there.
func TestWhatIsNoStreamShowsNoKeyOfTheSendBefore(t *testing.T) {
	for n := 160; n <= 200; n += 4 {
		var records strings.Builder
		c := inMemory(t, client.Config{
			Source:  rotating{key, nextCanary},
			Observe: func(_ context.Context, s *middleware.Send) { _, _ = fmt.Fprintf(&records, "%+v\n", *s) },
		}, func(req *http.Request) (*http.Response, error) {
			if strings.HasSuffix(req.Header.Get("Authorization"), key) {
				return answer(req, 401, ""), nil
			}
			return answer(req, 200, strings.Repeat("x", n)+" "+key, "Content-Type", "text/plain"), nil
		})
		_, err := events(t, c, "chat/completions")
		if err == nil || strings.Contains(err.Error(), key[:6]) {
			t.Errorf("%d: no error, or one that shows a part of the key", n)
		}
		if shown := records.String(); strings.Contains(shown, key[:6]) || !strings.Contains(shown, "not an event stream") && !strings.Contains(shown, "xxx") {
			t.Errorf("%d: the record shows a part of the key, or not its error", n)
		}
	}
}
