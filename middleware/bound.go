package middleware

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/latchkey-go/latchkey/internal/wire"
)

const (
	// mostResources bounds how many resources are remembered; the oldest go first.
	mostResources = 10000
	// scannedAnswer is how much of an answer is looked at for the name of a
	// resource, and scannedRequest how much of a request, in bytes.
	scannedAnswer  = 8 << 10
	scannedRequest = MaxReplayBody
	longestID      = 128
)

// A resources is where what the service keeps is kept: a file, a conversation or
// a stored response lives at one endpoint, and no other knows it.
type resources struct {
	mu    sync.Mutex
	at    map[string]*route
	order []string // a ring
	next  int
}

func (m *resources) learn(id string, r *route) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.at[id]; !ok {
		if m.at == nil {
			m.at = map[string]*route{}
		}
		if len(m.order) < mostResources {
			m.order = append(m.order, id)
		} else {
			delete(m.at, m.order[m.next])
			m.order[m.next] = id
			m.next = (m.next + 1) % mostResources
		}
	}
	m.at[id] = r
}

func (m *resources) where(id string) *route {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.at[id]
}

// A binding is what ties a call to an endpoint.
type binding struct {
	route *route // where the resource is; nil if nobody knows
	ids   bool   // the call names a resource
}

// bindingOf returns the binding of a request, and whether it has one.
func (f *failover) bindingOf(req *http.Request) (b binding, bound bool) {
	free := req.URL == nil || freeRoute(req.Method, req.URL.Path)
	if !free {
		for part := range strings.SplitSeq(req.URL.Path, "/") {
			if b.found(f, part) {
				return b, true
			}
		}
	}
	// Of the calls that any endpoint can serve, those to /responses alone may name
	// what one of them keeps.
	if free && !strings.HasSuffix(pathOf(req), "/responses") || !scannable(req) {
		return b, !free
	}
	if body, err := req.GetBody(); err == nil {
		defer closeReader(body)
		if text, err := io.ReadAll(io.LimitReader(body, scannedRequest)); err == nil {
			eachID(text, func(id string) bool { return b.found(f, id) })
		}
	}
	return b, !free || b.ids
}

// found takes a name in, and reports whether it is that of a resource whose
// place is known.
func (b *binding) found(f *failover, name string) bool {
	if !isID(name) {
		return false
	}
	b.ids = true
	b.route = f.resources.where(name)
	return b.route != nil
}

func pathOf(req *http.Request) string {
	if req.URL == nil {
		return ""
	}
	return req.URL.Path
}

// scannable reports whether the body can be read ahead of the send.
func scannable(req *http.Request) bool {
	return req.GetBody != nil && req.Body != nil && req.Body != http.NoBody && !keepsBody(req.Context()) &&
		strings.HasPrefix(first(req.Header, "Content-Type"), "application/json")
}

// freeRoute reports whether any endpoint can serve a call of its own. It is a
// list of what is known to leave nothing behind that a later call needs, apart
// from responses, whose names are remembered.
func freeRoute(method, path string) bool {
	if method == http.MethodGet && strings.HasSuffix(path, "/models") {
		return true
	}
	if method != http.MethodPost {
		return false
	}
	for _, route := range [...]string{
		"/chat/completions", "/completions", "/embeddings", "/responses", "/moderations",
		"/audio/speech", "/audio/transcriptions", "/audio/translations",
		"/images/generations", "/images/edits", "/images/variations",
	} {
		if strings.HasSuffix(path, route) {
			return true
		}
	}
	return false
}

// isID reports whether s looks like the name of a resource:
// https://platform.openai.com/docs/api-reference
func isID(s string) bool {
	if len(s) > longestID {
		return false
	}
	for _, p := range [...]string{
		"resp_", "conv_", "file-", "file_", "assistant-", "vs_", "vsfb_", "batch_", "upload_", "asst_", "thread_",
		"run_", "ftjob-", "ft:", "evalrun_", "eval_", "cntr_", "video_", "sess_", "chatcmpl-",
	} {
		if len(s) > len(p) && s[:len(p)] == p {
			return true
		}
	}
	return false
}

// eachID calls found for each string of a JSON text that is the name of a
// resource, until it returns true.
func eachID(text []byte, found func(string) bool) {
	for {
		i := bytes.IndexByte(text, '"')
		if i < 0 {
			return
		}
		escaped := i > 0 && text[i-1] == '\\'
		text = text[i+1:]
		end := bytes.IndexByte(text[:min(len(text), longestID+1)], '"')
		if !escaped && end > 0 && isID(string(text[:end])) && found(string(text[:end])) {
			return
		}
	}
}

// sendBound sends a call that is tied to an endpoint. Where nobody knows to
// which, those that do not have the resource are passed over.
func (f *failover) sendBound(b binding, req *http.Request, c *call) (*http.Response, error) {
	r := b.route
	rt := c.routing.Load()
	if r == nil {
		r = f.routes[0]
		for rt != nil && rt.tried&(1<<r.index) != 0 && r.index < len(f.routes)-1 {
			r = f.routes[r.index+1]
		}
	}
	resp, err := r.send(req, c)
	if err != nil {
		return nil, err
	}
	if b.ids && b.route == nil && resourceMissing(resp) {
		if rt == nil {
			rt = c.routed(f)
		}
		rt.tried |= 1 << r.index
		rt.another = r.index < len(f.routes)-1
		return resp, nil
	}
	if rt != nil {
		rt.another = false
	}
	f.remember(resp, r)
	return resp, nil
}

// resourceMissing reports whether the endpoint does not know the resource that
// the request names.
func resourceMissing(resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusNotFound:
		return !modelMissing(peekSmall(resp))
	case http.StatusBadRequest:
		return strings.HasSuffix(wire.ParseError(peekSmall(resp)).Code, "_not_found")
	}
	return false
}

// remember looks for the name of the resource that an answer is about.
func (f *failover) remember(resp *http.Response, r *route) {
	if resp.StatusCode >= 300 || resp.Body == nil || resp.Body == http.NoBody {
		return
	}
	if _, ok := resp.Body.(io.Writer); ok { // a connection
		return
	}
	resp.Body = &namedBody{body: resp.Body, learn: func(id string) { f.resources.learn(id, r) }}
}

// A namedBody looks for the name of a resource in what passes.
type namedBody struct {
	body  io.ReadCloser
	learn func(string)
	seen  []byte // the beginning, until the name is found
	done  bool
}

func (b *namedBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	if !b.done && n > 0 {
		b.seen = append(b.seen, p[:min(n, scannedAnswer-len(b.seen))]...)
		eachID(b.seen, func(id string) bool {
			b.learn(id)
			b.done = true
			return true
		})
		if b.done = b.done || len(b.seen) >= scannedAnswer; b.done {
			b.seen = nil
		}
	}
	return n, err //nolint:wrapcheck // io.EOF has to stay bare
}

func (b *namedBody) Close() error { return b.body.Close() } //nolint:wrapcheck // as the transport says it
