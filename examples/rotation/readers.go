package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

// readers are programs that make calls with the key, each with a Cache of its own.
type readers struct {
	calls, failed, refused atomic.Int64
	first                  atomic.Pointer[error] // that of the first call that failed

	stop context.CancelFunc
	crew sync.WaitGroup
}

// startReaders starts n of them. Each makes a call, pauses, and so on. models asks for
// the list of models, which costs nothing.
func startReaders(ctx context.Context, n int, e *ends, ttl, pause time.Duration, models bool) (*readers, error) {
	transport, err := client.NewTransport(nil)
	if err != nil {
		return nil, err //nolint:wrapcheck // it names itself
	}
	r := &readers{}
	ctx, r.stop = context.WithCancel(ctx)
	for range n {
		c, err := client.New(client.Config{
			Source: e.source, BaseURL: e.base, Transport: transport, Cache: &credential.CacheOptions{TTL: ttl}, Observe: r.sent,
		})
		if err != nil {
			r.stop()
			return nil, err //nolint:wrapcheck // it names itself
		}
		r.crew.Go(func() {
			for ctx.Err() == nil {
				r.call(context.WithoutCancel(ctx), c, models)
				select {
				case <-time.After(pause):
				case <-ctx.Done():
				}
			}
		})
	}
	return r, nil
}

// end ends them, each after its call.
func (r *readers) end() {
	r.stop()
	r.crew.Wait()
}

func (r *readers) call(ctx context.Context, c *client.Client, models bool) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var err error
	if models {
		_, err = c.Do(ctx, http.MethodGet, "models", nil, nil)
	} else {
		question := map[string]any{"model": "gpt-5-mini", "messages": []map[string]string{{"role": "user", "content": "what is a latchkey?"}}}
		_, err = c.Post(ctx, "chat/completions", question, nil)
	}
	r.calls.Add(1)
	if e, ok := client.AsError(err); ok && models && (e.StatusCode == http.StatusForbidden || e.StatusCode == http.StatusTooManyRequests) {
		err = nil // the key was accepted, and lacks a scope
	}
	if err != nil {
		r.failed.Add(1)
		err = fmt.Errorf("a reader: %w", err)
		r.first.CompareAndSwap(nil, &err)
	}
}

func (r *readers) sent(_ context.Context, s *middleware.Send) {
	if s.Credential.Refused {
		r.refused.Add(1)
	}
}
