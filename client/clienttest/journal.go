package clienttest

import (
	"bytes"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// redacted stands where a credential was.
const redacted = "[redacted]"

// A Request is one request as the service received it, without its credentials:
// each value of a header that holds one, and the key wherever else it stood in
// headers, query or body, is "[redacted]".
type Request struct {
	// Method and Host are as they were sent; Path is unescaped.
	Method, Host, Path string
	// Proto is for example "HTTP/2.0".
	Proto string
	// Query holds the parameters.
	Query url.Values
	// Header holds the header, without Host.
	Header http.Header
	// Body is the whole body.
	Body []byte
	// KeyAccepted tells whether the service accepted the key on arrival.
	KeyAccepted bool
}

type journal struct {
	on   atomic.Bool
	mu   sync.Mutex
	list []Request
}

// SetJournal turns the recording of requests on, with an empty journal, or off,
// and keeps what was recorded. It is off at first: it holds every body.
func (s *Service) SetJournal(on bool) {
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	if on {
		s.journal.list = nil
	}
	s.journal.on.Store(on)
}

// Requests returns the recorded requests in the order of their arrival, each
// from the moment its body was read. They are the caller's to change.
func (s *Service) Requests() []Request {
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	out := slices.Clone(s.journal.list)
	for i := range out {
		r := &out[i]
		r.Header = r.Header.Clone()
		r.Query = url.Values(http.Header(r.Query).Clone())
		r.Body = bytes.Clone(r.Body)
	}
	return out
}

// credentialHeaders are the headers whose values are never recorded.
var credentialHeaders = [...]string{"Authorization", "Api-Key", "Ocp-Apim-Subscription-Key", "Proxy-Authorization", "Cookie"}

func (j *journal) record(c *call) {
	if !j.on.Load() {
		return
	}
	hide := c.secrets()
	r := Request{
		Method:      c.r.Method,
		Host:        c.r.Host,
		Path:        hide.Replace(c.r.URL.Path),
		Proto:       c.r.Proto,
		Query:       c.r.URL.Query(),
		Header:      c.r.Header.Clone(),
		Body:        []byte(hide.Replace(string(c.body))),
		KeyAccepted: c.accepts(c.key()),
	}
	if r.Host == "" {
		r.Host = c.r.URL.Host
	}
	for _, m := range []map[string][]string{r.Header, r.Query} {
		for _, values := range m {
			for i, v := range values {
				values[i] = hide.Replace(v)
			}
		}
	}
	for _, name := range credentialHeaders {
		for i := range r.Header[name] {
			r.Header[name][i] = redacted
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.list = append(j.list, r)
}

// secrets replaces every key that came in a header, and every accepted one.
func (c *call) secrets() *strings.Replacer {
	found := map[string]struct{}{}
	for _, name := range credentialHeaders {
		for _, v := range c.r.Header[name] {
			found[v] = struct{}{}
			if _, token, ok := strings.Cut(v, " "); ok {
				found[token] = struct{}{}
			}
		}
	}
	if m := c.keys.Load(); m != nil {
		for k := range *m {
			found[k] = struct{}{}
		}
	}
	delete(found, "")
	// The longest first: a key may begin with another.
	keys := make([]string, 0, len(found))
	for k := range found {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, k := range keys {
		pairs = append(pairs, k, redacted)
	}
	return strings.NewReplacer(pairs...)
}
