package client_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/middleware"
)

type says = func(n int, req *http.Request, body string) (*http.Response, error)

// while says what fault says from begin to end of the script, and serves the
// rest of the time.
func while(begin, end time.Duration, fault says) says {
	start := time.Now()
	return func(n int, req *http.Request, body string) (*http.Response, error) {
		if t := time.Since(start); t >= begin && t < end {
			return fault(n, req, body)
		}
		return nil, nil
	}
}

// upTo takes so many requests a second, and refuses the rest.
func upTo(rate float64, header ...string) says {
	var mu sync.Mutex
	tokens, last := rate, time.Now()
	return func(int, *http.Request, string) (*http.Response, error) {
		mu.Lock()
		defer mu.Unlock()
		now := time.Now()
		tokens, last = min(rate, tokens+now.Sub(last).Seconds()*rate), now
		if tokens >= 1 {
			tokens--
			return nil, nil
		}
		return reply(429, `{"error":{"message":"slow down","code":"rate_limit_exceeded"}}`, header...), nil
	}
}

func slow(d time.Duration) says {
	return func(_ int, req *http.Request, _ string) (*http.Response, error) {
		select {
		case <-time.After(d):
			return nil, nil
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
	}
}

// resetBeforeContent begins a stream and is gone; what is no stream is gone at once.
func resetBeforeContent(_ int, req *http.Request, body string) (*http.Response, error) {
	if !strings.Contains(body, `"stream":true`) {
		return nil, syscallReset()
	}
	resp := reply(200, "", "Content-Type", "text/event-stream")
	resp.ContentLength = -1
	resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(chatRole), gone{}))
	return resp, nil
}

type gone struct{}

func (gone) Read([]byte) (int, error) { return 0, syscallReset() }

func syscallReset() error { return &opError{} }

type opError struct{}

func (*opError) Error() string   { return "read tcp: connection reset by peer" }
func (*opError) Unwrap() error   { return syscall.ECONNRESET }
func (*opError) Timeout() bool   { return true } // as a header that does not come
func (*opError) Temporary() bool { return true }

// A script is a fault of the first endpoint, or of all.
type script struct {
	name string
	set  func(w world)
}

func scripts() []script {
	first := func(s func() says) func(world) { return func(w world) { w[east].set(s()) } }
	const from, to = 5 * time.Second, 15 * time.Second
	return []script{
		{"throttle", first(func() says { return upTo(20, "Retry-After", "1") })},
		{"slow start", first(func() says { return while(0, 4*time.Second, slow(2*time.Second)) })},
		{"dead", first(func() says { return while(from, to, dead) })},
		{"half open", first(func() says {
			return while(from, to, func(n int, req *http.Request, body string) (*http.Response, error) {
				if n%2 == 0 {
					return nil, nil
				}
				return reply(503, "busy"), nil
			})
		})},
		{"200, then an error", first(func() says {
			return while(from, to, func(n int, req *http.Request, body string) (*http.Response, error) {
				if strings.Contains(body, `"stream":true`) {
					return stream(chatRole, chatQuota)(n, req, body)
				}
				return reply(500, `{"error":{"message":"oops"}}`), nil
			})
		})},
		{"slow header", first(func() says { return while(from, to, slow(3*time.Second)) })},
		{"reset before content", first(func() says { return while(from, to, resetBeforeContent) })},
		{"DNS flip", first(func() says { return while(from, to, noSuchHost) })},
		{"wrong credential", first(func() says { return always(401, `{"error":{"code":"invalid_api_key","message":"wrong key"}}`) })},
		{"deployment missing", first(func() says { return always(404, `{"error":{"code":"DeploymentNotFound","message":"none"}}`) })},
		{"all cooling", func(w world) {
			for _, r := range w {
				r.set(while(from, from+3*time.Second, always(503, "down", "Retry-After", "2")))
			}
		}},
		{"provisioned", first(func() says { return upTo(20, "Retry-After-Ms", "400") })},
	}
}

// served makes the region answer each kind of call as a service does.
func (r *region) serve(kind string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.say
	r.say = func(n int, req *http.Request, body string) (*http.Response, error) {
		if before != nil {
			if resp, err := before(n, req, body); resp != nil || err != nil {
				return resp, err
			}
		}
		if kind == "stream" {
			return stream(chatRole, chatWord, chatDone)(n, req, body)
		}
		return nil, nil
	}
}

// one makes a call of the kind.
func one(ctx context.Context, c *client.Client, kind string) error {
	switch kind {
	case "stream":
		got, err := streamed(ctx, c, "chat/completions")
		if err == nil && !strings.Contains(strings.Join(got, ""), "hello") {
			err = fmt.Errorf("a stream without its content: %q", got)
		}
		return err
	case "embeddings":
		_, err := c.Post(ctx, "embeddings", map[string]any{"model": "chat", "input": "a"}, nil)
		return err
	case "upload":
		req, err := http.NewRequestWithContext(ctx, "POST", c.BaseURL()+"audio/transcriptions", bytes.NewReader([]byte(uploadForm)))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "multipart/form-data; boundary=xyz")
		resp, err := c.HTTPClient().Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode != 200 {
			return fmt.Errorf("status %d", resp.StatusCode)
		}
		return nil
	}
	return chat(ctx, c)
}

const uploadForm = "--xyz\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nsound\r\n" +
	"--xyz\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nchat\r\n--xyz--\r\n"

// kinds are the kinds of calls that are made.
func kinds() []string {
	all := []string{"chat", "stream", "upload", "embeddings"}
	if !proofs() {
		return all[:2]
	}
	return all
}

// TestNoCallIsLostWhileAnyEndpointServes: 12 faults, and four kinds of calls.
func TestNoCallIsLostWhileAnyEndpointServes(t *testing.T) {
	for _, s := range scripts() {
		for _, kind := range kinds() {
			t.Run(s.name+"/"+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(east, west, vendor)
					s.set(w)
					for _, r := range w {
						r.serve(kind)
					}
					var most, probes, coolings atomic.Int64
					c := regions(t, w, func(cfg *client.Config) {
						cfg.HoldBack, cfg.Provisioned = true, s.name == "provisioned"
						cfg.Observe = func(_ context.Context, send *middleware.Send) {
							for n := int64(send.Number); ; {
								if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
									return
								}
							}
						}
						cfg.OnRoute = func(e middleware.RouteEvent) {
							switch e.Kind {
							case "probing":
								probes.Add(1)
							case "cooling":
								coolings.Add(1)
							}
						}
					})
					var calls, failed atomic.Int64
					end := time.Now().Add(20 * time.Second)
					var wg sync.WaitGroup
					for range 10 {
						wg.Go(func() {
							for time.Now().Before(end) {
								calls.Add(1)
								if err := one(t.Context(), c, kind); err != nil && failed.Add(1) == 1 {
									t.Errorf("%v", err)
								}
								time.Sleep(50 * time.Millisecond)
							}
						})
					}
					wg.Wait()
					if failed.Load() > 0 {
						t.Errorf("%d of %d calls failed, want none", failed.Load(), calls.Load())
					}
					if most.Load() > 1+middleware.DefaultMaxRetries+2 { // one more for each fallback
						t.Errorf("a call had %d sends", most.Load())
					}
					if s.name != "half open" && probes.Load() > 8 {
						t.Errorf("%d probes in 10 s of a fault, want one for each cool-down", probes.Load())
					}
					t.Logf("%d calls; sends %d, %d, %d; %d coolings, %d probes", calls.Load(), w[east].count(), w[west].count(), w[vendor].count(), coolings.Load(), probes.Load())
				})
			})
		}
	}
}
