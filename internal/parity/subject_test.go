package parity_test

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	openai "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
)

const (
	key        = "sk-CANARY-parity-0001"
	completion = `{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"finish_reason":"stop",` +
		`"message":{"role":"assistant","content":"four"}}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}`
)

// A protocol is what the connections of a case speak.
type protocol int

const (
	http1 protocol = iota
	http2Plain
	https // HTTP/1 or HTTP/2, as the server likes
)

func (p protocol) String() string { return [...]string{"HTTP/1", "HTTP/2", "TLS"}[p] }

// A side is what runs a case's calls: openai-go or net/http, alone or on latchkey.
type side struct {
	*network
	latchkey  bool
	base      string // the base URL; it ends with a slash
	transport http.RoundTripper
	sdk       openai.Client
	bare      *http.Client
	closeIdle func()
	waited    time.Duration // what the case measured itself, or -1 for nothing; 0 is all of it
}

// transportAlone is net/http's default transport, with openai-go's own bound
// for the header, on the case's network.
func transportAlone(n *network, p protocol, conf *tls.Config) *http.Transport {
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		t = &http.Transport{}
	}
	t = t.Clone()
	t.ResponseHeaderTimeout = 10 * time.Minute
	return on(n, p, conf, t)
}

// transportLatchkey is client's own transport on the case's network.
func transportLatchkey(t *testing.T, n *network, p protocol, conf *tls.Config) *http.Transport {
	own, err := client.NewTransport(nil)
	if err != nil {
		t.Fatal(err)
	}
	return on(n, p, conf, own)
}

// on puts a transport on a network.
func on(n *network, p protocol, conf *tls.Config, t *http.Transport) *http.Transport {
	t.Proxy, t.DialContext = nil, n.DialContext
	if conf != nil {
		t.TLSClientConfig = conf
	}
	if p == http2Plain {
		t.Protocols = new(http.Protocols)
		t.Protocols.SetUnencryptedHTTP2(true)
	}
	return t
}

// newSide connects a side to a new network with the case's server.
func newSide(t *testing.T, c *row, latchkey bool) *side {
	n := &network{began: time.Now(), onDial: c.onDial}
	c.server(n)
	s := &side{network: n, latchkey: latchkey, base: "http://127.0.0.1/v1/"}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.protocol == https {
		s.base = "https://127.0.0.1/v1/"
		conf.RootCAs = trusted().pool
	}
	if !latchkey {
		base := transportAlone(n, c.protocol, conf)
		s.transport, s.bare, s.closeIdle = base, &http.Client{Transport: base}, base.CloseIdleConnections
		s.sdk = openai.NewClient(option.WithHTTPClient(s.bare), option.WithBaseURL(s.base), option.WithAPIKey(key))
		return s
	}
	base := transportLatchkey(t, n, c.protocol, conf)
	cl, err := client.New(client.Config{
		Source:    credentialtest.NewStore(key), // whose key could be rotated, as in any store
		BaseURL:   s.base,
		Transport: base,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.bare = cl.HTTPClient()
	s.transport, s.closeIdle = s.bare.Transport, base.CloseIdleConnections
	s.sdk = openai.NewClient(append(cl.Options(), option.WithHTTPClient(s.bare))...)
	return s
}

// run runs a case on one side and returns what came of it.
func (c *row) run(t *testing.T, latchkey bool) outcome {
	s := newSide(t, c, latchkey)
	ctx, cancel := context.WithTimeout(context.Background(), 24*time.Hour) // a call that hangs must not stop the table
	defer cancel()
	// A call that ignores even that would go on for ever, with the connections'
	// pings: without them the bubble notices.
	watchdog := time.AfterFunc(25*time.Hour, s.network.close)
	began := time.Now()
	calls := c.calls(ctx, s)
	watchdog.Stop()
	wait := time.Since(began)
	if s.waited != 0 {
		wait = max(0, s.waited)
	}
	synctest.Wait() // what was written has arrived, and is counted
	s.closeIdle()
	s.network.close()
	time.Sleep(time.Minute) // handlers end with their connections, or soon after
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.notes) > 0 {
		calls[len(calls)-1].note = strings.Join(s.notes, "; ")
	}
	return outcome{calls: calls, sends: s.sends, dials: s.dials, wait: wait}
}

func noLog() *log.Logger { return log.New(io.Discard, "", 0) }
