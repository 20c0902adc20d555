package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"os"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

// A call is one request, and where its time went.
type call struct {
	Status  int    `json:"status"`
	Sends   int    `json:"sends"`
	Refused string `json:"refused,omitempty"` // the source whose credential the service refused
	Steps   []step `json:"steps"`
	Error   string `json:"error,omitempty"`
	Do      string `json:"do,omitempty"` // what to do about it
}

type step struct {
	Name     string        `json:"name"`
	What     string        `json:"what"`
	Happened bool          `json:"happened"`
	Took     time.Duration `json:"took"` // in JSON nanoseconds
}

// between returns the step from one time to another, if both were reached.
func between(name, what string, from, to time.Time) step {
	s := step{Name: name, What: what, Happened: !from.IsZero() && !to.IsZero()}
	if s.Happened {
		s.Took = to.Sub(from)
	}
	return s
}

// A trace collects what a client tells of one call.
type trace struct {
	base http.RoundTripper

	mu                        sync.Mutex // guards what follows
	first, last               middleware.Send
	dns, dnsDone, tls, tlsEnd time.Time
}

// newTrace returns a trace whose every send opens a connection.
func newTrace() (*trace, error) {
	base, err := client.NewTransport(nil)
	if err != nil {
		return nil, err
	}
	base.DisableKeepAlives = true
	return &trace{base: base}, nil
}

// sent is Config.Observe.
func (t *trace) sent(_ context.Context, s *middleware.Send) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.Number == 1 {
		t.first = *s
	}
	if s.Number > t.last.Number {
		t.last = *s
	}
}

// RoundTrip sends r and notes what a Send does not hold: the parts of
// connecting. The hooks are set here and not around the whole call, or the
// requests of the source would fire them as well.
func (t *trace) RoundTrip(r *http.Request) (*http.Response, error) {
	t.mu.Lock()
	t.dns, t.dnsDone, t.tls, t.tlsEnd = time.Time{}, time.Time{}, time.Time{}, time.Time{} // of the send before
	t.mu.Unlock()
	note := func(at *time.Time) {
		t.mu.Lock()
		defer t.mu.Unlock()
		*at = time.Now()
	}
	return t.base.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		DNSStart:          func(httptrace.DNSStartInfo) { note(&t.dns) },
		DNSDone:           func(httptrace.DNSDoneInfo) { note(&t.dnsDone) },
		TLSHandshakeStart: func() { note(&t.tls) },
		TLSHandshakeDone:  func(tls.ConnectionState, error) { note(&t.tlsEnd) },
	})))
}

// call makes one request through c, whose sends t observes, with the
// credential of src.
func (t *trace) call(ctx context.Context, c *client.Client, src *credential.Cache) *call {
	begin := time.Now()
	_, err := src.Retrieve(ctx)
	read := time.Now()
	if err == nil {
		var models struct{ Data []json.RawMessage }
		_, err = c.Do(ctx, http.MethodGet, "models", nil, &models)
	}
	end := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	out := &call{Status: t.last.Status, Sends: t.last.Number, Steps: []step{
		between("secret", "the source, through the cache", begin, read),
		between("layers", "latchkey's own, until the request is sent", read, t.first.Started),
	}}
	if out.Sends > 1 {
		out.Steps = append(out.Steps, between("earlier", "the sends before the last one, and the waits", t.first.Started, t.last.Started))
	}
	out.Steps = append(out.Steps,
		between("connect", "until there is a connection", t.last.Started, t.last.Connected),
		between("DNS", "a part of connect", t.dns, t.dnsDone),
		between("TLS", "a part of connect", t.tls, t.tlsEnd),
		between("first byte", "the service, from the connection on", t.last.Connected, t.last.Header),
		between("answer", "the rest of it", t.last.Header, t.last.Ended),
		between("total", "", begin, end),
	)
	if t.last.Credential.Refused {
		out.Refused = t.last.Credential.Source
	}
	out.Error, out.Do = refusal(err, out.Refused)
	return out
}

// refusal explains an error, and says what to do. The service's own words stay
// out: they may quote a part of the key.
func refusal(err error, refused string) (text, do string) {
	if err == nil {
		return "", ""
	}
	e, ok := client.AsError(err)
	if !ok {
		return err.Error(), "check that the service is at the address in " + address() + ", and that this machine may reach it"
	}
	text = fmt.Sprintf("the service answers %d", e.StatusCode)
	if e.Code != "" {
		text += " " + e.Code
	}
	switch hint := e.Hint(); {
	case hint != "":
		do = hint
	case refused != "":
		text += ": it does not accept the credential of " + refused
		do = "put a valid one into " + refused
	case e.StatusCode == http.StatusNotFound:
		do = "check the path in " + address()
	}
	return text, do
}

// address names what says where the service is.
func address() string {
	for _, name := range [...]string{"AZURE_OPENAI_ENDPOINT", "OPENAI_BASE_URL"} {
		if os.Getenv(name) != "" {
			return name
		}
	}
	return "client.DefaultBaseURL"
}
