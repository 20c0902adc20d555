package client_test

import (
	"context"
	"errors"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
	"github.com/latchkey-go/latchkey/middleware/limit"
)

func newLimiter(t *testing.T, opts *limit.Options, limits ...limit.Limit) *limit.Limiter {
	t.Helper()
	if opts == nil {
		opts = &limit.Options{}
	}
	if opts.WorstInput == 0 {
		opts.WorstInput, opts.WorstOutput = 5000, 1000
	}
	l, err := limit.New(limits, opts)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func limitedClient(t *testing.T, l *limit.Limiter, cfg client.Config, handler http.HandlerFunc) *client.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	if cfg.BaseURL == "" {
		cfg.BaseURL = server.URL + "/v1/"
	}
	if cfg.Source == nil {
		cfg.Source = credential.Static(credential.NewSecret(usageKey), credential.APIKey)
	}
	cfg.Limits = l
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// used returns what is counted of one ceiling.
func used(l *limit.Limiter, what string) (used, reserved int64) {
	for _, s := range l.State() {
		if s.What == what {
			return s.Used, s.Reserved
		}
	}
	return 0, 0
}

// ways are all ways to make a call.
var ways = map[string]func(ctx context.Context, c *client.Client) error{
	"Post": func(ctx context.Context, c *client.Client) error {
		_, err := c.Post(ctx, "/chat/completions", map[string]any{"model": "m"}, nil)
		return err
	},
	"Do, unknown route": func(ctx context.Context, c *client.Client) error {
		_, err := c.Do(ctx, "PATCH", "/nobody/knows", map[string]any{"model": "m"}, nil)
		return err
	},
	"Do, GET": func(ctx context.Context, c *client.Client) error {
		_, err := c.Do(ctx, "GET", "/models", nil, nil)
		return err
	},
	"Stream": func(ctx context.Context, c *client.Client) error {
		for _, err := range c.Stream(ctx, "/chat/completions", map[string]any{"model": "m", "stream": true}) {
			if err != nil {
				return err
			}
		}
		return nil
	},
	"an SDK on top": func(ctx context.Context, c *client.Client) error {
		sdk := openai.NewClient(append(c.Options(), option.WithMaxRetries(1))...)
		_, err := sdk.Chat.Completions.New(ctx, openai.ChatCompletionNewParams{Model: "m", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hi")}})
		return err
	},
	"an upload": func(ctx context.Context, c *client.Client) error {
		var form strings.Builder
		w := multipart.NewWriter(&form)
		part, _ := w.CreateFormFile("file", "f.txt")
		_, _ = io.WriteString(part, "x")
		_ = w.Close()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.BaseURL()+"files", io.NopCloser(strings.NewReader(form.String())))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", w.FormDataContentType())
		return drained(c.HTTPClient().Do(req))
	},
	"a WebSocket": func(ctx context.Context, c *client.Client) error {
		conn, resp, err := websocket.Dial(ctx, c.BaseURL()+"realtime?model=m", &websocket.DialOptions{HTTPClient: c.HTTPClient()})
		if err != nil {
			return err
		}
		_ = resp
		return conn.CloseNow()
	},
}

func drained(resp *http.Response, err error) error {
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func answering(sent *atomic.Int64) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		sent.Add(1)
		if req.Header.Get("Upgrade") != "" {
			conn, err := websocket.Accept(w, req, nil)
			if err == nil {
				_, _, _ = conn.Read(req.Context())
			}
			return
		}
		body, _ := io.ReadAll(req.Body)
		if strings.Contains(string(body), `"stream":true`) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, eventStream(contentChunk("a"), "[DONE]"))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, usageChunk)
	}
}

func TestEveryWayToMakeACallIsCounted(t *testing.T) {
	for name, call := range ways {
		var sent atomic.Int64
		l := newLimiter(t, nil, limit.Limit{Per: limit.Day, Requests: 3})
		c := limitedClient(t, l, client.Config{}, answering(&sent))
		for i := range 6 {
			err := call(t.Context(), c)
			var refused *limit.Error
			switch {
			case i < 3 && err != nil:
				t.Errorf("%s: call %d: %v", name, i+1, err)
			case i >= 3 && (!errors.As(err, &refused) || refused.What != "requests" || refused.Reset.IsZero()):
				t.Errorf("%s: call %d: %v, want a *limit.Error", name, i+1, err)
			}
		}
		if sent.Load() != 3 {
			t.Errorf("%s: the server got %d requests, want 3", name, sent.Load())
		}
	}
}

// What is free again after an answer, and what is not.
func TestAReservationIsSettledByWhatTheAnswerTells(t *testing.T) {
	const chat = `{"model":"m","max_tokens":100,"messages":[]}`
	size := int64(len(chat))
	counted := int64(29)
	worst := size + 100
	for name, test := range map[string]struct {
		path, body string
		answer     func(w http.ResponseWriter)
		want       int64
	}{
		"usage":          {"chat/completions", chat, answerWith(200, usageChunk), counted},
		"no usage":       {"chat/completions", chat, answerWith(200, `{"choices":[]}`), worst},
		"usage, stream":  {"chat/completions", chat, answerWith(200, eventStream(contentChunk("a"), usageChunk, "[DONE]")), counted},
		"no bound":       {"chat/completions", `{"model":"m","messages":[]}`, answerWith(200, `{}`), int64(len(`{"model":"m","messages":[]}`)) + 1000},
		"an image":       {"chat/completions", `{"max_tokens":1,"messages":[{"content":[{"type":"image_url","image_url":{"url":"https://x"}}]}]}`, answerWith(200, `{}`), 5001},
		"no JSON":        {"audio/speech", "text", answerWith(200, "sound"), 6000},
		"unknown route":  {"nobody/knows", `{"max_tokens":5}`, answerWith(200, `{}`), 6000},
		"seconds":        {"audio/transcriptions", "sound", answerWith(200, `{"text":"hi","usage":{"type":"duration","seconds":9}}`), 6000},
		"embeddings":     {"embeddings", `{"input":"hi","model":"e"}`, answerWith(200, `{}`), int64(len(`{"input":"hi","model":"e"}`))},
		"moderation":     {"moderations", `{"input":"hi"}`, answerWith(200, `{}`), 0},
		"400":            {"chat/completions", chat, answerWith(400, `{"error":{}}`), 0},
		"blocked":        {"chat/completions", chat, answerWith(400, `{"error":{"code":"content_filter"}}`), worst},
		"403":            {"chat/completions", chat, answerWith(403, `{}`), 0},
		"404":            {"chat/completions", chat, answerWith(404, `{}`), 0},
		"408":            {"chat/completions", chat, answerWith(408, `{}`), worst},
		"429":            {"chat/completions", chat, answerWith(429, `{}`), 0},
		"500":            {"chat/completions", chat, answerWith(500, `{}`), worst},
		"503":            {"chat/completions", chat, answerWith(503, `{}`), 0},
		"504":            {"chat/completions", chat, answerWith(504, `{}`), worst},
		"a cut stream":   {"chat/completions", chat, answerWith(200, eventStream(contentChunk("a"))), worst},
		"a cut document": {"chat/completions", chat, answerWith(200, usageChunk[:len(usageChunk)-2]), worst},
		"a reset": {"chat/completions", chat, func(w http.ResponseWriter) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_ = conn.(*net.TCPConn).SetLinger(0) //nolint:forcetypeassert // it is one
				_ = conn.Close()
			}
		}, worst},
	} {
		l := newLimiter(t, nil, limit.Limit{Per: limit.Day, Tokens: 1e6, Requests: 1000, InFlight: 1})
		c := limitedClient(t, l, client.Config{Retry: &middleware.RetryOptions{MaxRetries: -1}, DisableStreamGuard: true}, func(w http.ResponseWriter, req *http.Request) {
			_, _ = io.Copy(io.Discard, req.Body)
			test.answer(w)
		})
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.BaseURL()+test.path, strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		if test.body[0] == '{' {
			req.Header.Set("Content-Type", "application/json")
		}
		_ = drained(c.HTTPClient().Do(req))
		got, held := used(l, "tokens")
		requests, _ := used(l, "requests")
		flying, _ := used(l, "in flight")
		if got != test.want || held != 0 || requests != 1 || flying != 0 {
			t.Errorf("%s: %d tokens counted, %d held, %d requests, %d in flight; want %d tokens", name, got, held, requests, flying, test.want)
		}
	}
}

func answerWith(status int, body string) func(w http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		if strings.HasPrefix(body, "data:") {
			w.Header().Set("Content-Type", "text/event-stream")
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestACallThatNeverConnectedIsNotCounted(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close()
	l := newLimiter(t, nil, limit.Limit{Per: limit.Day, Tokens: 1e6, Requests: 1000})
	c := limitedClient(t, l, client.Config{BaseURL: "http://" + listener.Addr().String(), Retry: &middleware.RetryOptions{MaxRetries: -1}}, nil)
	if _, err := c.Post(t.Context(), "/chat/completions", nil, nil); err == nil {
		t.Fatal("no error")
	}
	if n, _ := used(l, "requests"); n != 0 {
		t.Errorf("%d requests counted", n)
	}
}

// A retry is a send like any other, and so is a replay with another credential.
func TestRetriesAndReplaysAreCounted(t *testing.T) {
	var sent atomic.Int64
	l := newLimiter(t, nil, limit.Limit{Per: limit.Day, Requests: 4})
	c := limitedClient(t, l, client.Config{Retry: &middleware.RetryOptions{MaxRetries: 5, BaseDelay: 1}}, func(w http.ResponseWriter, _ *http.Request) {
		sent.Add(1)
		answerWith(503, `{}`)(w)
	})
	_, err := c.Post(t.Context(), "/chat/completions", nil, nil)
	var refused *limit.Error
	if !errors.As(err, &refused) || sent.Load() != 4 {
		t.Errorf("%d sends, %v; want 4 and a *limit.Error", sent.Load(), err)
	}

	sent.Store(0)
	keys := []string{"sk-CANARY-old-0123456789abcdef", "sk-CANARY-new-0123456789abcdef"}
	var read atomic.Int64
	src := credential.SourceFunc(func(context.Context) (credential.Value, error) {
		n := min(read.Add(1), 2)
		return credential.Value{Secret: credential.NewSecret(keys[n-1]), Version: strconv.FormatInt(n, 10)}, nil
	})
	l = newLimiter(t, nil, limit.Limit{Per: limit.Day, Requests: 10, Tokens: 1e6})
	c = limitedClient(t, l, client.Config{Source: src}, func(w http.ResponseWriter, req *http.Request) {
		sent.Add(1)
		if strings.HasSuffix(req.Header.Get("Authorization"), keys[0]) {
			answerWith(401, `{"error":{"code":"invalid_api_key"}}`)(w)
			return
		}
		answerWith(200, usageChunk)(w)
	})
	if _, err := c.Post(t.Context(), "/chat/completions", map[string]int{"max_tokens": 9}, nil); err != nil {
		t.Fatal(err)
	}
	requests, _ := used(l, "requests")
	tokens, held := used(l, "tokens")
	if requests != 2 || sent.Load() != 2 || tokens != 29 || held != 0 {
		t.Errorf("%d requests counted of %d, %d tokens, %d held", requests, sent.Load(), tokens, held)
	}
}

// A refusal is final: it is not retried by us, and no store is asked for another
// credential.
func TestARefusedCallSendsNothingAndIsNotRetried(t *testing.T) {
	var sent, observed atomic.Int64
	l := newLimiter(t, &limit.Options{Prices: map[string]limit.Price{"known": {Input: 1, Output: 2}}}, limit.Limit{Per: limit.Month, Cost: 0.001})
	c := limitedClient(t, l, client.Config{
		Observe: func(context.Context, *middleware.Send) { observed.Add(1) },
		Retry:   &middleware.RetryOptions{BaseDelay: 1},
	}, answering(&sent))
	var refused *limit.Error
	if _, err := c.Post(t.Context(), "/chat/completions", map[string]any{"model": "known", "max_tokens": 600}, nil); !errors.As(err, &refused) || refused.What != "cost" {
		t.Errorf("%v, want a refusal for the cost", err)
	}
	if _, err := c.Post(t.Context(), "/chat/completions", map[string]any{"model": "other", "max_tokens": 1}, nil); !errors.Is(err, limit.ErrPrice) {
		t.Errorf("%v, want ErrPrice", err)
	}
	if sent.Load() != 0 || observed.Load() != 2 {
		t.Errorf("%d sends, %d records; want none, and one for each call", sent.Load(), observed.Load())
	}
	if _, err := c.Post(t.Context(), "/chat/completions", map[string]any{"model": "known-2024-08-06", "max_tokens": 100}, nil); err != nil {
		t.Error(err)
	}
	// 19 input tokens at 1 and 10 output tokens at 2 for a million.
	if got, _ := used(l, "cost"); got != 39_000 {
		t.Errorf("%d billionths counted, want 39,000", got)
	}
}

// A counter that fails is no connection error: the call is not sent again, and the
// endpoint is not left alone for it.
func TestAFailingCounterIsNoFaultOfTheEndpoint(t *testing.T) {
	var sent, asked atomic.Int64
	counter := failingCounter{&asked}
	l := newLimiter(t, &limit.Options{Counter: counter}, limit.Limit{Per: limit.Day, Requests: 5})
	var events atomic.Int64
	other := httptest.NewServer(answering(&sent))
	defer other.Close()
	c := limitedClient(t, l, client.Config{
		Fallbacks: []client.Endpoint{{BaseURL: other.URL + "/v1/", Source: credential.Static(credential.NewSecret(usageKey), credential.APIKey)}},
		OnRoute:   func(middleware.RouteEvent) { events.Add(1) },
	}, answering(&sent))
	if _, err := c.Post(t.Context(), "/chat/completions", nil, nil); !errors.Is(err, limit.ErrCounter) {
		t.Errorf("%v, want ErrCounter", err)
	}
	if sent.Load() != 0 || asked.Load() != 1 || events.Load() != 0 {
		t.Errorf("%d sends, the counter asked %d times, %d events", sent.Load(), asked.Load(), events.Load())
	}
}

type failingCounter struct{ asked *atomic.Int64 }

func (c failingCounter) Settle([]limit.Charge) {}

func (c failingCounter) Reserve(context.Context, []limit.Charge) (int, time.Time, error) {
	c.asked.Add(1)
	return -1, time.Time{}, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
}
