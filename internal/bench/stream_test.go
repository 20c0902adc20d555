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
)

// A streamer is one way to read the chunks of a streamed answer. It returns
// how many there were.
type streamer struct {
	name string
	make func(tb testing.TB, net http.RoundTripper) func() (int, error)
}

var streamers = []streamer{
	{"scanner+json", scannerStream},
	{"latchkey", func(tb testing.TB, net http.RoundTripper) func() (int, error) {
		return latchkeyStream(newClient(tb, client.Config{Transport: net}))
	}},
	{"latchkey-noguard", func(tb testing.TB, net http.RoundTripper) func() (int, error) {
		return latchkeyStream(newClient(tb, client.Config{Transport: net, DisableStreamGuard: true}))
	}},
	{"latchkey+log", func(tb testing.TB, net http.RoundTripper) func() (int, error) {
		return latchkeyStream(newClient(tb, client.Config{Transport: net, Logger: jsonLogger()}))
	}},
	{"scanner+json-over-latchkey+log", func(tb testing.TB, net http.RoundTripper) func() (int, error) {
		return scannerStream(tb, newClient(tb, client.Config{Transport: net, Logger: jsonLogger()}).HTTPClient().Transport)
	}},
	{"go-openai", goopenaiStream},
	{"openai-go", func(_ testing.TB, net http.RoundTripper) func() (int, error) {
		return openaiStream(option.WithHTTPClient(&http.Client{Transport: net}), option.WithBaseURL(baseURL), option.WithAPIKey(fakeKey))
	}},
	{"openai-go+latchkey+log", func(tb testing.TB, net http.RoundTripper) func() (int, error) {
		return openaiStream(newClient(tb, client.Config{Transport: net, Logger: jsonLogger()}).Options()...)
	}},
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
	body := chatStream()
	for _, p := range streamers {
		b.Run("peer="+p.name, func(b *testing.B) {
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
