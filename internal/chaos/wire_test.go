package chaos_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/latchkey-go/latchkey/client"
)

const (
	callHeader   = "X-Chaos-Call"
	tenantHeader = "X-Chaos-Tenant"
	maxSends     = 3 // 1 + MaxRetries
	maxInFlight  = 3
)

// A record is what the wire has seen of a call.
type record struct {
	sends    atomic.Int64 // that were not refused with 401
	answered atomic.Bool  // the caller has the answer
}

// A wire is the transport below everything: it sees what goes out.
type wire struct {
	w      *world
	base   http.RoundTripper
	down   atomic.Pointer[string] // the host that cannot be reached
	flight atomic.Int64
	bound  int64 // of flight; 0 is none
	wrong  bool  // the key is one that no home has
}

func (w *world) wire() *wire {
	var certs []byte
	for _, h := range w.all {
		certs = append(certs, h.server.CertPEM...)
	}
	base, err := client.NewTransport(certs)
	if err != nil {
		w.t.Fatal(err)
	}
	base.MaxIdleConnsPerHost = 16
	return &wire{w: w, base: base}
}

func (t *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	t.look(req)
	rec, _ := t.w.calls.Load(req.Header.Get(callHeader))
	r, _ := rec.(*record)
	if r == nil {
		t.w.breaks("P8", "a request of no call, or of one that is over")
		r = &record{}
	}
	if r.answered.Load() {
		t.w.breaks("P8", "a call was sent again after its answer was given to the caller")
	}
	if n := t.flight.Add(1); t.bound > 0 && n > t.bound {
		t.w.breaks("P13", "%d calls in flight, with a ceiling of %d", n, t.bound)
	}
	resp, err := t.send(req)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		if n := r.sends.Add(1); n > maxSends {
			t.w.breaks("P8", "a call was sent %d times", n)
		}
	}
	if err != nil {
		t.flight.Add(-1)
		return nil, err
	}
	resp.Body = &landing{ReadCloser: resp.Body, wire: t}
	return resp, nil
}

func (t *wire) send(req *http.Request) (*http.Response, error) {
	if down := t.down.Load(); down != nil && *down == req.URL.Host {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	return t.base.RoundTrip(req)
}

// look holds the credential to the place that it goes to.
func (t *wire) look(req *http.Request) {
	key := strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")
	h := t.w.homes[req.URL.Host]
	switch {
	case h == nil:
		t.w.breaks("P7", "a request went to %s", req.URL.Host)
	case !t.wrong && !h.owns(key):
		t.w.breaks("P7", "%s got a credential that is not for it", h.name)
	}
	if tenant := req.Header.Get(tenantHeader); tenant != "" && !strings.Contains(key, "-"+tenant+"-") {
		t.w.breaks("P12", "a call of tenant %s went out with the credential of another", tenant)
	}
}

// A landing is a body that takes its call out of flight, once, when it has ended or
// is closed.
type landing struct {
	io.ReadCloser
	wire   *wire
	landed atomic.Bool
}

func (l *landing) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	if err != nil {
		l.land()
	}
	return n, err
}

func (l *landing) Close() error {
	l.land()
	return l.ReadCloser.Close()
}

func (l *landing) land() {
	if l.landed.CompareAndSwap(false, true) {
		l.wire.flight.Add(-1)
	}
}
