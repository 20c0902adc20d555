package parity_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/openai/openai-go/v3/option"
)

const whyTimeout = "http.Client.Timeout bounds a call with its retries, which latchkey makes below it and openai-go above it"

const whyWait = "latchkey waits to send again, where net/http alone returns the refusal, and the caller ends the wait"

// A bound is a way to end a call after two seconds.
type bound struct {
	name string
	// ctx bounds a context, sdk a call of openai-go, and bare an HTTP client;
	// each may be nil.
	ctx  func(context.Context) (context.Context, func())
	sdk  func() []option.RequestOption
	bare func(*http.Client)
	// must is what errors.Is finds in the error of net/http's client.
	must []string
}

const limit = 2 * time.Second

func bounds() []bound {
	return []bound{
		{name: "a deadline", must: []string{"DeadlineExceeded"}, ctx: func(ctx context.Context) (context.Context, func()) {
			ctx, cancel := context.WithTimeout(ctx, limit)
			return ctx, cancel
		}},
		{name: "a deadline with a cause", ctx: func(ctx context.Context) (context.Context, func()) {
			ctx, cancel := context.WithTimeoutCause(ctx, limit, errCause)
			return ctx, cancel
		}, must: []string{"DeadlineExceeded", "cause"}},
		{name: "canceled", ctx: func(ctx context.Context) (context.Context, func()) {
			ctx, cancel := context.WithCancel(ctx)
			timer := time.AfterFunc(limit, cancel)
			return ctx, func() { timer.Stop(); cancel() }
		}, must: []string{"Canceled"}},
		{name: "canceled with a cause", ctx: func(ctx context.Context) (context.Context, func()) {
			ctx, cancel := context.WithCancelCause(ctx)
			timer := time.AfterFunc(limit, func() { cancel(errCause) })
			return ctx, func() { timer.Stop(); cancel(nil) }
		}, must: []string{"Canceled", "cause"}},
		{name: "the client's Timeout", bare: func(c *http.Client) { c.Timeout = limit }},
		{name: "the SDK's request timeout", sdk: func() []option.RequestOption {
			return []option.RequestOption{option.WithRequestTimeout(limit)}
		}},
	}
}

// A place is where a call is when its time is over.
type place struct {
	name     string
	protocol protocol
	server   func(*network)
	onDial   func(ctx context.Context, number int) error
	before   func() // the call
	body     string // of the request
}

func places() (all []place) {
	ok := handle(slow(0))
	whole := `{"model":"m"}`
	all = []place{
		{name: "in the name's lookup", server: ok, body: whole, onDial: lookingUp},
		{name: "in the dial", server: ok, body: whole, onDial: func(ctx context.Context, _ int) error {
			<-ctx.Done()
			return ctx.Err()
		}},
		{name: "in the TLS handshake", protocol: https, body: whole, server: func(n *network) {
			n.serve = func(_ *network, _ int, c *conn) { _, _ = io.Copy(io.Discard, c) }
		}},
	}
	for _, p := range []protocol{http1, http2Plain} {
		all = append(all,
			place{name: "before the call", protocol: p, server: ok, before: func() { time.Sleep(limit + time.Millisecond) }, body: whole},
			place{name: "writing the body", protocol: p, server: deaf(p), body: strings.Repeat(long, 8)},
			place{name: "waiting for the header", protocol: p, server: handle(slow(time.Hour)), body: whole},
			place{name: "in the body", protocol: p, body: whole, server: stalling(0, 200, "application/json", completion)},
			place{name: "in the body of a 400", protocol: p, body: whole, server: stalling(0, 400, "application/json", bodies[0].text)},
			place{name: "in a retry's wait", protocol: p, body: whole, server: failing(1, busy(503, "Retry-After", "30"))},
			place{name: "in a back-off", protocol: p, body: whole, server: failing(0, func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(limit - 100*time.Millisecond)
				busy(500)(w, r)
			})})
	}
	return all
}

// deaf never reads a request's body.
func deaf(p protocol) func(*network) {
	if p == http1 {
		return script1Head(func(w *wire1) bool { time.Sleep(time.Hour); return false })
	}
	return handle(func(_ int, _ http.ResponseWriter, r *http.Request) { sleep(r.Context(), time.Hour) })
}

// stalling answers the sends up to last with half a body, and no more for an
// hour; later ones well. A last of 0 is without end.
func stalling(last, status int, mediaType, body string, header ...string) func(*network) {
	return handle(func(number int, w http.ResponseWriter, r *http.Request) {
		if last > 0 && number > last {
			complete(w)
			return
		}
		w.Header().Set("Content-Type", mediaType)
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body[:len(body)/2])
		_ = http.NewResponseController(w).Flush()
		sleep(r.Context(), time.Hour)
	})
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// timeoutRows are all bounds in all places, over net/http and openai-go.
func timeoutRows() (rows []row) {
	for _, p := range places() {
		for _, b := range bounds() {
			for _, sdk := range []bool{false, true} {
				if !sdk && b.sdk != nil {
					continue
				}
				rows = append(rows, timeoutRow(p, b, sdk))
			}
		}
	}
	return slices.Concat(rows, ownTimeoutRows(), stalledRefusalRows(), dialRows())
}

func timeoutRow(p place, b bound, sdk bool) row {
	over := "net/http"
	if sdk {
		over = "openai-go"
	}
	r := row{
		class: "A call that ends " + p.name, name: b.name + ", over " + over,
		protocol: p.protocol, server: p.server, onDial: p.onDial, steady: !strings.Contains(p.name, "back-off"),
	}
	r.calls = once(func(ctx context.Context, s *side) result {
		began := time.Now()
		defer func() { s.waited = time.Since(began) }()
		if b.ctx != nil {
			var end func()
			ctx, end = b.ctx(ctx)
			defer end()
		}
		if p.before != nil && b.ctx != nil {
			p.before()
		}
		if b.bare != nil {
			b.bare(s.bare)
		}
		if !sdk {
			req, err := s.post(ctx, p.body)
			return do(s, req, err)
		}
		var opts []option.RequestOption
		if b.sdk != nil {
			opts = b.sdk()
		}
		return post(ctx, s, []byte(p.body), opts...)
	})
	if !sdk && b.must != nil {
		r.must = finds(b.must)
	}
	if retried := strings.Contains(p.name, "retry") || strings.Contains(p.name, "back-off"); retried && !sdk {
		r.must = nil
		if strings.HasPrefix(b.name, "canceled") {
			r.class += ", over net/http"
			r.but = except(whyWait, inOutcome, inWait)
		}
	}
	if sdk && b.bare != nil && strings.Contains(p.name, "retry") {
		r.class += ", the client's Timeout over openai-go"
		r.but = except(whyTimeout, inOutcome)
	}
	return r
}

// finds says what traits of all the errors are missing.
func finds(want []string) func(outcome) string {
	return func(o outcome) string {
		for _, r := range o.calls {
			for _, trait := range want {
				if r.err != nil && !slices.Contains(traits(r.err), trait) {
					return fmt.Sprintf("errors.Is does not find %s in %v", trait, r.err)
				}
			}
		}
		return ""
	}
}

// ownTimeoutRows are the transport's own timeouts, which nobody had to ask for.
func ownTimeoutRows() (rows []row) {
	for _, last := range []int{1, 0} {
		pattern := map[int]string{1: ", once", 0: ", always"}[last]
		bad := func(number int) bool { return last == 0 || number <= last }
		for _, sdk := range []bool{false, true} {
			over, calls := "net/http", once(func(ctx context.Context, s *side) result {
				req, err := s.post(ctx, "{}")
				return do(s, req, err)
			})
			if sdk {
				over, calls = "openai-go", chatOnce
			}
			retried := moreUnless(sdk, last)
			rows = append(rows,
				row{class: "No header for ten minutes" + pattern, name: over, calls: calls, but: retried,
					server: script1(func(w *wire1) bool {
						if bad(w.number) {
							time.Sleep(time.Hour)
							return false
						}
						w.ok()
						return true
					})},
				row{class: "No header for ten minutes" + pattern, name: over, calls: calls, protocol: http2Plain, but: retried,
					server: script2(func(w *wire2) {
						if !bad(w.number) {
							w.ok()
						}
					})},
				row{class: "No TLS handshake for ten seconds" + pattern, name: over, calls: calls, protocol: https, but: retried,
					server: silentTLS(bad)})
		}
	}
	return append(rows, row{
		class: "No header within the client's Timeout, once", name: "openai-go", but: except(whyTimeout, inOutcome),
		server: handle(func(number int, w http.ResponseWriter, r *http.Request) {
			if number == 1 {
				sleep(r.Context(), time.Hour)
				return
			}
			complete(w)
		}),
		calls: once(func(ctx context.Context, s *side) result {
			s.bare.Timeout = limit
			return chat(ctx, s)
		}),
	})
}

// silentTLS does not answer the handshake of some connections.
func silentTLS(silent func(number int) bool) func(*network) {
	return func(n *network) {
		handleTLS(slow(0))(n)
		well := n.serve
		n.serve = func(n *network, number int, c *conn) {
			if silent(number) {
				_, _ = io.Copy(io.Discard, c)
				return
			}
			well(n, number, c)
		}
	}
}

const whyRetries = "latchkey sends again, which net/http alone does not"

// moreUnless is the exception for calls over net/http that fail in the end.
func moreUnless(sdk bool, last int) *exception {
	if sdk || last > 0 {
		return nil
	}
	return except(whyRetries, inSends, inWait)
}
