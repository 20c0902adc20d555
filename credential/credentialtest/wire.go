package credentialtest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/latchkey-go/latchkey/credential"
)

const (
	// elsewhere is where redirects lead.
	elsewhere = "elsewhere.invalid"
	// hugeAnswer is what a hostile store sends; mostRead is far more than any
	// store needs.
	hugeAnswer = 64 << 20
	mostRead   = 8 << 20
)

// A wire is a transport that answers all requests in one way.
type wire struct {
	answer func(*http.Request) (*http.Response, error)

	mu    sync.Mutex
	hosts []string
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.hosts = append(w.hosts, r.URL.Hostname())
	w.mu.Unlock()
	if r.Body != nil {
		_ = r.Body.Close() // not read
	}
	return w.answer(r)
}

func response(r *http.Request, status int, body io.Reader) *http.Response {
	return &http.Response{
		StatusCode: status, Status: fmt.Sprint(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Location": {"https://" + elsewhere + "/"}}, Body: io.NopCloser(body), ContentLength: -1, Request: r,
	}
}

// asked reads once over a wire and checks that what came instead of the store's
// answer is an outage: it is transient, tells nothing of the store, and quotes
// nothing.
func asked(t *testing.T, cfg Config, name string, answer func(*http.Request) (*http.Response, error)) error {
	t.Helper()
	w := &wire{answer: answer}
	_, err := retrieve(t, context.Background(), cfg.HTTP(t, w))
	switch {
	case err == nil:
		t.Fatalf("%s: Retrieve succeeded", name)
	case len(w.hosts) == 0:
		t.Errorf("%s: the transport that was given had no request: %v", name, err)
	}
	for _, host := range w.hosts {
		if host == elsewhere {
			t.Errorf("%s: a redirect was followed", name)
		}
	}
	if se := (*credential.SourceError)(nil); !errors.As(err, &se) || !se.Transient {
		t.Errorf("%s: %v: not a SourceError with Transient, so that calls would fail while the last good value works", name, err)
	} else if se.Hint == "" {
		t.Errorf("%s: %v: does not say what to do", name, err)
	}
	checkFinal(t, err)
	return err
}

func testRedirects(t *testing.T, cfg Config) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		_ = asked(t, cfg, fmt.Sprint("status ", status), func(r *http.Request) (*http.Response, error) {
			return response(r, status, strings.NewReader("CANARY")), nil
		})
	}
}

func testHugeAnswer(t *testing.T, cfg Config) {
	for _, status := range []int{200, 500} {
		var read counter
		_ = asked(t, cfg, fmt.Sprint("a huge answer with status ", status), func(r *http.Request) (*http.Response, error) {
			return response(r, status, io.TeeReader(io.LimitReader(canaries{}, hugeAnswer), &read)), nil
		})
		if read > mostRead*4 { // an SDK may try again
			t.Errorf("%d bytes of the answer were read", read)
		}
	}
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

type canaries struct{}

func (canaries) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = "CANARY "[i%7]
	}
	return len(p), nil
}

func testUntrusted(t *testing.T, cfg Config) {
	err := asked(t, cfg, "an untrusted certificate", func(*http.Request) (*http.Response, error) {
		return nil, &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}
	})
	if !strings.Contains(err.Error(), "certificate") {
		t.Errorf("%v: does not name the certificate", err)
	}
}

func testTransient(t *testing.T, cfg Config) {
	for _, status := range []int{408, 429, 500, 502, 503, 504} {
		_ = asked(t, cfg, fmt.Sprint("status ", status), func(r *http.Request) (*http.Response, error) {
			return response(r, status, http.NoBody), nil
		})
	}
}

// testCause checks that a caller gets the cause of its own context's end.
func testCause(t *testing.T, cfg Config) {
	cause := errors.New("the caller's own reason")
	ctx, cancel := context.WithCancelCause(context.Background())
	w := &wire{answer: func(r *http.Request) (*http.Response, error) {
		cancel(cause)
		<-r.Context().Done()
		return nil, r.Context().Err()
	}}
	_, err := retrieve(t, ctx, cfg.HTTP(t, w))
	if !errors.Is(err, cause) {
		t.Errorf("Retrieve whose context ends during a request: %v, want an error wrapping the cause", err)
	}
	checkFinal(t, err)
}

// testFiles checks that a file which is none is neither waited for nor read to
// its end.
func testFiles(t *testing.T, cfg Config) {
	dir := t.TempDir()
	huge := filepath.Join(dir, "huge")
	if err := os.WriteFile(huge, []byte(strings.Repeat("CANARY", 1<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	paths := map[string]string{"a directory": dir, "a huge file": huge}
	if pipe := filepath.Join(dir, "pipe"); mkfifo(pipe) == nil {
		paths["a named pipe"] = pipe
	}
	for name, path := range paths {
		_, err := retrieve(t, context.Background(), cfg.File(t, path))
		if err == nil {
			t.Errorf("%s: Retrieve succeeded", name)
		}
		checkFinal(t, err)
	}
}

// testName checks that a value, its source and its errors have one name.
func testName(t *testing.T, cfg Config) {
	h := cfg.New(t, firstSecret)
	v, err := retrieve(t, context.Background(), h.Source)
	if err != nil {
		t.Fatalf("Retrieve: %v", err)
	}
	named, ok := h.Source.(fmt.Stringer)
	if ok && (named.String() == "" || !strings.HasPrefix(v.Source, named.String())) {
		t.Errorf("the source does not name itself as its value does, %q", v.Source)
	}
	if h.Fail == nil {
		return
	}
	h.Fail()
	_, err = retrieve(t, context.Background(), h.Source)
	if se := (*credential.SourceError)(nil); errors.As(err, &se) && (se.Source == "" || !strings.HasPrefix(v.Source, se.Source)) {
		t.Errorf("%v: its source is not that of the value, %q", err, v.Source)
	}
}

// A decorated source is one that somebody has put something around.
type decorated struct{ credential.Source }

// Unwrap returns what is in it.
func (d decorated) Unwrap() credential.Source { return d.Source }

func testDecorated(t *testing.T, cfg Config) {
	h := cfg.New(t, firstSecret)
	h.Source = decorated{h.Source}
	replaced(t, cfg, h)
}

// testClosed checks that nothing is left in the store once the source is closed.
func testClosed(t *testing.T, cfg Config) {
	h := cfg.New(t, firstSecret)
	if _, err := retrieve(t, context.Background(), h.Source); err != nil {
		t.Fatalf("Retrieve: %v", err)
	}
	if closer, ok := h.Source.(interface{ Close(context.Context) error }); ok {
		if err := closer.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if n := h.Held(); n != 0 {
		t.Errorf("the store still holds %d leases and tokens of the source", n)
	}
}
