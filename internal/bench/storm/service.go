package storm

import (
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	oldKey = "sk-CANARY-storm-old"
	newKey = "sk-CANARY-storm-new"
	// callHeader numbers the calls, so that sends can be counted for each.
	callHeader = "X-Storm-Call"
	maxCalls   = 1 << 20
)

// A service answers chat completions over TLS and HTTP/2, as api.openai.com
// does, to those who send a key that is valid when the request arrives.
type service struct {
	server        *httptest.Server
	answer, fail  time.Duration
	mu            sync.RWMutex
	valid         []string
	sends, denied atomic.Int64
	conns         atomic.Int64
	perCall       []atomic.Int32
}

func newService(t Times) *service {
	s := &service{answer: t.Answer, fail: t.Refusal, valid: []string{oldKey}, perCall: make([]atomic.Int32, maxCalls)}
	s.server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.server.EnableHTTP2 = true
	// Clients that leave connections behind are what is measured here.
	s.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.conns.Add(1)
		}
	}
	s.server.StartTLS()
	return s
}

func (s *service) close() {
	s.server.CloseClientConnections()
	s.server.Close()
}

func (s *service) url() string { return s.server.URL + "/v1/" }

func (s *service) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(s.server.Certificate())
	return pool
}

func (s *service) accept(keys ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.valid = keys
}

func (s *service) accepts(key string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, k := range s.valid {
		if k == key {
			return true
		}
	}
	return false
}

// sent returns how often a call was sent; it knows the first maxCalls.
func (s *service) sent(call int) int {
	if call >= maxCalls {
		return 0
	}
	return int(s.perCall[call].Load())
}

const (
	okBody = `{"id":"chatcmpl-1","object":"chat.completion","created":1741569952,"model":"gpt-4.1","choices":[` +
		`{"index":0,"message":{"role":"assistant","content":"Hello!"},"finish_reason":"stop"}]}`
	deniedBody = `{"error":{"message":"Incorrect API key provided. You can find your API key at ` +
		`https://platform.openai.com/account/api-keys.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}`
)

func (s *service) serve(w http.ResponseWriter, req *http.Request) {
	ok := s.accepts(strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer "))
	s.sends.Add(1)
	if n, err := strconv.Atoi(req.Header.Get(callHeader)); err == nil && n >= 0 && n < maxCalls {
		s.perCall[n].Add(1)
	}
	_, _ = io.Copy(io.Discard, req.Body)
	status, body, after := http.StatusOK, okBody, s.answer
	if !ok {
		s.denied.Add(1)
		status, body, after = http.StatusUnauthorized, deniedBody, s.fail
	}
	if !pause(req.Context().Done(), after) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Header().Set("X-Request-Id", fmt.Sprintf("req_%d", s.sends.Load()))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// pause waits for d, or until done closes: then it returns false.
func pause(done <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-done:
		return false
	}
}

// A store holds the key; a read takes as long as that of a vault.
type store struct {
	latency   time.Duration
	mu        sync.Mutex
	key       string
	reads     []time.Time
	now, most int // reads at the same time
}

func newStore(t Times) *store { return &store{latency: t.Read, key: oldKey} }

func (s *store) publish(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key = key
}

// read returns the key that is current in the middle of the read.
func (s *store) read(done <-chan struct{}) (string, bool) {
	s.mu.Lock()
	s.reads = append(s.reads, time.Now())
	s.now++
	s.most = max(s.most, s.now)
	s.mu.Unlock()
	ok := pause(done, s.latency/2)
	s.mu.Lock()
	key := s.key
	s.mu.Unlock()
	ok = ok && pause(done, s.latency-s.latency/2)
	s.mu.Lock()
	s.now--
	s.mu.Unlock()
	return key, ok
}

// readsIn counts the reads that began in [from, to).
func (s *store) readsIn(from, to time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, t := range s.reads {
		if !t.Before(from) && t.Before(to) {
			n++
		}
	}
	return n
}
