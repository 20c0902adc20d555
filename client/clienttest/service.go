package clienttest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxBody = 32 << 20
	// maxPooled keeps one large upload from staying in memory.
	maxPooled = 1 << 20
	// created is the time in every answer, 2026-01-01, so that a test can
	// compare whole bodies.
	created = 1767225600
)

// A Flavor is the kind of service that a [Service] imitates: where the key
// stands, which paths there are, and how errors look.
type Flavor int32

const (
	// OpenAI takes the key from "Authorization: Bearer". It is the default.
	OpenAI Flavor = iota
	// AzureOpenAI takes an API key from the api-key header, else a token from
	// "Authorization: Bearer".
	AzureOpenAI
	// APIM is Azure API Management in front of Azure OpenAI. It takes the key
	// from Ocp-Apim-Subscription-Key only. A path may have a gateway's prefix.
	APIM
)

// Stats counts requests. Every count that a request moves is moved before its
// answer begins.
type Stats struct {
	Requests     int64 // all, whatever became of them
	Unauthorized int64 // refused because the key was missing or not accepted
	OK           int64 // answered with success by a route, roots not counted
	Faults       int64 // met by a Fault
	Refused      int64 // refused because they were above the Capacity
}

// A Service is an OpenAI-compatible service. It is an [http.Handler] and, in
// memory, an [http.RoundTripper]. All methods are safe for concurrent use. The
// zero Service is ready and accepts no key. A Service must not be copied.
type Service struct {
	keys    atomic.Pointer[map[string]struct{}]
	faults  atomic.Pointer[[]*scripted]
	flavor  atomic.Int32
	journal journal

	capacity atomic.Pointer[throughput]
	latency  atomic.Int64 // a time.Duration

	seq, requests, unauthorized, ok, faulted, refused atomic.Int64

	mu    sync.Mutex // orders the writers of keys and faults; guards files
	files map[string][]byte
	bufs  sync.Pool // of *bytes.Buffer, for request bodies
}

// NewService returns a Service that accepts keys. See [Service.Accept].
func NewService(keys ...string) *Service {
	s := new(Service)
	s.Accept(keys...)
	return s
}

// SetFlavor makes the service imitate f from the next request on. A value that
// is not a Flavor is OpenAI.
func (s *Service) SetFlavor(f Flavor) { s.flavor.Store(int32(f)) }

// Stats returns the counts so far.
func (s *Service) Stats() Stats {
	return Stats{
		Requests:     s.requests.Load(),
		Unauthorized: s.unauthorized.Load(),
		OK:           s.ok.Load(),
		Faults:       s.faulted.Load(),
		Refused:      s.refused.Load(),
	}
}

// ServeHTTP answers r. It panics with [http.ErrAbortHandler], as net/http asks
// for, where a [Fault] breaks the connection and it cannot be hijacked.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.serve(w, r, s.takeFault(r.URL.Path))
}

func (s *Service) serve(w http.ResponseWriter, r *http.Request, f *Fault) {
	s.requests.Add(1)
	c := &call{Service: s, w: w, r: r, flavor: Flavor(s.flavor.Load()), n: s.seq.Add(1)}
	buf, _ := s.bufs.Get().(*bytes.Buffer)
	if buf == nil {
		buf = new(bytes.Buffer)
	}
	defer func() {
		if buf.Cap() <= maxPooled {
			buf.Reset()
			s.bufs.Put(buf)
		}
	}()
	// The whole body first, as a client that is still writing may miss an
	// early answer, and net/http notices that a client left only after it.
	tooLarge, err := c.readBody(buf)
	s.journal.record(c)
	if !sleep(r.Context(), time.Duration(s.latency.Load())) {
		abort()
	}
	if f != nil {
		s.faulted.Add(1)
		fw := &faultWriter{ResponseWriter: w, ctx: r.Context(), f: f, path: r.URL.Path}
		c.w = fw
		if c.fail(f, fw) {
			return
		}
		defer fw.finish()
	}
	switch {
	case err != nil:
		c.refuse(http.StatusBadRequest, "The request body could not be read.", "", "")
	case tooLarge:
		w.Header().Set("Connection", "close")
		c.refuse(http.StatusRequestEntityTooLarge, "The request body is larger than 32 MiB.", "", "request_too_large")
	default:
		c.answer()
	}
}

// A call is one request being answered.
type call struct {
	*Service
	w          http.ResponseWriter
	r          *http.Request
	flavor     Flavor
	n          int64
	limited    io.LimitedReader // here to save its allocation
	body       []byte
	deployment string
}

func (c *call) readBody(buf *bytes.Buffer) (tooLarge bool, err error) {
	if c.r.Body == nil || c.r.Body == http.NoBody {
		return false, nil
	}
	c.limited = io.LimitedReader{R: c.r.Body, N: maxBody + 1}
	n, err := buf.ReadFrom(&c.limited)
	c.body = buf.Bytes()
	return n > maxBody, err
}

func (c *call) answer() {
	if read := c.r.Method == http.MethodGet || c.r.Method == http.MethodHead; read && isRoot(c.r.URL.Path) {
		c.json(http.StatusOK, []byte(`{"message":"Welcome to the OpenAI API! This is its double for tests."}`))
		return
	}
	if !c.authorized() {
		return
	}
	rest, ok := c.resource()
	if !ok {
		c.notFound()
		return
	}
	if c.hasRoom() {
		c.route(rest)
	}
}

func isRoot(path string) bool {
	switch strings.TrimSuffix(path, "/") {
	case "", "/v1", "/openai", "/openai/v1":
		return true
	}
	return false
}

// resource returns the path without the prefix that the flavor gives it.
func (c *call) resource() (string, bool) {
	path := c.r.URL.Path
	if c.flavor == APIM {
		if i := strings.Index(path, "/openai/"); i >= 0 {
			path = path[i:]
		} else if i := strings.Index(path, "/v1/"); i >= 0 {
			path = path[i:]
		}
	}
	if rest, ok := strings.CutPrefix(path, "/v1/"); ok {
		return rest, true
	}
	rest, ok := strings.CutPrefix(path, "/openai/")
	if !ok || c.flavor != AzureOpenAI && c.flavor != APIM {
		return "", false
	}
	if rest, ok := strings.CutPrefix(rest, "v1/"); ok {
		return rest, true
	}
	if c.r.URL.Query().Get("api-version") == "" {
		return "", false
	}
	if below, ok := strings.CutPrefix(rest, "deployments/"); ok {
		c.deployment, rest, ok = strings.Cut(below, "/")
		return rest, ok && c.deployment != ""
	}
	return rest, true
}

func (c *call) route(rest string) {
	name, id, _ := strings.Cut(rest, "/")
	switch {
	case rest == "chat/completions" && c.allow(http.MethodPost):
		c.chat()
	case rest == "responses" && c.allow(http.MethodPost):
		c.responses()
	case rest == "completions" && c.allow(http.MethodPost):
		c.completions()
	case rest == "embeddings" && c.allow(http.MethodPost):
		c.embeddings()
	case rest == "models" && c.allow(http.MethodGet):
		c.models()
	case name == "models" && plainID(id) && c.allow(http.MethodGet):
		c.model(id)
	case rest == "files" && c.allow(http.MethodPost):
		c.upload()
	case name == "files" && plainID(id) && c.allow(http.MethodGet):
		c.file(id)
	case rest == "realtime" && c.allow(http.MethodGet):
		c.realtime()
	case !known(rest, name, id):
		c.notFound()
	default:
		c.wrongMethod(rest)
	}
}

func plainID(id string) bool { return id != "" && !strings.Contains(id, "/") }

func known(rest, name, id string) bool {
	switch rest {
	case "chat/completions", "responses", "completions", "embeddings", "models", "files", "realtime":
		return true
	}
	return (name == "models" || name == "files") && plainID(id)
}

// allow admits HEAD wherever it admits GET (RFC 9110, section 9.3.2).
func (c *call) allow(method string) bool {
	return c.r.Method == method || method == http.MethodGet && c.r.Method == http.MethodHead
}

func (c *call) wrongMethod(rest string) {
	allow := "GET, HEAD"
	switch rest {
	case "chat/completions", "responses", "completions", "embeddings", "files":
		allow = "POST"
	}
	c.w.Header().Set("Allow", allow)
	c.refuse(http.StatusMethodNotAllowed, "Not allowed to "+c.r.Method+" on "+c.r.URL.Path+". (HINT: Perhaps you meant to use a different HTTP method?)", "", "method_not_supported")
}

func (c *call) notFound() {
	if c.flavor == AzureOpenAI || c.flavor == APIM {
		c.json(http.StatusNotFound, []byte(`{"error":{"code":"404","message":"Resource not found"}}`))
		return
	}
	c.refuse(http.StatusNotFound, "Invalid URL ("+c.r.Method+" "+c.r.URL.Path+")", "", "")
}

// decode reads the body into v, or answers 400 and returns false.
func (c *call) decode(v any) bool {
	err := json.Unmarshal(c.body, v)
	if err == nil {
		return true
	}
	if te := (*json.UnmarshalTypeError)(nil); errors.As(err, &te) {
		c.refuse(http.StatusBadRequest, "Invalid type for '"+te.Field+"'.", te.Field, "invalid_type")
		return false
	}
	c.refuse(http.StatusBadRequest, "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)", "", "")
	return false
}

// refuse answers with an error in the form of OpenAI. An empty param or code is null.
func (c *call) refuse(status int, message, param, code string) {
	c.json(status, []byte(errorJSON(message, "invalid_request_error", param, code)))
}

// succeed answers 200 with body and counts it.
func (c *call) succeed(body []byte) {
	c.ok.Add(1)
	c.json(http.StatusOK, body)
}

func (c *call) json(status int, body []byte) {
	c.setHeader("application/json")
	c.w.WriteHeader(status)
	c.w.Write(body)
}

// setHeader sets what the real service sends with every answer.
func (c *call) setHeader(contentType string) {
	pairs := openAIHeader
	if c.flavor == AzureOpenAI || c.flavor == APIM {
		pairs = azureHeader
	}
	setAll(c.w.Header(), pairs, pair{"X-Request-Id", "req_" + strconv.FormatInt(c.n, 10)}, pair{"Content-Type", contentType})
}

// setAll allocates the values of all headers at once: it runs a million times
// in a test. Their capacity keeps an append to one from reaching the next.
func setAll(h http.Header, pairs []pair, more ...pair) {
	values := make([]string, 0, len(pairs)+len(more))
	for _, list := range [...][]pair{pairs, more} {
		for _, p := range list {
			values = append(values, p.value)
			h[p.name] = values[len(values)-1 : len(values) : len(values)]
		}
	}
}
