package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"

	"github.com/openai/openai-go/v3"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

// A call is one request, and where its time went.
type call struct {
	Status int    `json:"status"`
	Sends  int    `json:"sends"`
	Steps  []step `json:"steps"`
	Error  string `json:"error,omitempty"`
}

type step struct {
	Name     string        `json:"name"`
	What     string        `json:"what"`
	Happened bool          `json:"happened"`
	Took     time.Duration `json:"took"` // in JSON nanoseconds
}

// A trace is the innermost transport and the outermost layer of a client, and
// notes when things happen in between. The hooks of httptrace are set here, not
// around the whole: the requests of the source would fire them as well.
type trace struct {
	mu     sync.Mutex // guards what follows
	base   http.RoundTripper
	status int
	sends  int
	at     map[string]time.Time
}

// mark notes that something happened now. The first time counts.
func (t *trace) mark(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.at == nil {
		t.at = map[string]time.Time{}
	}
	if t.at[what].IsZero() {
		t.at[what] = time.Now()
	}
}

// event is told by the Cache.
func (t *trace) event(e credential.Event) {
	if e.Kind == "loaded" {
		t.mark("secret")
	}
}

func (t *trace) middleware() []middleware.Middleware {
	return []middleware.Middleware{func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			t.mark("begin")
			return next.RoundTrip(r)
		})
	}}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// RoundTrip sends r.
func (t *trace) RoundTrip(r *http.Request) (*http.Response, error) {
	t.mu.Lock()
	if t.base == nil {
		t.base = &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, DisableKeepAlives: true,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, TLSHandshakeTimeout: 10 * time.Second,
		}
	}
	base := t.base
	t.sends++
	for what := range t.at {
		if what != "begin" && what != "secret" {
			delete(t.at, what) // of the send before
		}
	}
	t.mu.Unlock()
	t.mark("send")
	resp, err := base.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		DNSStart:     func(httptrace.DNSStartInfo) { t.mark("dns") },
		DNSDone:      func(httptrace.DNSDoneInfo) { t.mark("dns done") },
		ConnectStart: func(string, string) { t.mark("connect") },
		ConnectDone: func(_, _ string, err error) {
			if err == nil { // the other family of addresses may have failed
				t.mark("connect done")
			}
		},
		TLSHandshakeStart:    func() { t.mark("tls") },
		TLSHandshakeDone:     func(tls.ConnectionState, error) { t.mark("tls done") },
		WroteRequest:         func(httptrace.WroteRequestInfo) { t.mark("wrote") },
		GotFirstResponseByte: func() { t.mark("first byte") },
	})))
	if err == nil {
		t.mu.Lock()
		t.status = resp.StatusCode
		t.mu.Unlock()
	}
	return resp, err
}

// call makes one request through c, which has t around and within it.
func (t *trace) call(ctx context.Context, c *client.Client) *call {
	oai := openai.NewClient(c.Options()...)
	_, err := oai.Models.List(ctx)
	t.mark("end")
	t.mu.Lock()
	defer t.mu.Unlock()
	out := &call{Status: t.status, Sends: t.sends}
	for _, s := range [...]struct{ name, from, to, what string }{
		{"secret", "begin", "secret", "the source, through the cache"},
		{"layers", "secret", "send", "latchkey's own, until the request is sent"},
		{"DNS", "dns", "dns done", ""},
		{"connect", "connect", "connect done", ""},
		{"TLS", "tls", "tls done", ""},
		{"first byte", "wrote", "first byte", "the service, from the request's end on"},
		{"answer", "first byte", "end", "the rest of it, and decoding it"},
		{"total", "begin", "end", ""},
	} {
		from, to := t.at[s.from], t.at[s.to]
		happened := !from.IsZero() && !to.IsZero()
		one := step{Name: s.name, What: s.what, Happened: happened}
		if happened {
			one.Took = to.Sub(from)
		}
		out.Steps = append(out.Steps, one)
	}
	out.Error = refusal(err)
	return out
}

// refusal explains an error. The service's own words stay out: they may quote
// a part of the key.
func refusal(err error) string {
	if err == nil {
		return ""
	}
	answer := (*openai.Error)(nil)
	if !errors.As(err, &answer) {
		return err.Error()
	}
	text := fmt.Sprintf("the service answers %d", answer.StatusCode)
	if answer.Code != "" {
		text += " " + answer.Code
	}
	if hint := (&client.Error{StatusCode: answer.StatusCode, Code: answer.Code, Message: answer.Message}).Hint(); hint != "" {
		return text + ": " + hint
	}
	switch answer.StatusCode {
	case http.StatusUnauthorized:
		text += ": it does not accept this credential; put a valid one where it was read"
	case http.StatusNotFound:
		text += ": check the path of the base URL"
	}
	return text
}
