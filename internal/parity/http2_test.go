package parity_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/net/http2"
)

// codes are all error codes of RFC 9113, and one that is none.
func codes() (out []http2.ErrCode) {
	for code := http2.ErrCodeNo; code <= http2.ErrCodeHTTP11Required; code++ {
		out = append(out, code)
	}
	return append(out, 0xff)
}

// A fault2 is what becomes of one send over HTTP/2.
type fault2 struct {
	class, name string
	act         func(w *wire2)
	// endless says that net/http sends again by itself, on a new connection
	// each time, without a wait and without an end.
	endless bool
}

func faults2() (all []fault2) {
	add := func(class, name string, act func(w *wire2)) {
		all = append(all, fault2{class: class, name: name, act: act})
	}
	for _, code := range codes() {
		add("RST_STREAM before the header", code.String(), func(w *wire2) { w.rst(code) })
		all[len(all)-1].endless = code == http2.ErrCodeProtocol
		add("RST_STREAM after the header", code.String(), func(w *wire2) {
			w.header(200, false, "Content-Type", "application/json")
			w.rst(code)
		})
		add("RST_STREAM in the body", code.String(), func(w *wire2) {
			mediaType, body := w.good()
			w.header(200, false, "Content-Type", mediaType)
			w.data(body[:len(body)/2], false)
			w.rst(code)
		})
		add("GOAWAY, the stream is above the last", code.String(), func(w *wire2) {
			w.goAway(w.stream-1, code)
			w.lingers()
		})
		all[len(all)-1].endless = code == http2.ErrCodeNo
		add("GOAWAY, the stream is above the last, then closed", code.String(), func(w *wire2) {
			w.goAway(w.stream-1, code)
			_ = w.Close()
		})
		all[len(all)-1].endless = code == http2.ErrCodeNo
		add("GOAWAY, the stream is the last, and answered", code.String(), func(w *wire2) {
			w.goAway(w.stream, code)
			w.ok()
			w.lingers()
		})
		add("GOAWAY, the stream is the last, then closed", code.String(), func(w *wire2) {
			w.goAway(w.stream, code)
			_ = w.Close()
		})
	}
	add("The connection ends before the header", "closed", func(w *wire2) { _ = w.Close() })
	add("The connection ends before the header", "reset", func(w *wire2) { w.conn.reset() })
	for name, end := range map[string]func(w *wire2){
		"closed": func(w *wire2) { _ = w.Close() },
		"reset":  func(w *wire2) { w.conn.reset() },
	} {
		add("The connection ends in the body", name, func(w *wire2) {
			mediaType, body := w.good()
			w.header(200, false, "Content-Type", mediaType)
			w.data(body[:len(body)/2], false)
			end(w)
		})
	}
	return all
}

// lingers keeps the connection open for a while, as a server does that drains.
func (w *wire2) lingers() {
	time.Sleep(time.Second)
	_ = w.Close()
}

// http2Rows are all faults, on the first and on a later stream of a
// connection, once and always.
func http2Rows() (rows []row) {
	for _, f := range faults2() {
		for _, c := range callers() {
			if c.name == "stream" && !strings.Contains(f.class, "body") {
				continue // as any POST
			}
			for _, last := range []int{1, 0} {
				for _, reused := range []bool{false, true} {
					rows = append(rows, fault2Row(f, c, last, reused))
				}
			}
		}
	}
	return append(rows, refusedRows()...)
}

func fault2Row(f fault2, c caller, last int, reused bool) row {
	first, on := 1, "a new connection"
	if reused {
		first, on = 2, "a used connection"
	}
	endless := f.endless && last == 0
	r := row{
		class:    f.class + map[int]string{1: ", once", 0: ", always"}[last],
		name:     f.name + ", " + c.name + ", " + on,
		protocol: http2Plain,
		server: script2(func(w *wire2) {
			if w.number < first || last > 0 && w.number > first {
				w.ok()
				return
			}
			if endless {
				time.Sleep(time.Second)
			}
			f.act(w)
		}),
		calls: func(ctx context.Context, s *side) (out []result) {
			if reused {
				out = append(out, c.call(ctx, s))
			}
			if endless {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, time.Minute)
				defer cancel()
			}
			return append(out, c.call(ctx, s))
		},
	}
	if endless {
		r.class = "Refused always, where net/http has no end"
		r.name = f.class + ": " + r.name
	}
	return r
}

// refusedRows are streams that were refused, and so not processed, several
// times in a row: net/http sends them again by itself.
func refusedRows() (rows []row) {
	for _, code := range []http2.ErrCode{http2.ErrCodeRefusedStream, http2.ErrCodeProtocol} {
		for last := 2; last <= 8; last++ {
			for _, c := range callers()[:2] {
				rows = append(rows, row{
					class:    fmt.Sprintf("RST_STREAM before the header, %v, several times", code),
					name:     fmt.Sprintf("%d times, %s", last, c.name),
					protocol: http2Plain,
					calls:    once(c.call),
					server: script2(func(w *wire2) {
						if w.number > last {
							w.ok()
							return
						}
						w.rst(code)
					}),
				})
			}
		}
	}
	return rows
}
