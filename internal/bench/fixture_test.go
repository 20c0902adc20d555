package bench_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
)

const (
	// fakeKey is as long as the keys of OpenAI's projects.
	fakeKey = "sk-proj-CANARY" + filler50 + filler50 + filler50
	// filler50 has 50 characters.
	filler50 = "abcdefghijABCDEFGHIJ0123456789klmnopqrstKLMNOPQRST"
	baseURL  = "https://api.openai.com/v1/"
	chatURL  = baseURL + "chat/completions"
)

// answerHeader is what api.openai.com sends beside an answer.
func answerHeader(contentType string) http.Header {
	return http.Header{
		"Content-Type":                   {contentType},
		"Date":                           {"Mon, 06 Jul 2026 10:00:00 GMT"},
		"Server":                         {"cloudflare"},
		"Access-Control-Expose-Headers":  {"X-Request-ID"},
		"Cf-Cache-Status":                {"DYNAMIC"},
		"Cf-Ray":                         {"8d1f0c2b3a4e5f60-FRA"},
		"Openai-Organization":            {"example"},
		"Openai-Processing-Ms":           {"412"},
		"Openai-Version":                 {"2020-10-01"},
		"Strict-Transport-Security":      {"max-age=31536000; includeSubDomains; preload"},
		"X-Content-Type-Options":         {"nosniff"},
		"X-Envoy-Upstream-Service-Time":  {"418"},
		"X-Ratelimit-Limit-Requests":     {"10000"},
		"X-Ratelimit-Limit-Tokens":       {"2000000"},
		"X-Ratelimit-Remaining-Requests": {"9999"},
		"X-Ratelimit-Remaining-Tokens":   {"1999980"},
		"X-Ratelimit-Reset-Requests":     {"6ms"},
		"X-Ratelimit-Reset-Tokens":       {"0s"},
		"X-Request-Id":                   {"req_0123456789abcdef0123456789abcdef"},
		"Alt-Svc":                        {`h3=":443"; ma=86400`},
	}
}

const chatAnswer = `{
  "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
  "object": "chat.completion",
  "created": 1741569952,
  "model": "gpt-4.1-2025-04-14",
  "choices": [
    {
      "index": 0,
      "message": {
        "role": "assistant",
        "content": "Hello! How can I assist you today?",
        "refusal": null,
        "annotations": []
      },
      "logprobs": null,
      "finish_reason": "stop"
    }
  ],
  "usage": {
    "prompt_tokens": 19,
    "completion_tokens": 10,
    "total_tokens": 29,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0,
      "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}
  },
  "service_tier": "default",
  "system_fingerprint": "fp_44709d6fcb"
}`

const chatPrompt = `{"model":"gpt-4.1","messages":[{"role":"developer","content":"You are a helpful assistant."},{"role":"user","content":"Hello!"}]}`

// memory is a network that answers at once, always the same.
type memory struct {
	header http.Header
	body   []byte
	seen   func(*http.Request) // nil unless a test looks
}

func newMemory(contentType, body string) *memory {
	return &memory{header: answerHeader(contentType), body: []byte(body)}
}

type memoryBody struct{ bytes.Reader }

func (*memoryBody) Close() error { return nil }

func (m *memory) RoundTrip(req *http.Request) (*http.Response, error) {
	if m.seen != nil {
		m.seen(req)
	}
	if req.Body != nil {
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return nil, err
		}
		_ = req.Body.Close()
	}
	body := new(memoryBody)
	body.Reset(m.body)
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK,
		Proto: "HTTP/2.0", ProtoMajor: 2,
		Header: m.header, ContentLength: int64(len(m.body)),
		Body: body, Request: req,
	}, nil
}

func warmCache(tb testing.TB) *credential.Cache {
	tb.Helper()
	cache, err := credential.NewCache(credential.Static(credential.NewSecret(fakeKey), credential.APIKey), nil)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := cache.Retrieve(context.Background()); err != nil {
		tb.Fatal(err)
	}
	return cache
}

func newClient(tb testing.TB, cfg client.Config) *client.Client {
	tb.Helper()
	if cfg.Source == nil {
		cfg.Source = warmCache(tb)
	}
	if cfg.BaseURL == "" {
		cfg.BaseURL = baseURL
	}
	c, err := client.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// A chunk is the part of a chat completion chunk that programs read.
type chunk struct {
	ID      string `json:"id"`
	Model   string `json:"model"`
	Created int64  `json:"created"`
	Choices []struct {
		Index int `json:"index"`
		Delta struct {
			Role    string `json:"role"`
			Content string `json:"content"`
		} `json:"delta"`
		FinishReason *string `json:"finish_reason"`
	} `json:"choices"`
}

const streamChunks = 200

// chatStream is an answer of streamChunks chunks, each as large as the real
// ones.
func chatStream() string {
	var b strings.Builder
	for i := range streamChunks {
		delta := fmt.Sprintf(`{"content":"token%d "}`, i)
		if i == 0 {
			delta = `{"role":"assistant","content":"","refusal":null}`
		}
		fmt.Fprintf(&b, `data: {"id":"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT","object":"chat.completion.chunk","created":1741569952,`+
			`"model":"gpt-4.1-2025-04-14","service_tier":"default","system_fingerprint":"fp_44709d6fcb",`+
			`"choices":[{"index":0,"delta":%s,"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"4bxP2QyL9d"}`+"\n\n", delta)
	}
	b.WriteString("data: [DONE]\n\n")
	return b.String()
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
