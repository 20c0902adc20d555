package bench_test

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
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
	make func(tb testing.TB, net http.RoundTripper, url string) func() error
}

var senders = []sender{
	{"nethttp", func(_ testing.TB, net http.RoundTripper, url string) func() error {
		return postPrompt(&http.Client{Transport: &handRetry{net}}, url)
	}},
	{"latchkey", func(tb testing.TB, net http.RoundTripper, url string) func() error {
		return postPrompt(retryingClient(tb, net, url).HTTPClient(), url)
	}},
	{"retryablehttp", func(_ testing.TB, net http.RoundTripper, url string) func() error {
		return postPrompt(&http.Client{Transport: retrying(net)}, url)
	}},
	{"openai-go", func(_ testing.TB, net http.RoundTripper, url string) func() error {
		return sdkPrompt(url, option.WithHTTPClient(&http.Client{Transport: net}), option.WithAPIKey(fakeKey))
	}},
	{"openai-go+latchkey", func(tb testing.TB, net http.RoundTripper, url string) func() error {
		return sdkPrompt(url, retryingClient(tb, net, url).Options()...)
	}},
	{"openai-go+retryablehttp", func(_ testing.TB, net http.RoundTripper, url string) func() error {
		return sdkPrompt(url, option.WithHTTPClient(&http.Client{Transport: retrying(net)}),
			option.WithAPIKey(fakeKey), option.WithMaxRetries(0))
	}},
}

// retryingClient retries without a budget: here every call needs it.
func retryingClient(tb testing.TB, net http.RoundTripper, url string) *client.Client {
	return newClient(tb, client.Config{Transport: net, BaseURL: url, Retry: &middleware.RetryOptions{Budget: -1}})
}

// handRetry is the least that a retry can cost.
type handRetry struct{ next http.RoundTripper }

func (t *handRetry) RoundTrip(req *http.Request) (*http.Response, error) {
	for {
		resp, err := t.next.RoundTrip(req)
		if err != nil || resp.StatusCode != http.StatusTooManyRequests {
			return resp, err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return nil, err
		}
		again := *req
		if again.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
		req = &again
	}
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

// A refusal is what comes before the answer.
type refusal struct{ name, body string }

func refusals() []refusal {
	return []refusal{
		{"200", ""}, // none
		{"429", rateLimited},
		{"429-100KB", strings.Replace(rateLimited, "Please", strings.Repeat("Please ", promptSize/len("Please ")), 1)},
	}
}

func tooManyHeader() http.Header {
	h := answerHeader("application/json")
	h.Set("Retry-After-Ms", "0")
	return h
}

// busyMemory answers 429 and 200 in turn. It serves one call at a time.
type busyMemory struct {
	ok, tooMany *memory
	turn        atomic.Int64
	header      http.Header // of the 429, which the layers may change
}

func newBusy(r refusal) *busyMemory {
	return &busyMemory{
		ok:      newMemory("application/json", chatAnswer),
		tooMany: &memory{header: tooManyHeader(), body: []byte(r.body)},
		header:  tooManyHeader(),
	}
}

func (m *busyMemory) RoundTrip(req *http.Request) (*http.Response, error) {
	if m.turn.Add(1)%2 == 0 || len(m.tooMany.body) == 0 {
		return m.ok.RoundTrip(req)
	}
	resp, err := m.tooMany.RoundTrip(req)
	if err == nil {
		resp.Status, resp.StatusCode = "429 Too Many Requests", http.StatusTooManyRequests
		clear(m.header)
		maps.Copy(m.header, m.tooMany.header)
		resp.Header = m.header
	}
	return resp, err
}

// Benchmark429 is one call with a prompt of 100 KB: answered at once, answered
// 429 and then 200, and the same with a 429 whose body has 100 KB as well. From
// memory, B/op is that of the layers. Over loopback, net/http adds 32 KB for
// each send of such a body over plain TCP, and conns/op counts connections.
func Benchmark429(b *testing.B) {
	for _, r := range refusals() {
		for _, p := range senders {
			b.Run("net=mem/answer="+r.name+"/peer="+p.name, func(b *testing.B) {
				m := newBusy(r)
				run429(b, p.make(b, m, baseURL), m.turn.Load, nil)
			})
		}
	}
	ok := answer(http.StatusOK, answerHeader("application/json"), chatAnswer)
	for _, r := range refusals() {
		answers := [][]byte{answer(http.StatusTooManyRequests, tooManyHeader(), r.body), ok}
		if r.body == "" {
			answers = answers[1:]
		}
		for _, p := range senders {
			b.Run("net=loop/answer="+r.name+"/peer="+p.name, func(b *testing.B) {
				s := newLoopback(b, answers...)
				run429(b, p.make(b, s.transport(b), s.url), s.next.Load, s.dials.Load)
			})
		}
	}
}

func run429(b *testing.B, call func() error, sends, dials func() int64) {
	must(b, call())
	if dials == nil {
		dials = func() int64 { return 0 }
	}
	sent, dialed := sends(), dials()
	b.ReportAllocs()
	for b.Loop() {
		if err := call(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(sends()-sent)/float64(b.N), "sends/op")
	b.ReportMetric(float64(dials()-dialed)/float64(b.N), "conns/op")
}
