package middleware_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"syscall"
	"testing"

	"github.com/latchkey-go/latchkey/middleware"
)

// The caller's body fails with what looks like an error of the connection.
func TestAnErrorOfTheCallersBodyIsNotSentAgain(t *testing.T) {
	for name, broken := range map[string]error{
		"reset":   &net.OpError{Op: "write", Err: syscall.ECONNRESET},
		"dial":    &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED},
		"timeout": os.ErrDeadlineExceeded,
		"cut":     io.ErrUnexpectedEOF,
	} {
		sends := 0
		rt := middleware.Wrap(tripFunc(func(req *http.Request) (*http.Response, error) {
			sends++
			_, err := io.ReadAll(req.Body)
			_ = req.Body.Close()
			return nil, err
		}), middleware.Replay(), mustRetry(t, &middleware.RetryOptions{BaseDelay: 1}))
		_, err := (&http.Client{Transport: rt}).Do(streamed(t, brokenBody{broken}, -1))
		if sends != 1 || !errors.Is(err, broken) {
			t.Errorf("%s: %d sends and %v, want one and the body's error", name, sends, err)
		}
		if os.IsTimeout(err) != (name == "timeout") {
			t.Errorf("%s: it is a timeout: %t", name, os.IsTimeout(err))
		}
	}
}

// A server refuses a request whose body is still being written, over a real
// connection.
func TestAStreamedBodySurvivesA401ThatComesBeforeItsEnd(t *testing.T) {
	src := &keys{key: deadKey}
	r, w := io.Pipe()
	refused := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Authorization") != "Bearer "+goodKey {
			_, _ = io.ReadFull(req.Body, make([]byte, 4))
			src.set(goodKey)
			rw.Header().Set("Connection", "close") // or the server would read the rest first
			rw.WriteHeader(http.StatusUnauthorized)
			close(refused)
			return
		}
		_, _ = io.Copy(rw, req.Body)
	}))
	defer srv.Close()
	auth, err := middleware.Auth(newCache(t, src), srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = io.WriteString(w, "one ")
		<-refused
		_, _ = io.WriteString(w, "two ")
		_, _ = io.WriteString(w, "three")
		_ = w.Close()
	}()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/v1/files", r)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := middleware.Wrap(newTransport(t), middleware.Replay(), auth).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if got := readBody(t, resp); got != "one two three" || resp.StatusCode != 200 {
		t.Errorf("status %d, the second send had %q", resp.StatusCode, got)
	}
	if _, err := w.Write([]byte("x")); err == nil {
		t.Error("the body was not closed")
	}
}
