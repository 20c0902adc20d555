package parity_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

const whyKept = "latchkey keeps a body of up to 1 MiB and can send it again, where openai-go and net/http cannot"

// long is a body that fits into no buffer on the way.
var long = `{"model":"m","input":"` + strings.Repeat("x", 8*window) + `"}`

// bodyResetRows are connections that end while the request's body is written,
// and answers that come before its end.
func bodyResetRows() (rows []row) {
	part := func(w *wire1) { _, _ = io.CopyN(io.Discard, w.req.Body, 1000) }
	for _, tc := range []struct {
		class, name string
		act         func(w *wire1)
	}{
		{"Ended in the request's body", "closed", func(w *wire1) { part(w) }},
		{"Ended in the request's body", "reset", func(w *wire1) { part(w); w.reset() }},
		{"Answered in the request's body", "413, then closed", func(w *wire1) {
			part(w)
			w.answer(413, bodies[0].text, "Content-Type", "application/json", "Connection", "close")
			time.Sleep(time.Second)
		}},
		{"Answered in the request's body", "429, then closed", func(w *wire1) {
			part(w)
			w.answer(429, bodies[0].text, "Content-Type", "application/json", "Connection", "close")
			time.Sleep(time.Second)
		}},
		{"Answered in the request's body", "503, the rest is read", func(w *wire1) {
			w.answer(503, bodies[0].text, "Content-Type", "application/json")
			_, _ = io.Copy(io.Discard, w.req.Body)
		}},
		{"Answered in the request's body", "200, the rest is read", func(w *wire1) {
			w.ok()
			_, _ = io.Copy(io.Discard, w.req.Body)
		}},
	} {
		for _, last := range []int{1, 0} {
			for _, again := range []bool{true, false} {
				var but *exception
				if last == 0 && !again && !strings.HasPrefix(tc.name, "413") && !strings.HasPrefix(tc.name, "200") {
					but = except(whyKept, inSends, inWait)
				}
				rows = append(rows, row{
					but:   but,
					class: tc.class + ", " + map[int]string{1: "once", 0: "always"}[last],
					name:  fmt.Sprintf("%s, the body can be had again: %t", tc.name, again),
					server: script1Head(func(w *wire1) bool {
						if last > 0 && w.number > last {
							_, _ = io.Copy(io.Discard, w.req.Body)
							w.ok()
							return true
						}
						tc.act(w)
						return false
					}),
					calls: once(func(ctx context.Context, s *side) result {
						if !again {
							return upload(ctx, s, strings.NewReader(long))
						}
						return post(ctx, s, []byte(long))
					}),
				})
			}
		}
	}
	return rows
}
