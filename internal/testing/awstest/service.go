package awstest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
)

// A Call is a request that has arrived.
type Call struct {
	Op, SecretID, VersionID, Stage string
	// Err is the type of the error that it was answered with; empty if none.
	Err string
}

// A service is what the services of AWS that speak AWS JSON 1.1 have in common.
type service struct {
	// Region is the region of signatures and ARNs. Set it before use.
	Region string
	// Identity is who may call. Set it before use.
	Identity Identity

	// name is that in signatures, target the prefix of operations.
	name, target string
	// read returns what a request is about, and what answers it.
	read func(op string, body []byte) (Call, func() (any, error))

	mu     sync.Mutex
	faults []*Fault
	calls  map[string]int
	last   []Call
	heard  chan struct{} // closed and replaced at each call
}

func newService(name, target string) service {
	return service{
		Region: "eu-west-1", Identity: Caller(), name: name, target: target,
		calls: map[string]int{}, heard: make(chan struct{}),
	}
}

// A Fault is an answer other than the store's. The zero Fault but Times is a
// 500 without a body.
type Fault struct {
	Status        int    // 0 is 500
	Type, Message string // of the AWS error
	Body          string // instead of the AWS error
	Header        http.Header
	// Hang keeps the request until its client is gone.
	Hang bool
	// Op is the operation that it is for; empty is all.
	Op string
	// Times is how many requests meet it; 0 is all from now on.
	Times int
	done  bool
}

type refusal struct {
	status        int
	kind, message string
}

func (r *refusal) Error() string { return r.kind }

// Fail makes requests meet f. Faults apply in the order in which they were
// given, each to its number of requests.
func (s *service) Fail(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// Heal ends all faults.
func (s *service) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// Calls returns how many requests for op have arrived.
func (s *service) Calls(op string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[op]
}

// Journal returns what has arrived, oldest first.
func (s *service) Journal() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.last)
}

// RoundTrip answers without a network.
func (s *service) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if r.Body != nil {
		_ = r.Body.Close()
	}
	if err := r.Context().Err(); err != nil {
		return nil, fmt.Errorf("awstest: %w", err)
	}
	res := w.Result()
	res.Request = r
	return res, nil
}

// ServeHTTP answers r.
func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(io.LimitReader(r.Body, 1<<20))
	}
	op := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), s.target)
	call, do := s.read(op, body)
	call.Op = op
	fault := s.arrive(call)
	if fault != nil && fault.Hang {
		<-r.Context().Done()
		return
	}
	var out any
	err := s.check(r, body)
	if err == nil && fault == nil {
		out, err = do()
	}
	var no *refusal
	if errors.As(err, &no) {
		fault = &Fault{Status: no.status, Type: no.kind, Message: no.message}
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.Header().Set("X-Amzn-Requestid", "00000000-0000-4000-8000-000000000001")
	if fault != nil {
		s.note(fault.Type)
		fault.write(w)
		return
	}
	_ = json.NewEncoder(w).Encode(out)
}

func (f *Fault) write(w http.ResponseWriter) {
	for name, values := range f.Header {
		w.Header()[name] = values
	}
	status := f.Status
	if status == 0 {
		status = http.StatusInternalServerError
	}
	if f.Type != "" {
		w.Header().Set("X-Amzn-Errortype", f.Type)
	}
	w.WriteHeader(status)
	switch {
	case f.Body != "":
		_, _ = io.WriteString(w, f.Body)
	case f.Type != "":
		_ = json.NewEncoder(w).Encode(map[string]string{"__type": f.Type, "message": f.Message})
	}
}

// arrive counts a request and returns the fault that it meets.
func (s *service) arrive(call Call) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[call.Op]++
	s.last = append(s.last, call)
	close(s.heard)
	s.heard = make(chan struct{})
	for _, f := range s.faults {
		if f.done || f.Op != "" && f.Op != call.Op {
			continue
		}
		if f.Times > 0 {
			f.Times--
			f.done = f.Times == 0
		}
		c := *f
		return &c
	}
	return nil
}

func (s *service) note(kind string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last[len(s.last)-1].Err = kind
}

func (s *service) check(r *http.Request, body []byte) error {
	switch {
	case r.Method != http.MethodPost || r.URL.Path != "/":
		return &refusal{http.StatusNotFound, "UnknownOperationException", ""}
	case r.Header.Get("Content-Type") != "application/x-amz-json-1.1":
		return &refusal{http.StatusBadRequest, "SerializationException", ""}
	case !strings.HasPrefix(r.Header.Get("X-Amz-Target"), s.target):
		return &refusal{http.StatusBadRequest, "UnknownOperationException", ""}
	}
	return verify(s.Identity, s.Region, s.name, r, body)
}
