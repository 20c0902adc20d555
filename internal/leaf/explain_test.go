package leaf_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/internal/leaf"
)

// raw answers each connection with that text, after it has read a request.
func raw(t *testing.T, text string) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					_, _ = io.WriteString(conn, text)
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// What came of a request is told with nothing in it that the other end wrote,
// and is transient whatever it was.
func TestEachFaultOfTheNetworkHasACauseAHintAndIsTransient(t *testing.T) {
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	secure.Config.ErrorLog = nil
	t.Cleanup(secure.Close)
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	pool := x509.NewCertPool()
	pool.AddCert(secure.Certificate())
	trusting := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	later := trusting.Clone()
	later.TLSClientConfig.Time = func() time.Time { return time.Now().AddDate(100, 0, 0) }
	old := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}}
	named := trusting.Clone()
	named.TLSClientConfig.ServerName = "another.test"
	hints := leaf.Hints{DNS: "hint of DNS", Authority: "hint of the authority", Network: "hint of the network"}
	for name, c := range map[string]struct {
		url   string
		base  *http.Transport
		cause string
		hint  string
		is    error
	}{
		"DNS":                  {"https://none.test/", nil, "DNS: HOST cannot be resolved", "hint of DNS", nil},
		"refused":              {closed.URL, nil, "no connection to HOST: connection refused", "hint of the network", syscall.ECONNREFUSED},
		"an unknown authority": {secure.URL, nil, "TLS: the certificate of HOST is signed by an unknown authority", "hint of the authority", nil},
		"expired":              {secure.URL, later, "TLS: the certificate of HOST is valid from", "set the clock", nil},
		"another name":         {secure.URL, named, "TLS: the certificate that was shown is not for HOST", "check the name", nil},
		"an alert":             {secure.URL, old, "TLS: HOST ended the handshake with an alert", "TLS 1.2", nil},
		"no TLS":               {strings.Replace(plain.URL, "http", "https", 1), nil, "TLS: HOST does not speak it on this port", "scheme", nil},
		"nothing":              {raw(t, ""), nil, "HOST closed the connection", "proxies", nil},
		"half an answer":       {raw(t, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nCANARY"), nil, "HOST closed the connection", "proxies", nil},
		"no HTTP":              {raw(t, "CANARY\r\n\r\n"), nil, "HOST broke, or what answers there is not HTTP", "address", nil},
		"no header":            {raw(t, "HTTP/1.1 200 OK\r\nCANARY\r\n\r\n"), nil, "not HTTP", "address", nil},
		"no chunk":             {raw(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nCANARY\r\n"), nil, "not HTTP", "address", nil},
		"a header of 72 KiB":   {raw(t, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("CANARY", 12<<10)+"\r\n\r\n"), nil, "not HTTP", "address", nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := get(t, leaf.HTTP{Base: c.base}.Client(), c.url)
			f := hints.Explain(err, "HOST")
			switch text := fmt.Sprintf("%v %+v %#v", f.Err, f.Err, f); {
			case err == nil || strings.Contains(text, "CANARY"):
				t.Errorf("no error, or one that quotes the answer (%T)", err)
			case !strings.Contains(f.Err.Error(), c.cause) || !strings.Contains(f.Hint, c.hint):
				t.Errorf("got %v (%s), want %s (%s)", f.Err, f.Hint, c.cause, c.hint)
			case !f.Transient || !leaf.OnWire(err) && name != "no chunk": // of the body, for which there is no type
				t.Errorf("%v: transient %t, on the wire %t", f.Err, f.Transient, leaf.OnWire(err))
			case c.is != nil && !errors.Is(f.Err, c.is):
				t.Errorf("%v is not %v", f.Err, c.is)
			}
		})
	}
}

func TestTimeIsUp(t *testing.T) {
	hung := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hung:
		case <-r.Context().Done():
		}
	}))
	defer srv.Close()
	defer close(hung)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := leaf.HTTP{}.Client().Do(req)
	if err == nil {
		_ = resp.Body.Close()
	}
	f := leaf.Hints{}.Explain(err, "")
	if !f.Transient || !errors.Is(f.Err, context.DeadlineExceeded) || f.Err.Error() != "the host did not answer in time" || !leaf.OnWire(err) {
		t.Errorf("got %v", f.Err)
	}
	if f := (leaf.Hints{}).Explain(context.Canceled, ""); !f.Transient || !errors.Is(f.Err, context.Canceled) {
		t.Errorf("got %v", f.Err)
	}
	_, missing := os.Stat("/none")
	for _, err := range []error{errors.New("invalid character"), missing, nil} {
		if leaf.OnWire(err) {
			t.Errorf("%v is on the wire", err)
		}
	}
}

func TestTheSameStatusPassesInEachSource(t *testing.T) {
	for status := range 600 {
		want := status == 408 || status == 429 || status >= 500 && status != 501 && status != 505
		if leaf.Passing(status) != want {
			t.Errorf("status %d: passing is %t", status, !want)
		}
	}
}
