package client_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

const usageKey = "sk-CANARY-usage-0123456789abcdef"

// sends collects the records of sends.
type sends struct {
	mu  sync.Mutex
	all []middleware.Send
	got chan struct{}
}

func (s *sends) observe(_ context.Context, send *middleware.Send) {
	s.mu.Lock()
	s.all = append(s.all, *send)
	s.mu.Unlock()
	s.got <- struct{}{}
}

// next waits for the record of a send.
func (s *sends) next(t *testing.T) middleware.Send {
	t.Helper()
	select {
	case <-s.got:
	case <-t.Context().Done():
		t.Fatal("no record")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[len(s.all)-1]
}

func usageClient(t *testing.T, cfg client.Config, handler http.HandlerFunc) (*client.Client, *sends) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	seen := &sends{got: make(chan struct{}, 100)}
	cfg.BaseURL, cfg.Source, cfg.Observe = server.URL+"/v1/", credential.Static(credential.NewSecret(usageKey), credential.APIKey), seen.observe
	cfg.Retry = &middleware.RetryOptions{MaxRetries: -1}
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c, seen
}

func eventStream(events ...string) string {
	return "data: " + strings.Join(events, "\n\ndata: ") + "\n\n"
}

const usageChunk = `{"id":"c","object":"chat.completion.chunk","model":"gpt-4o","choices":[],"usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":4}}}`

func contentChunk(text string) string {
	return `{"id":"c","object":"chat.completion.chunk","model":"gpt-4o","choices":[{"index":0,"delta":{"content":"` + text + `"},"finish_reason":null}],"usage":null}`
}

func TestASendTellsWhatTheAnswerUsed(t *testing.T) {
	var body, contentType string
	status := 200
	c, seen := usageClient(t, client.Config{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
	counted := middleware.Usage{Reported: true, Input: 19, Output: 10, CachedInput: 4, Model: "gpt-4o", ID: "c"}
	for name, answer := range map[string]struct {
		body, contentType string
		status            int
		want              middleware.Usage
	}{
		"JSON":                     {usageChunk, "application/json", 200, counted},
		"stream":                   {eventStream(contentChunk("a"), usageChunk, "[DONE]"), "text/event-stream", 200, counted},
		"wrong media type":         {eventStream(contentChunk("a"), usageChunk, "[DONE]"), "application/json", 200, counted},
		"stream without":           {eventStream(contentChunk("a"), "[DONE]"), "text/event-stream", 200, middleware.Usage{Model: "gpt-4o", ID: "c"}},
		"stream that was cut":      {eventStream(contentChunk("a")), "text/event-stream", 200, middleware.Usage{Model: "gpt-4o", ID: "c"}},
		"blocked prompt":           {`{"error":{"code":"content_filter","innererror":{"content_filter_result":{"violence":{"filtered":true,"severity":"medium"}}}}}`, "application/json", 400, middleware.Usage{Finish: "content_filter", PromptFilter: "violence medium filtered"}},
		"error":                    {`{"error":{"code":"server_error"}}`, "application/json", 500, middleware.Usage{}},
		"the key as a model":       {`{"model":"` + usageKey + `","usage":{"input_tokens":1,"output_tokens":2}}`, "application/json", 200, middleware.Usage{Reported: true, Input: 1, Output: 2, Model: "[redacted]"}},
		"the key as a name":        {`{"id":"` + usageKey + `","system_fingerprint":"` + usageKey + `"}`, "application/json", 200, middleware.Usage{ID: "[redacted]", Fingerprint: "[redacted]"}},
		"the key as a finish":      {`{"choices":[{"finish_reason":"` + usageKey + `"}]}`, "application/json", 200, middleware.Usage{Finish: "[redacted]"}},
		"the key as a category":    {`{"choices":[{"content_filter_results":{"` + usageKey + `":{"filtered":true}}}]}`, "application/json", 200, middleware.Usage{AnswerFilter: "[redacted] filtered"}},
		"the key as a tier, error": {`{"service_tier":"` + usageKey + `"}`, "application/json", 400, middleware.Usage{ServiceTier: "redacted"}},
	} {
		body, contentType, status = answer.body, answer.contentType, answer.status
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.BaseURL()+"chat/completions", strings.NewReader(`{"model":"m"}`))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.HTTPClient().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		got := seen.next(t).Usage
		if name == "the key as a tier, error" {
			// The body has lost the key before it is looked at, and what is left is no word.
			if strings.Contains(fmt.Sprint(got), "CANARY") {
				t.Error("the key came out")
			}
			continue
		}
		if got != answer.want {
			t.Errorf("%s: %+v, want %+v", name, strings.ReplaceAll(fmt.Sprintf("%+v", got), "CANARY", "..."), answer.want)
		}
	}
}

// An SDK stops at [DONE] and closes the body before its end.
func TestUsageIsThereForAReaderThatStopsAtTheLastEvent(t *testing.T) {
	hold := make(chan struct{})
	c, seen := usageClient(t, client.Config{}, func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, eventStream(contentChunk("a"), usageChunk, "[DONE]"))
		_ = http.NewResponseController(w).Flush()
		select {
		case <-hold:
		case <-req.Context().Done():
		}
	})
	defer close(hold)
	sdk := openai.NewClient(c.Options()...)
	s := sdk.Chat.Completions.NewStreaming(t.Context(), openai.ChatCompletionNewParams{Model: "m", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hi")}})
	for s.Next() {
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	if got := seen.next(t).Usage; got.Input != 19 || !got.Reported {
		t.Errorf("%+v", got)
	}
}

func TestACompressedAnswerHasNoUsage(t *testing.T) {
	c, seen := usageClient(t, client.Config{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Type", "application/json")
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, usageChunk)
		_ = z.Close()
	})
	for encoding, want := range map[string]bool{"gzip": false, "": true} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.BaseURL()+"x", nil)
		if err != nil {
			t.Fatal(err)
		}
		if encoding != "" {
			req.Header.Set("Accept-Encoding", encoding)
		}
		resp, err := c.HTTPClient().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if got := seen.next(t).Usage.Reported; got != want {
			t.Errorf("Accept-Encoding %q: reported %t", encoding, got)
		}
	}
}

func TestLogPrintsTheUsage(t *testing.T) {
	var log bytes.Buffer
	c, seen := usageClient(t, client.Config{Logger: slog.New(slog.NewJSONHandler(&log, nil))}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"object":"response","model":"gpt-4.1","status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"service_tier":"flex","content_filters":[{"source_type":"prompt","content_filter_results":{"jailbreak":{"detected":true}}},{"source_type":"completion","content_filter_results":{"hate":{"severity":"low"}}}],"output":[{"content":[{"type":"refusal"}]}],"usage":{"input_tokens":36,"input_tokens_details":{"cached_tokens":11},"output_tokens":87,"output_tokens_details":{"reasoning_tokens":64}}}`)
	})
	if _, err := c.Post(t.Context(), "/responses", map[string]string{"model": "m"}, nil); err != nil {
		t.Fatal(err)
	}
	seen.next(t)
	var record map[string]any
	if err := json.Unmarshal(log.Bytes(), &record); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{
		"input_tokens": 36.0, "cached_tokens": 11.0, "output_tokens": 87.0, "reasoning_tokens": 64.0, "answered_by": "gpt-4.1", "service_tier": "flex",
		"finish": "max_output_tokens", "refusal": true, "prompt_filter": "jailbreak detected", "answer_filter": "hate low",
	} {
		if record[name] != want {
			t.Errorf("%s = %v, want %v", name, record[name], want)
		}
	}
}

// ObserveIf decides by the context of the call.
func TestObserveIfDecidesForWhichSends(t *testing.T) {
	type wanted struct{}
	asked := 0
	c, seen := usageClient(t, client.Config{ObserveIf: func(ctx context.Context) bool { asked++; return ctx.Value(wanted{}) != nil }}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, usageChunk)
	})
	for range 3 {
		if _, err := c.Post(t.Context(), "/chat/completions", nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Post(context.WithValue(t.Context(), wanted{}, true), "/chat/completions", nil, nil); err != nil {
		t.Fatal(err)
	}
	if got := seen.next(t).Usage; !got.Reported || len(seen.all) != 1 || asked != 4 {
		t.Errorf("%d records after %d questions, %+v", len(seen.all), asked, got)
	}
}

// asking is a server that reports the usage of a stream if it is asked to.
func asking(bodies *[]string, query *string) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		b, _ := io.ReadAll(req.Body)
		if req.ContentLength != int64(len(b)) {
			http.Error(w, "wrong length", http.StatusBadRequest)
			return
		}
		*bodies, *query = append(*bodies, string(b)), req.URL.RawQuery
		var asked struct {
			StreamOptions struct {
				IncludeUsage bool `json:"include_usage"`
			} `json:"stream_options"`
		}
		if json.Unmarshal(b, &asked) != nil {
			http.Error(w, "no JSON", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		events := []string{`{"choices":[],"prompt_filter_results":[]}`, contentChunk("a"), contentChunk(`\"usage\"`), usageChunk, "[DONE]"}
		if !asked.StreamOptions.IncludeUsage {
			events = append(events[:3], "[DONE]")
		}
		for _, e := range events {
			_, _ = io.WriteString(w, ": ping\n\n"+eventStream(e))
			_ = http.NewResponseController(w).Flush()
		}
	}
}

func TestIncludeUsageAsksForWhatTheCallerDoesNotSee(t *testing.T) {
	var bodies []string
	var query string
	plain := strings.ReplaceAll(eventStream(`{"choices":[],"prompt_filter_results":[]}`, contentChunk("a"), contentChunk(`\"usage\"`), "[DONE]"), "data", ": ping\n\ndata")
	full := strings.Replace(plain, "data: [DONE]", "data: "+usageChunk+"\n\n: ping\n\ndata: [DONE]", 1)
	seenByCaller := strings.Replace(full, "data: "+usageChunk+"\n\n", "", 1)
	for name, test := range map[string]struct {
		path, body, sent string
		query            string
		reported         bool
		caller           string
	}{
		"not asked for": {"chat/completions", `{"stream":true,"model":"m"}`, `{"stream_options":{"include_usage":true},"stream":true,"model":"m"}`, "", true, seenByCaller},
		"completions":   {"completions", `{"stream":true}`, `{"stream_options":{"include_usage":true},"stream":true}`, "", true, seenByCaller},
		"other options": {"chat/completions", `{"stream_options": {"include_obfuscation":false} , "stream":true}`, `{"stream_options": {"include_usage":true,"include_obfuscation":false} , "stream":true}`, "", true, seenByCaller},
		"null":          {"chat/completions", `{"stream":true,"stream_options":null}`, `{"stream":true,"stream_options":{"include_usage":true}}`, "", true, seenByCaller},
		"empty":         {"chat/completions", `{"stream_options":{},"stream":true}`, `{"stream_options":{"include_usage":true},"stream":true}`, "", true, seenByCaller},
		"asked for":     {"chat/completions", `{"stream_options":{"include_usage":true},"stream":true}`, "", "", true, full},
		"refused":       {"chat/completions", `{"stream_options":{"include_usage":false},"stream":true}`, "", "", false, plain},
		"no stream":     {"chat/completions", `{"model":"m","stream":false}`, "", "", false, plain},
		"odd options":   {"chat/completions", `{"stream":true,"stream_options":5}`, "", "", false, ""},
		"responses":     {"responses", `{"stream":true}`, "", "", false, plain},
		"old version":   {"chat/completions", `{"stream":true}`, "", "api-version=2024-06-01", false, plain},
		"new version":   {"chat/completions", `{"stream":true}`, `{"stream_options":{"include_usage":true},"stream":true}`, "api-version=2024-10-21", true, seenByCaller},
		"preview":       {"chat/completions", `{"stream":true}`, `{"stream_options":{"include_usage":true},"stream":true}`, "api-version=preview", true, seenByCaller},
	} {
		bodies = nil
		c, seen := usageClient(t, client.Config{IncludeUsage: true, DisableStreamGuard: true}, asking(&bodies, &query))
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.BaseURL()+test.path+"?"+test.query, strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := c.HTTPClient().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		send := seen.next(t)
		if name == "odd options" {
			if resp.StatusCode != 400 {
				t.Errorf("%s: status %d, want the server's own", name, resp.StatusCode)
			}
			continue
		}
		if err != nil || resp.StatusCode != 200 || len(bodies) != 1 {
			t.Errorf("%s: %d, %v, sent %q", name, resp.StatusCode, err, bodies)
			continue
		}
		if want := firstOf(test.sent, test.body); bodies[0] != want {
			t.Errorf("%s: sent %s, want %s", name, bodies[0], want)
		}
		if send.Usage.Reported != test.reported {
			t.Errorf("%s: reported %t", name, send.Usage.Reported)
		}
		if string(got) != test.caller {
			t.Errorf("%s: the caller got\n%s\nwant\n%s", name, got, test.caller)
		}
	}
}

func firstOf(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}

// What a server sends to keep the connection open is not held back, and an event
// reaches the caller before the next one has come.
func TestIncludeUsageDelaysNoEvent(t *testing.T) {
	next := make(chan string)
	finish := sync.OnceFunc(func() { close(next) })
	defer finish()
	c, _ := usageClient(t, client.Config{IncludeUsage: true, DisableStreamGuard: true}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for event := range next {
			_, _ = io.WriteString(w, event)
			_ = http.NewResponseController(w).Flush()
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.BaseURL()+"chat/completions", strings.NewReader(`{"stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	events := []string{": ping\n\n", eventStream(contentChunk("a")), ": a\r\n\r\n", "event: x\r\ndata: 1\r\n\r\n", "data: " + strings.Repeat("x", 70<<10), "y\n\n", ": ping\n\n"}
	go func() { next <- events[0] }()
	resp, err := c.HTTPClient().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for i, event := range events {
		if i > 0 {
			next <- event
		}
		got := make([]byte, len(event))
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != event {
			t.Fatalf("event %d: %q, %v", i, got, err)
		}
	}
	finish()
	if rest, err := io.ReadAll(resp.Body); len(rest) != 0 || err != nil {
		t.Errorf("then %q, %v", rest, err)
	}
}
