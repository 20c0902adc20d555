package awstest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The stages that Secrets Manager moves by itself.
const (
	Current  = "AWSCURRENT"
	Pending  = "AWSPENDING"
	Previous = "AWSPREVIOUS"
)

// account is what the ARNs name.
const account = "123456789012"

// A SecretsManager is AWS Secrets Manager: CreateSecret, PutSecretValue,
// UpdateSecretVersionStage, DescribeSecret and GetSecretValue, over the wire
// or as methods. Its methods are safe for concurrent use.
type SecretsManager struct {
	// Region is the region of signatures and ARNs. Set it before use.
	Region string
	// Identity is who may call. Set it before use.
	Identity Identity

	mu      sync.Mutex
	secrets map[string]*secret
	faults  []*Fault
	calls   map[string]int
	last    []Call
	heard   chan struct{} // closed and replaced at each call
}

// A Call is a request that has arrived.
type Call struct {
	Op, SecretID, VersionID, Stage string
	// Err is the type of the error that it was answered with; empty if none.
	Err string
}

// A Fault is an answer other than the secret's. The zero Fault but Times is a
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

type secret struct {
	arn      string
	versions map[string]*version
	order    []string
}

type version struct {
	text   *string
	binary []byte
	stages []string
}

type refusal struct {
	status        int
	kind, message string
}

func (r *refusal) Error() string { return r.kind }

// NewSecretsManager returns an empty one in eu-west-1 that admits [Caller].
func NewSecretsManager() *SecretsManager {
	return &SecretsManager{
		Region: "eu-west-1", Identity: Caller(),
		secrets: map[string]*secret{}, calls: map[string]int{}, heard: make(chan struct{}),
	}
}

// Put makes text the current version of the secret, which it creates if need
// be, and returns the version's id. The version before becomes AWSPREVIOUS.
func (s *SecretsManager) Put(name, text string) string { return s.PutAt(name, text, Current) }

// PutAt makes text a version with that stage.
func (s *SecretsManager) PutAt(name, text, stage string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.add(name, &version{text: &text}, stage)
}

// PutBinary makes b the current version of the secret.
func (s *SecretsManager) PutBinary(name string, b []byte) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.add(name, &version{binary: b}, Current)
}

// Promote makes the pending version the current one, as finishSecret does.
func (s *SecretsManager) Promote(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	sec := s.find(name)
	if sec == nil {
		return errors.New("awstest: no such secret")
	}
	pending := sec.at(Pending)
	if pending == "" {
		return errors.New("awstest: no pending version")
	}
	sec.move(Current, pending)
	sec.drop(Pending)
	return nil
}

// Delete removes the secret.
func (s *SecretsManager) Delete(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.secrets, name)
}

// ARN returns the ARN of the secret.
func (s *SecretsManager) ARN(name string) string {
	return "arn:aws:secretsmanager:" + s.Region + ":" + account + ":secret:" + name + "-AbCdEf"
}

// Fail makes requests meet f. Faults apply in the order in which they were
// given, each to its number of requests.
func (s *SecretsManager) Fail(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// Heal ends all faults.
func (s *SecretsManager) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// Calls returns how many requests for op have arrived.
func (s *SecretsManager) Calls(op string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[op]
}

// Reads returns how many GetSecretValue have arrived.
func (s *SecretsManager) Reads() int { return s.Calls("GetSecretValue") }

// Journal returns what has arrived, oldest first.
func (s *SecretsManager) Journal() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.last)
}

// WaitReads waits until n GetSecretValue have arrived in all, or done closes.
func (s *SecretsManager) WaitReads(done <-chan struct{}, n int) bool {
	for {
		s.mu.Lock()
		reads, heard := s.calls["GetSecretValue"], s.heard
		s.mu.Unlock()
		if reads >= n {
			return true
		}
		select {
		case <-heard:
		case <-done:
			return false
		}
	}
}

// RoundTrip answers without a network.
func (s *SecretsManager) RoundTrip(r *http.Request) (*http.Response, error) {
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
func (s *SecretsManager) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(io.LimitReader(r.Body, 1<<20))
	}
	var in input
	op := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "secretsmanager.")
	_ = json.Unmarshal(body, &in)
	fault := s.arrive(op, in)
	if fault != nil && fault.Hang {
		<-r.Context().Done()
		return
	}
	var out any
	err := s.check(r, body)
	if err == nil && fault == nil {
		out, err = s.do(op, in)
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
func (s *SecretsManager) arrive(op string, in input) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[op]++
	s.last = append(s.last, Call{Op: op, SecretID: in.SecretId, VersionID: in.VersionId, Stage: in.VersionStage})
	close(s.heard)
	s.heard = make(chan struct{})
	for _, f := range s.faults {
		if f.done || f.Op != "" && f.Op != op {
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

func (s *SecretsManager) note(kind string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last[len(s.last)-1].Err = kind
}

func (s *SecretsManager) check(r *http.Request, body []byte) error {
	switch {
	case r.Method != http.MethodPost || r.URL.Path != "/":
		return &refusal{http.StatusNotFound, "UnknownOperationException", ""}
	case r.Header.Get("Content-Type") != "application/x-amz-json-1.1":
		return &refusal{http.StatusBadRequest, "SerializationException", ""}
	case !strings.HasPrefix(r.Header.Get("X-Amz-Target"), "secretsmanager."):
		return &refusal{http.StatusBadRequest, "UnknownOperationException", ""}
	}
	return verify(s.Identity, s.Region, r, body)
}

func (s *SecretsManager) find(id string) *secret {
	if sec := s.secrets[id]; sec != nil {
		return sec
	}
	for _, sec := range s.secrets {
		// An ARN may lack the six random characters.
		if id == sec.arn || id+"-AbCdEf" == sec.arn {
			return sec
		}
	}
	return nil
}

// add is called with s.mu held.
func (s *SecretsManager) add(name string, v *version, stages ...string) string {
	sec := s.find(name)
	if sec == nil {
		sec = &secret{arn: s.ARN(name), versions: map[string]*version{}}
		s.secrets[name] = sec
	}
	id := fmt.Sprintf("00000000-0000-4000-8000-%012d", len(sec.order)+1)
	sec.order = append(sec.order, id)
	sec.versions[id] = v
	for _, stage := range stages {
		sec.move(stage, id)
	}
	return id
}

func (sec *secret) at(stage string) string {
	for id, v := range sec.versions {
		if slices.Contains(v.stages, stage) {
			return id
		}
	}
	return ""
}

func (sec *secret) drop(stage string) (from string) {
	from = sec.at(stage)
	if from != "" {
		v := sec.versions[from]
		v.stages = slices.DeleteFunc(v.stages, func(s string) bool { return s == stage })
	}
	return from
}

// move puts the stage on a version. A stage is on one version at most, and
// AWSPREVIOUS is where AWSCURRENT was last.
func (sec *secret) move(stage, id string) {
	from := sec.drop(stage)
	v := sec.versions[id]
	v.stages = append(v.stages, stage)
	if stage == Current && from != "" && from != id {
		sec.drop(Previous)
		old := sec.versions[from]
		old.stages = append(old.stages, Previous)
	}
}

func unix(t time.Time) json.Number {
	return json.Number(strconv.FormatInt(t.Unix(), 10))
}
