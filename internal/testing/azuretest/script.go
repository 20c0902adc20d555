package azuretest

import (
	"net/http"
	"sync"
)

// A Script makes a server fail. The zero Script does not. All methods are safe
// for concurrent use.
type Script struct {
	mu       sync.Mutex
	requests int
	status   int
	header   http.Header
	body     string
	left     int // how many more requests fail; negative: all
	hung     chan struct{}
}

// Fail makes all requests fail with status and body, and a header if one is
// given.
func (s *Script) Fail(status int, body string, header ...http.Header) {
	s.fail(-1, status, body, header)
}

// FailTimes is Fail for the next n requests.
func (s *Script) FailTimes(n, status int, body string, header ...http.Header) {
	s.fail(n, status, body, header)
}

func (s *Script) fail(n, status int, body string, header []http.Header) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status, s.body, s.left, s.header = status, body, n, nil
	if len(header) > 0 {
		s.header = header[0]
	}
}

// Heal ends Fail.
func (s *Script) Heal() { s.fail(0, 0, "", nil) }

// Hang makes requests wait until release is called or the client leaves.
func (s *Script) Hang() (release func()) {
	hung := make(chan struct{})
	s.mu.Lock()
	s.hung = hung
	s.mu.Unlock()
	return sync.OnceFunc(func() {
		s.mu.Lock()
		if s.hung == hung {
			s.hung = nil
		}
		s.mu.Unlock()
		close(hung)
	})
}

// Requests returns how many requests have come.
func (s *Script) Requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// handled counts the request, and answers it if the script says how.
func (s *Script) handled(w http.ResponseWriter, r *http.Request) bool {
	s.mu.Lock()
	s.requests++
	hung, status, header, body := s.hung, 0, s.header, s.body
	if s.left != 0 {
		s.left--
		status = s.status
	}
	s.mu.Unlock()
	if hung != nil {
		select {
		case <-hung:
		case <-r.Context().Done():
			return true
		}
	}
	if status == 0 {
		return false
	}
	for name, values := range header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body))
	return true
}
