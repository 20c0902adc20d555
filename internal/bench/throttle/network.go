package throttle

import (
	"context"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"
)

// A Network is how clients reach the service.
type Network func(http.Handler) (*network, error)

type network struct {
	url string
	// transport is called once for each process.
	transport func() http.RoundTripper
	close     func()
}

// Loopback is net/http over 127.0.0.1.
func Loopback() Network {
	return func(h http.Handler) (*network, error) {
		server := httptest.NewUnstartedServer(h)
		// Clients that leave when their time is over are no news.
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.Start()
		return &network{
			url: server.URL + "/v1/",
			transport: func() http.RoundTripper {
				// All workers of a process keep their connection: what is measured
				// is how they share a limit, not how they connect.
				return &http.Transport{MaxIdleConnsPerHost: 1000}
			},
			close: func() {
				server.CloseClientConnections()
				server.Close()
			},
		}, nil
	}
}

// Memory answers without a socket. A request is under way for up to spread,
// drawn from the seed, so that requests do not arrive to the nanosecond when
// their client meant them to. In a testing/synctest bubble it takes no time.
func Memory(seed uint64, spread time.Duration) Network {
	return func(h http.Handler) (*network, error) {
		m := &memory{handler: h, spread: spread, random: rand.New(rand.NewPCG(seed, seed))}
		return &network{
			url:       "http://127.0.0.1:1/v1/", // nobody dials it
			transport: func() http.RoundTripper { return m },
			close:     func() {},
		}, nil
	}
}

type memory struct {
	handler http.Handler
	spread  time.Duration
	mu      sync.Mutex
	random  *rand.Rand
}

func (m *memory) delay() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Duration(m.random.Int64N(int64(m.spread) + 1))
}

// RoundTrip fails as net/http does if the context ends first.
func (m *memory) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body == nil {
		req = req.Clone(req.Context())
		req.Body = http.NoBody
	}
	defer req.Body.Close()
	if !pause(req.Context().Done(), m.delay()) {
		return nil, fmt.Errorf("throttle: %w", context.Cause(req.Context()))
	}
	w := httptest.NewRecorder()
	m.handler.ServeHTTP(w, req)
	if req.Context().Err() != nil {
		return nil, fmt.Errorf("throttle: %w", context.Cause(req.Context()))
	}
	res := w.Result()
	res.Request = req
	return res, nil
}
