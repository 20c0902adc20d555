package bench_test

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/middleware"
)

const promptSize = 100 << 10

// A sender is one way to send a prompt that is in memory already, and to send
// it again after a 429.
type sender struct {
	name string
	// make returns the call; the transport is s's.
	make func(tb testing.TB, s *loopback) func() error
	// retries is false for the one that only sends once.
	retries bool
}

var senders = []sender{
	{"net/http", func(tb testing.TB, s *loopback) func() error {
		return postPrompt(&http.Client{Transport: s.transport(tb)}, s.url)
	}, false},
	{"latchkey", func(tb testing.TB, s *loopback) func() error {
		c := newClient(tb, client.Config{Transport: s.transport(tb), BaseURL: s.url,
			Retry: &middleware.RetryOptions{Budget: -1}})
		return postPrompt(c.HTTPClient(), s.url)
	}, true},
	{"retryablehttp", func(tb testing.TB, s *loopback) func() error {
		return postPrompt(&http.Client{Transport: retrying(s.transport(tb))}, s.url)
	}, true},
	{"openai-go", func(tb testing.TB, s *loopback) func() error {
		return sdkPrompt(s.url, option.WithHTTPClient(&http.Client{Transport: s.transport(tb)}), option.WithAPIKey(fakeKey))
	}, true},
	{"openai-go+latchkey", func(tb testing.TB, s *loopback) func() error {
		c := newClient(tb, client.Config{Transport: s.transport(tb), BaseURL: s.url,
			Retry: &middleware.RetryOptions{Budget: -1}})
		return sdkPrompt(s.url, c.Options()...)
	}, true},
	{"openai-go+retryablehttp", func(tb testing.TB, s *loopback) func() error {
		return sdkPrompt(s.url, option.WithHTTPClient(&http.Client{Transport: retrying(s.transport(tb))}),
			option.WithAPIKey(fakeKey), option.WithMaxRetries(0))
	}, true},
}

// postPrompt posts a body that exists: what is allocated is the client's.
func postPrompt(c *http.Client, url string) func() error {
	prompt := bytes.Repeat([]byte("x"), promptSize)
	return func() error {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url+"chat/completions", bytes.NewReader(prompt))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := c.Do(req)
		if err != nil {
			return err
		}
		return readBody(resp, http.StatusOK)
	}
}

func sdkPrompt(url string, opts ...option.RequestOption) func() error {
	oai := openai.NewClient(append([]option.RequestOption{option.WithBaseURL(url)}, opts...)...)
	params := chatParams(strings.Repeat("x", promptSize))
	return func() error {
		_, err := oai.Chat.Completions.New(context.Background(), params)
		return err
	}
}

const rateLimited = `{"error":{"message":"Rate limit reached for gpt-4.1 on requests per min (RPM): Limit 500, Used 500. ` +
	`Please try again in 120ms.","type":"requests","param":null,"code":"rate_limit_exceeded"}}`

func tooMany(body string) []byte {
	h := answerHeader("application/json")
	h.Set("Retry-After-Ms", "0")
	return answer(http.StatusTooManyRequests, h, body)
}

// Benchmark429 is one call with a prompt of 100 KB over loopback: answered at
// once, answered 429 and then 200, and the same with a 429 whose body has
// 100 KB as well.
func Benchmark429(b *testing.B) {
	ok := answer(http.StatusOK, answerHeader("application/json"), chatAnswer)
	long := strings.Replace(rateLimited, "Please", strings.Repeat("Please ", promptSize/len("Please ")), 1)
	for _, kind := range []struct {
		name    string
		answers [][]byte
	}{
		{"200", [][]byte{ok}},
		{"429", [][]byte{tooMany(rateLimited), ok}},
		{"429-100KB", [][]byte{tooMany(long), ok}},
	} {
		for _, p := range senders {
			if len(kind.answers) > 1 && !p.retries {
				continue
			}
			b.Run("answer="+kind.name+"/peer="+p.name, func(b *testing.B) {
				s := newLoopback(b, kind.answers...)
				call := p.make(b, s)
				must(b, call())
				before := s.dials.Load()
				b.ReportAllocs()
				for b.Loop() {
					if err := call(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(s.dials.Load()-before)/float64(b.N), "conns/op")
				b.ReportMetric(float64(s.next.Load())/float64(b.N+1), "sends/op")
			})
		}
	}
}
