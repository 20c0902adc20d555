package awstest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const runtimePath = "/2018-06-01/runtime/"

// A Runtime is the Lambda Runtime API of one function
// (https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html): the function
// polls it for invocations and posts its replies. Make one with [NewRuntime]
// and give its address to the function as AWS_LAMBDA_RUNTIME_API.
type Runtime struct {
	queue chan *invocation
	// InitErrors receives what the function posts to init/error.
	InitErrors chan []byte

	mu      sync.Mutex
	count   int
	waiting map[string]*invocation
}

type invocation struct {
	id       string
	payload  []byte
	deadline time.Time
	reply    chan Reply
}

// A Reply is how an invocation ended.
type Reply struct {
	// RequestID is the id of the invocation.
	RequestID string
	// Failed tells that the function posted an error.
	Failed bool
	Body   []byte
	Header http.Header
	// Trailer holds the error of a stream that broke.
	Trailer http.Header
}

// NewRuntime returns a Runtime without invocations.
func NewRuntime() *Runtime {
	return &Runtime{queue: make(chan *invocation), InitErrors: make(chan []byte, 1), waiting: map[string]*invocation{}}
}

// Invoke hands payload to the function, which has timeout to reply, and waits
// for the reply or ctx.
func (r *Runtime) Invoke(ctx context.Context, payload []byte, timeout time.Duration) (Reply, error) {
	r.mu.Lock()
	r.count++
	inv := &invocation{
		id:      fmt.Sprintf("00000000-0000-4000-8000-%012d", r.count),
		payload: payload, deadline: time.Now().Add(timeout), reply: make(chan Reply, 1),
	}
	r.waiting[inv.id] = inv
	r.mu.Unlock()
	select {
	case r.queue <- inv:
	case <-ctx.Done():
		return Reply{}, fmt.Errorf("awstest: the function did not ask for an invocation: %w", context.Cause(ctx))
	}
	select {
	case reply := <-inv.reply:
		return reply, nil
	case <-ctx.Done():
		return Reply{}, fmt.Errorf("awstest: the function did not reply: %w", context.Cause(ctx))
	}
}

// ServeHTTP answers r.
func (r *Runtime) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	path := strings.TrimPrefix(req.URL.Path, runtimePath)
	id, kind, _ := strings.Cut(strings.TrimPrefix(path, "invocation/"), "/")
	switch {
	case req.Method == http.MethodGet && path == "invocation/next":
		r.next(w, req)
	case req.Method == http.MethodPost && path == "init/error":
		body, _ := io.ReadAll(req.Body)
		select {
		case r.InitErrors <- body:
		default: // nobody asked for the first one
		}
		w.WriteHeader(http.StatusAccepted)
	case req.Method == http.MethodPost && (kind == "response" || kind == "error"):
		r.replied(w, req, id, kind == "error")
	default:
		http.NotFound(w, req)
	}
}

func (r *Runtime) next(w http.ResponseWriter, req *http.Request) {
	var inv *invocation
	select {
	case inv = <-r.queue:
	case <-req.Context().Done():
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Lambda-Runtime-Aws-Request-Id", inv.id)
	h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(inv.deadline.UnixMilli(), 10))
	h.Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-west-1:"+account+":function:test")
	h.Set("Lambda-Runtime-Trace-Id", "Root=1-00000000-000000000000000000000000;Sampled=0")
	_, _ = w.Write(inv.payload)
}

func (r *Runtime) replied(w http.ResponseWriter, req *http.Request, id string, failed bool) {
	body, err := io.ReadAll(req.Body)
	r.mu.Lock()
	inv := r.waiting[id]
	delete(r.waiting, id)
	r.mu.Unlock()
	if inv == nil || err != nil {
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{"errorType": "InvalidRequestID", "errorMessage": "no such invocation, or a broken reply"})
		return
	}
	inv.reply <- Reply{RequestID: id, Failed: failed, Body: body, Header: req.Header, Trailer: req.Trailer}
	w.WriteHeader(http.StatusAccepted)
}
