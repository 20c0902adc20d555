package bench_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-retryablehttp"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"golang.org/x/oauth2"

	"github.com/latchkey-go/latchkey/client"
)

// A stack is one way to put a credential, retries and a log around a
// transport.
type stack struct {
	name string
	wrap func(tb testing.TB, base http.RoundTripper) http.RoundTripper
}

var stacks = []stack{
	{"none", func(_ testing.TB, base http.RoundTripper) http.RoundTripper { return base }},
	{"latchkey", func(tb testing.TB, base http.RoundTripper) http.RoundTripper {
		return newClient(tb, client.Config{Transport: base}).HTTPClient().Transport
	}},
	{"latchkey+log", func(tb testing.TB, base http.RoundTripper) http.RoundTripper {
		return newClient(tb, client.Config{Transport: base, Logger: jsonLogger()}).HTTPClient().Transport
	}},
	{"peers", func(_ testing.TB, base http.RoundTripper) http.RoundTripper { return peerStack(base) }},
	{"peers+log", func(_ testing.TB, base http.RoundTripper) http.RoundTripper {
		return peerStack(&slogTransport{logger: jsonLogger(), next: base})
	}},
}

func jsonLogger() *slog.Logger { return slog.New(slog.NewJSONHandler(io.Discard, nil)) }

// peerStack has the same order as ours: a retry asks for the token again.
func peerStack(base http.RoundTripper) http.RoundTripper {
	withToken := &oauth2.Transport{
		Source: oauth2.ReuseTokenSource(nil, oauth2.StaticTokenSource(&oauth2.Token{
			AccessToken: fakeKey, Expiry: time.Now().Add(time.Hour),
		})),
		Base: base,
	}
	return retrying(withToken)
}

func retrying(base http.RoundTripper) http.RoundTripper {
	c := retryablehttp.NewClient()
	c.HTTPClient = &http.Client{Transport: base}
	c.Logger = nil
	c.RetryMax = 2
	c.Backoff = func(time.Duration, time.Duration, int, *http.Response) time.Duration { return 0 }
	return &retryablehttp.RoundTripper{Client: c}
}

// slogTransport is the log that one would write by hand, with the fields of
// ours that it can know.
type slogTransport struct {
	logger *slog.Logger
	next   http.RoundTripper
}

func (t *slogTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	start := time.Now()
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		t.logger.LogAttrs(req.Context(), slog.LevelWarn, "openai request", slog.String("error", err.Error()))
		return nil, err
	}
	resp.Body = &loggedBody{ReadCloser: resp.Body, t: t, req: req, resp: resp, start: start, ttfb: time.Since(start)}
	return resp, nil
}

type loggedBody struct {
	io.ReadCloser
	t     *slogTransport
	req   *http.Request
	resp  *http.Response
	start time.Time
	ttfb  time.Duration
	done  bool
}

func (b *loggedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.log()
	}
	return n, err
}

func (b *loggedBody) Close() error {
	b.log()
	return b.ReadCloser.Close()
}

func (b *loggedBody) log() {
	if b.done {
		return
	}
	b.done = true
	h := b.resp.Header
	b.t.logger.LogAttrs(b.req.Context(), slog.LevelInfo, "openai request",
		slog.String("method", b.req.Method),
		slog.String("host", b.req.URL.Host),
		slog.String("path", b.req.URL.Path),
		slog.Int("status", b.resp.StatusCode),
		slog.Int("attempt", 1),
		slog.String("request_id", h.Get("X-Request-Id")),
		slog.String("credential_source", "oauth2"),
		slog.String("ratelimit_remaining_requests", h.Get("X-Ratelimit-Remaining-Requests")),
		slog.String("ratelimit_remaining_tokens", h.Get("X-Ratelimit-Remaining-Tokens")),
		slog.Duration("duration", time.Since(b.start)),
		slog.Duration("ttfb", b.ttfb),
	)
}

// newRequest has four headers, as a call by hand does.
func newRequest(tb testing.TB, url, body string) *http.Request {
	tb.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url, strings.NewReader(body))
	must(tb, err)
	req.Header = http.Header{
		"Accept":       {"application/json"},
		"Content-Type": {"application/json"},
		"User-Agent":   {"bench/1"},
		"X-Client":     {"bench"},
	}
	return req
}

// roundTrip sends req once more and reads the answer to its end.
func roundTrip(rt http.RoundTripper, req *http.Request) error {
	body, err := req.GetBody()
	if err != nil {
		return err
	}
	req.Body = body
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	return resp.Body.Close()
}

// BenchmarkStack is what the layers add to a call that succeeds at once, over
// a transport that answers from memory.
func BenchmarkStack(b *testing.B) {
	for _, s := range stacks {
		b.Run("call=roundtrip/stack="+s.name, func(b *testing.B) {
			rt := s.wrap(b, newMemory("application/json", chatAnswer))
			req := newRequest(b, chatURL, chatPrompt)
			must(b, roundTrip(rt, req))
			b.ReportAllocs()
			for b.Loop() {
				if err := roundTrip(rt, req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for _, s := range stacks {
		b.Run("call=openai-go/stack="+s.name, func(b *testing.B) {
			call := openaiCall(s.wrap(b, newMemory("application/json", chatAnswer)))
			must(b, call())
			b.ReportAllocs()
			for b.Loop() {
				if err := call(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// openaiCall sends the key itself where the stack does not replace it, so that
// all build the same request.
func openaiCall(rt http.RoundTripper) func() error {
	oai := openai.NewClient(
		option.WithHTTPClient(&http.Client{Transport: rt}),
		option.WithBaseURL(baseURL), option.WithMaxRetries(0), option.WithAPIKey(fakeKey))
	return func() error {
		_, err := oai.Chat.Completions.New(context.Background(), chatParams("Hello!"))
		return err
	}
}

func chatParams(prompt string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model: "gpt-4.1",
		Messages: []openai.ChatCompletionMessageParamUnion{
			openai.DeveloperMessage("You are a helpful assistant."),
			openai.UserMessage(prompt),
		},
	}
}
