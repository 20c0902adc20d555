package bench_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	goopenai "github.com/sashabaranov/go-openai"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/middleware"
	"github.com/latchkey-go/latchkey/middleware/limit"
)

// A streamer is one way to read the chunks of a streamed answer. It returns
// how many there were.
type streamer struct {
	name string
	make func(tb testing.TB, net http.RoundTripper) func() (int, error)
	// usage puts one more chunk at the end, which the reader does not see.
	usage bool
}

var streamers = []streamer{
	{name: "scanner+json", make: scannerStream},
	{name: "latchkey", make: func(tb testing.TB, net http.RoundTripper) func() (int, error) {
		return latchkeyStream(newClient(tb, client.Config{Transport: net}))
	}},
	{name: "latchkey-noguard", make: func(tb testing.TB, net http.RoundTripper) func() (int, error) {
		return latchkeyStream(newClient(tb, client.Config{Transport: net, DisableStreamGuard: true}))
	}},
	{name: "latchkey+log", make: func(tb testing.TB, net http.RoundTripper) func() (int, error) {
		return latchkeyStream(newClient(tb, client.Config{Transport: net, Logger: jsonLogger()}))
	}},
	{name: "latchkey+observe", make: func(tb testing.TB, net http.RoundTripper) func() (int, error) {
		return latchkeyStream(newClient(tb, client.Config{Transport: net, Observe: reported(tb, false)}))
	}},
	{name: "latchkey+observe+usage", usage: true, make: func(tb testing.TB, net http.RoundTripper) func() (int, error) {
		return latchkeyStream(newClient(tb, client.Config{Transport: net, Observe: reported(tb, true), IncludeUsage: true}))
	}},
	{name: "latchkey+limits+usage", usage: true, make: func(tb testing.TB, net http.RoundTripper) func() (int, error) {
		return latchkeyStream(newClient(tb, client.Config{Transport: net, Limits: wideLimits(tb), IncludeUsage: true}))
	}},
	{name: "scanner+json-over-latchkey+log", make: func(tb testing.TB, net http.RoundTripper) func() (int, error) {
		return scannerStream(tb, newClient(tb, client.Config{Transport: net, Logger: jsonLogger()}).HTTPClient().Transport)
	}},
	{name: "go-openai", make: goopenaiStream},
	{name: "openai-go", make: func(_ testing.TB, net http.RoundTripper) func() (int, error) {
		return openaiStream(option.WithHTTPClient(&http.Client{Transport: net}), option.WithBaseURL(baseURL), option.WithAPIKey(fakeKey))
	}},
	{name: "openai-go+latchkey+log", make: func(tb testing.TB, net http.RoundTripper) func() (int, error) {
		return openaiStream(newClient(tb, client.Config{Transport: net, Logger: jsonLogger()}).Options()...)
	}},
}

// reported returns an observer that checks whether a stream told its usage.
func reported(tb testing.TB, want bool) func(context.Context, *middleware.Send) {
	return func(_ context.Context, s *middleware.Send) {
		if s.Usage.Reported != want || want && s.Usage.Output != streamChunks {
			tb.Errorf("usage %+v", s.Usage)
		}
	}
}

// wideLimits have room for any benchmark.
func wideLimits(tb testing.TB) *limit.Limiter {
	l, err := limit.New([]limit.Limit{
		{Name: "requests", Per: limit.Minute, Requests: 1 << 50, By: limit.ByTenant},
		{Name: "tokens", Per: limit.Minute, Tokens: 1 << 60, By: limit.ByModel},
		{Name: "cost", Per: limit.Day, Cost: 1e9},
	}, &limit.Options{
		Prices:     map[string]limit.Price{"*": {Input: 0.01, Output: 0.01}},
		WorstInput: 1000, WorstOutput: 1000,
	})
	must(tb, err)
	return l
}

// usageChunk is the last chunk of a stream that was asked for its usage.
func usageChunk() string {
	return fmt.Sprintf(`data: {"id":"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT","object":"chat.completion.chunk","created":1741569952,`+
		`"model":"gpt-4.1-2025-04-14","service_tier":"default","system_fingerprint":"fp_44709d6fcb","choices":[],`+
		`"usage":{"prompt_tokens":19,"completion_tokens":%d,"total_tokens":%d,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},`+
		`"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"obfuscation":"aRVV"}`+"\n\n",
		streamChunks, streamChunks+19)
}

type streamPrompt struct {
	Model    string          `json:"model"`
	Stream   bool            `json:"stream"`
	Messages []streamMessage `json:"messages"`
}

type streamMessage struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

var streamRequest = streamPrompt{Model: "gpt-4.1", Stream: true, Messages: []streamMessage{{"user", "Hello!"}}}

// scannerStream is the least that one would write by hand.
func scannerStream(_ testing.TB, net http.RoundTripper) func() (int, error) {
	c := &http.Client{Transport: net}
	return func() (int, error) {
		data, err := json.Marshal(streamRequest)
		if err != nil {
			return 0, err
		}
		req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, chatURL, bytes.NewReader(data))
		if err != nil {
			return 0, err
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "text/event-stream")
		req.Header.Set("Authorization", "Bearer "+fakeKey)
		resp, err := c.Do(req)
		if err != nil {
			return 0, err
		}
		defer func() { _ = resp.Body.Close() }()
		n := 0
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
			if !ok {
				continue
			}
			if string(data) == "[DONE]" {
				return n, nil
			}
			var c chunk
			if err := json.Unmarshal(data, &c); err != nil {
				return n, err
			}
			n++
		}
		return n, lines.Err()
	}
}

func latchkeyStream(c *client.Client) func() (int, error) {
	return func() (int, error) {
		n := 0
		for ev, err := range c.Stream(context.Background(), "chat/completions", streamRequest) {
			if err != nil {
				return n, err
			}
			var c chunk
			if err := json.Unmarshal(ev.Data, &c); err != nil {
				return n, err
			}
			n++
		}
		return n, nil
	}
}

func goopenaiStream(_ testing.TB, net http.RoundTripper) func() (int, error) {
	cfg := goopenai.DefaultConfig(fakeKey)
	cfg.BaseURL = strings.TrimSuffix(baseURL, "/")
	cfg.HTTPClient = &http.Client{Transport: net}
	c := goopenai.NewClientWithConfig(cfg)
	return func() (int, error) {
		s, err := c.CreateChatCompletionStream(context.Background(), goopenai.ChatCompletionRequest{
			Model: "gpt-4.1", Messages: []goopenai.ChatCompletionMessage{{Role: "user", Content: "Hello!"}},
		})
		if err != nil {
			return 0, err
		}
		defer func() { _ = s.Close() }()
		for n := 0; ; n++ {
			if _, err := s.Recv(); errors.Is(err, io.EOF) {
				return n, nil
			} else if err != nil {
				return n, err
			}
		}
	}
}

func openaiStream(opts ...option.RequestOption) func() (int, error) {
	oai := openai.NewClient(opts...)
	return func() (int, error) {
		s := oai.Chat.Completions.NewStreaming(context.Background(), chatParams("Hello!"))
		defer func() { _ = s.Close() }()
		n := 0
		for s.Next() {
			_ = s.Current()
			n++
		}
		return n, s.Err()
	}
}

// BenchmarkStream reads 200 chunks from memory, each into a struct.
func BenchmarkStream(b *testing.B) {
	plain := chatStream()
	for _, p := range streamers {
		b.Run("peer="+p.name, func(b *testing.B) {
			body := plain
			if p.usage {
				body = strings.Replace(plain, "data: [DONE]", usageChunk()+"data: [DONE]", 1)
			}
			read := p.make(b, newMemory("text/event-stream; charset=utf-8", body))
			must(b, complete(read))
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if err := complete(read); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func complete(read func() (int, error)) error {
	n, err := read()
	if err == nil && n != streamChunks {
		err = fmt.Errorf("%d chunks, want %d", n, streamChunks)
	}
	return err
}
