package client_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/middleware"
)

// overPipe returns a client over the transport of NewTransport, whose
// connections lead to peer. Nothing but what it bounds ends its calls.
func overPipe(t *testing.T, baseURL string, rootCAs []byte, peer func(net.Conn)) *client.Client {
	t.Helper()
	tr, err := client.NewTransport(rootCAs)
	if err != nil {
		t.Fatal(err)
	}
	tr.Proxy = nil
	tr.DialContext = func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer func() { _ = far.Close() }()
			peer(far)
		}()
		return near, nil
	}
	c, err := client.New(client.Config{Source: static(), BaseURL: baseURL, Transport: tr, Retry: &middleware.RetryOptions{MaxRetries: -1}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// silent reads what comes, and answers nothing.
func silent(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func TestAHandshakeThatNobodyAnswersEndsIn10Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, err := overPipe(t, "https://api.example.com/v1/", nil, silent).Post(t.Context(), "x", nil, nil)
		if took := time.Since(began); !isTimeout(err) || took != 10*time.Second {
			t.Errorf("%v after %v, want a timeout after 10 s", err, took)
		}
	})
}

func TestACallThatNobodyAnswersEndsIn10Minutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, err := overPipe(t, "http://localhost/v1/", nil, silent).Post(t.Context(), "x", nil, nil)
		if took := time.Since(began); !isTimeout(err) || took != 10*time.Minute {
			t.Errorf("%v after %v, want a timeout after 10 min", err, took)
		}
	})
}

// A connection over HTTP/2 whose peer is gone would hold all calls on it for as
// long as an answer may take.
func TestAnHTTP2ConnectionThatIsDeadIsFoundByPings(t *testing.T) {
	server := httptest.NewTLSServer(nil) // for its certificate
	server.Close()
	conf := &tls.Config{Certificates: server.TLS.Certificates, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true}
	synctest.Test(t, func(t *testing.T) {
		c := overPipe(t, "https://example.com/v1/", pemOf(server), func(conn net.Conn) {
			secure := tls.Server(conn, conf)
			if _, err := io.ReadFull(secure, make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))); err != nil {
				t.Errorf("no HTTP/2: %v", err)
			}
			go func() { _, _ = secure.Write([]byte{0, 0, 0, 4, 0, 0, 0, 0, 0}) }() // SETTINGS, and nothing more
			silent(secure)
		})
		began := time.Now()
		_, err := c.Post(t.Context(), "x", nil, nil)
		if took := time.Since(began); err == nil || took != 30*time.Second {
			t.Errorf("%v after %v, want an error after 30 s: a ping after 15 and no answer to it for 15 more", err, took)
		}
	})
}

func TestWarmEndsIn30SecondsThoughNobodyAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, client.Config{}, func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		})
		began := time.Now()
		err := c.Warm(t.Context())
		if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took != 30*time.Second {
			t.Errorf("%v after %v, want the end of the time after 30 s", err, took)
		}
	})
}
