package parity_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// An aging is what becomes of the idle connections between two calls.
type aging struct {
	name string
	age  func(s *side)
}

func agings() []aging {
	each := func(f func(c *conn)) func(s *side) {
		return func(s *side) {
			for _, c := range s.connections() {
				f(c)
			}
		}
	}
	return []aging{
		{"closed by the server", each(func(c *conn) { _ = c.Close(); synctest.Wait() })},
		{"reset by the server", each(func(c *conn) { c.reset(); synctest.Wait() })},
		{"dead, and nobody noticed", each((*conn).die)},
		{"idle for 40 s, then dead", func(s *side) { time.Sleep(40 * time.Second); each((*conn).die)(s) }},
		{"idle for 80 s, then dead", func(s *side) { time.Sleep(80 * time.Second); each((*conn).die)(s) }},
		{"idle for two hours, then dead", func(s *side) { time.Sleep(2 * time.Hour); each((*conn).die)(s) }},
	}
}

// staleRows are calls that find only connections that have ended: nothing was
// written, so the request goes out again at once.
func staleRows() (rows []row) {
	bodyless := caller{"POST without GetBody", func(ctx context.Context, s *side) result {
		return upload(ctx, s, strings.NewReader(`{"model":"m"}`))
	}}
	for _, a := range agings() {
		for _, c := range append(callers()[:2:2], bodyless) {
			for _, width := range []int{1, 2, 20, 100} {
				for _, after := range []int{1, 20} {
					for _, p := range []protocol{http1, http2Plain} {
						if width > 1 && p == http2Plain {
							continue // it has one connection
						}
						rows = append(rows, row{
							class:    "Idle connections " + a.name,
							name:     fmt.Sprintf("%s, %d of them, %d calls at once", c.name, width, after),
							protocol: p,
							server:   gathering(p, width),
							steady:   p == http1, // over HTTP/2 a request that was written is not sent again by net/http
							calls: func(ctx context.Context, s *side) []result {
								atOnce(width, func() result { return chat(ctx, s) })
								a.age(s)
								began := time.Now()
								out := atOnce(after, func() result { return c.call(ctx, s) })
								s.waited = cmp.Or(time.Since(began), -1)
								return out
							},
						})
					}
				}
			}
		}
	}
	return append(rows, drainRows()...)
}

// gathering answers the first calls when that many have come, so that each has
// a connection of its own over HTTP/1.
func gathering(p protocol, width int) func(*network) {
	return func(n *network) {
		var first sync.WaitGroup
		first.Add(width)
		gather := func(number int) {
			if number <= width {
				first.Done()
				first.Wait()
			}
		}
		if p == http2Plain {
			script2(func(w *wire2) { gather(w.number); w.ok() })(n)
		} else {
			script1(func(w *wire1) bool { gather(w.number); w.ok(); return true })(n)
		}
	}
}

// atOnce makes that many calls at the same time; the better results come first.
func atOnce(n int, call func() result) []result {
	out := make([]result, n)
	var all sync.WaitGroup
	for i := range out {
		all.Go(func() { out[i] = call() })
	}
	all.Wait()
	return sorted(out)
}

// drainRows are HTTP/2 connections that a server ends in an orderly way
// between two calls, or while calls are under way.
func drainRows() (rows []row) {
	for _, code := range []http2.ErrCode{http2.ErrCodeNo, http2.ErrCodeEnhanceYourCalm, http2.ErrCodeInternal} {
		for _, closes := range []bool{false, true} {
			rows = append(rows, row{
				class:    "GOAWAY between two calls",
				name:     fmt.Sprintf("%v, the connection is closed: %t", code, closes),
				protocol: http2Plain,
				steady:   true,
				server: script2(func(w *wire2) {
					w.ok()
					if w.number == 1 {
						w.goAway(w.stream, code)
						if closes {
							_ = w.Close()
						}
					}
				}),
				calls: func(ctx context.Context, s *side) (out []result) {
					for range 3 {
						out = append(out, chat(ctx, s))
						synctest.Wait()
					}
					return out
				},
			})
		}
	}
	rows = append(rows, row{
		class: "GOAWAY while ten calls are under way", name: "the first five are processed", protocol: http2Plain,
		server: script2(func(w *wire2) {
			time.Sleep(time.Second)
			if w.dial == 1 && w.stream == 1 {
				w.goAway(9, http2.ErrCodeNo)
			}
			if w.dial > 1 || w.stream <= 9 {
				w.ok()
			}
		}),
		calls: func(ctx context.Context, s *side) []result {
			return atOnce(10, func() result { return chat(ctx, s) })
		},
	})
	return rows
}

// idleRows count connections over ten calls in a row.
func idleRows() (rows []row) {
	for _, tc := range []struct {
		name         string
		apart, lasts time.Duration
		but          *exception
	}{
		{"10 s apart", 10 * time.Second, 0, nil},
		{"40 s apart", 40 * time.Second, 0, nil},
		{"60 s apart", 60 * time.Second, 0, except(whyIdle, inDials)},
		{"10 minutes apart", 10 * time.Minute, 0, nil},
		{"each lasts 40 s", 0, 40 * time.Second, nil},
		{"each lasts 60 s", 0, 60 * time.Second, nil},
		{"each lasts 5 minutes", 0, 5 * time.Minute, nil},
		{"each lasts 60 s, 10 s apart", 10 * time.Second, 60 * time.Second, nil},
	} {
		for _, p := range []protocol{http1, http2Plain} {
			but := tc.but
			if p == http2Plain && max(tc.apart, tc.lasts) < 5*time.Minute {
				but = except(whyIdle, inDials) // net/http counts the age of one over HTTP/2, not when it was used last
			}
			rows = append(rows, row{
				class: "Ten calls in a row, connections", name: tc.name, protocol: p, steady: true, dials: true, but: but,
				server: handle(slow(tc.lasts)),
				calls: func(ctx context.Context, s *side) (out []result) {
					for range 10 {
						out = append(out, chat(ctx, s))
						time.Sleep(tc.apart)
					}
					return out
				},
			})
		}
	}
	return rows
}

const whyIdle = "idle connections are closed after 50 s, before the gateways on the way close them at 60 s"

// slow answers after a time.
func slow(after time.Duration) handler {
	return func(_ int, w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		sleep(r.Context(), after)
		complete(w)
	}
}
