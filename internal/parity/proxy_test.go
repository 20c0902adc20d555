package parity_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// A proxying is a way to set up httputil.ReverseProxy.
type proxying struct {
	name string
	make func(target *url.URL) *httputil.ReverseProxy
	but  *exception
}

func proxyings() []proxying {
	return []proxying{
		{"Rewrite", func(target *url.URL) *httputil.ReverseProxy {
			return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.SetXForwarded() }}
		}, nil},
		{"Director", func(target *url.URL) *httputil.ReverseProxy {
			return &httputil.ReverseProxy{Director: func(r *http.Request) { //nolint:staticcheck // programs have it
				r.URL.Scheme, r.URL.Host, r.Host = target.Scheme, target.Host, target.Host
			}}
		}, nil},
		{"NewSingleHostReverseProxy, which keeps the Host", httputil.NewSingleHostReverseProxy, except(whyOrigin, inOutcome)},
	}
}

// A proxied is what goes through the proxy.
type proxied struct {
	name   string
	server func(*network)
	onDial func(context.Context, int) error
	call   func(ctx context.Context, s *side, front *http.Client, at string) result
}

// proxyRows put httputil.ReverseProxy, in a server of its own, over the transport.
func proxyRows() (rows []row) {
	for _, how := range proxyings() {
		for _, what := range proxieds() {
			for _, p := range []protocol{http1, http2Plain} {
				if p == http2Plain && what.name == "an upgrade" {
					continue // HTTP/1 alone has it
				}
				r := row{
					class: "httputil.ReverseProxy, " + how.name, name: what.name, protocol: p,
					server: what.server, onDial: what.onDial, but: how.but,
					calls: once(func(ctx context.Context, s *side) result { return proxy(ctx, s, how, what) }),
				}
				if what.onDial != nil {
					r.class, r.but = "httputil.ReverseProxy, a dial that fails", except(whyRetries, inWait)
					r.name += ", " + how.name
				}
				if how.but != nil && (what.onDial != nil || what.name == "a client that leaves") {
					continue // the origin is refused first
				}
				rows = append(rows, r)
			}
		}
	}
	return rows
}

func proxy(ctx context.Context, s *side, how proxying, what proxied) result {
	ctx, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	target, err := url.Parse(s.base)
	if err != nil {
		return result{err: err}
	}
	target.Path = "/"
	through := how.make(target)
	through.Transport, through.ErrorLog = s.transport, noLog()
	front := &network{began: s.began}
	handle(func(_ int, w http.ResponseWriter, r *http.Request) { through.ServeHTTP(w, r) })(front)
	base := transportAlone(front, http1, nil)
	out := what.call(ctx, s, &http.Client{Transport: base}, "http://front.example/v1/chat/completions")
	base.CloseIdleConnections()
	front.close()
	return out
}

func proxieds() []proxied {
	send := func(ctx context.Context, s *side, front *http.Client, at string) result {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader("{}"))
		if err != nil {
			return result{err: err}
		}
		return read(front.Do(req))
	}
	return []proxied{
		{name: "a call", server: mirror(0), call: send},
		{name: "a 400", server: failing(0, busy(400)), call: send},
		{name: "a 503, once", server: failing(1, busy(503)), call: send},
		{name: "a stream", server: piecemeal, call: streamThrough},
		{name: "an upload that the proxy cannot have again", server: lastWire(0),
			call: func(ctx context.Context, _ *side, front *http.Client, at string) result {
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, at, struct{ io.Reader }{strings.NewReader(long)})
				if err != nil {
					return result{err: err}
				}
				return read(front.Do(req))
			}},
		{name: "trailers both ways", call: trailersThrough, server: watch(func(n *network, _ int, w http.ResponseWriter, r *http.Request) {
			wire(n, r)
			w.Header().Set("Trailer", "X-Sum")
			complete(w)
			w.Header().Set("X-Sum", "2")
		})},
		{name: "a 103", call: earlyThrough, server: handle(func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", "</style.css>; rel=preload")
			w.WriteHeader(103)
			complete(w)
		})},
		{name: "an upgrade", call: upgradeThrough, server: script1(func(w *wire1) bool {
			w.writes("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
			_, _ = io.Copy(w.conn, w.reader)
			return false
		})},
		{name: "a client that leaves", server: handle(slow(time.Hour)), call: func(ctx context.Context, s *side, front *http.Client, at string) result {
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			return send(ctx, s, front, at)
		}},
		{name: "refused", server: mirror(0), call: send, onDial: func(context.Context, int) error { return unconnected(syscall.ECONNREFUSED) }},
	}
}

// piecemeal is a stream with a second between its events.
func piecemeal(n *network) {
	handle(func(_ int, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for event := range strings.SplitAfterSeq(chunks, "\n\n") {
			_, _ = io.WriteString(w, event)
			_ = http.NewResponseController(w).Flush()
			time.Sleep(time.Second)
		}
	})(n)
}

func streamThrough(ctx context.Context, s *side, front *http.Client, at string) result {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader(`{"stream":true}`))
	if err != nil {
		return result{err: err}
	}
	resp, err := front.Do(req)
	if err != nil {
		return result{err: err}
	}
	defer resp.Body.Close()
	return pieces(s, resp)
}

func trailersThrough(ctx context.Context, s *side, front *http.Client, at string) result {
	trailer := http.Header{"X-Sum": nil}
	body := &onEOF{strings.NewReader("body"), func() { trailer.Set("X-Sum", "1") }}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at, struct{ io.Reader }{body})
	if err != nil {
		return result{err: err}
	}
	req.Trailer = trailer
	resp, err := front.Do(req)
	r := read(resp, err)
	if err == nil {
		s.note("trailer %v", resp.Trailer)
	}
	return r
}

func earlyThrough(ctx context.Context, s *side, front *http.Client, at string) result {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		s.note("%d %v", code, h.Get("Link"))
		return nil
	}})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader("{}"))
	if err != nil {
		return result{err: err}
	}
	return read(front.Do(req))
}

func upgradeThrough(ctx context.Context, s *side, front *http.Client, at string) result {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return result{err: err}
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "echo")
	resp, err := front.Do(req)
	if err != nil {
		return result{err: err}
	}
	defer resp.Body.Close()
	both, ok := resp.Body.(io.ReadWriter)
	if s.note("status %d, the body can be written: %t", resp.StatusCode, ok); !ok {
		return result{status: resp.StatusCode}
	}
	for _, text := range []string{"one", "two"} {
		_, err := io.WriteString(both, text)
		back := make([]byte, 3)
		_, readErr := io.ReadFull(both, back)
		s.note("%s %v %v", back, err, readErr)
	}
	return result{status: resp.StatusCode}
}
