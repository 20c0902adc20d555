package parity_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// upgradeRows are connections that become another protocol's, with bytes in
// both directions.
func upgradeRows() (rows []row) {
	for _, size := range []int{5, 100 << 10} {
		rows = append(rows, row{
			class: "Upgrade, 101", name: fmt.Sprintf("%d bytes each way", size), steady: true,
			server: script1(func(w *wire1) bool {
				if w.req.Header.Get("Upgrade") != "echo" {
					w.answer(400, "no upgrade")
					return false
				}
				w.writes("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello")
				_, _ = io.Copy(w.conn, w.reader)
				return false
			}),
			calls: once(func(ctx context.Context, s *side) result { return upgraded(ctx, s, size) }),
		})
	}
	return rows
}

func upgraded(ctx context.Context, s *side, size int) result {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+"realtime", nil)
	if err != nil {
		return result{err: err}
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "echo")
	resp, err := s.bare.Do(req)
	if err != nil {
		return result{err: err}
	}
	defer resp.Body.Close()
	both, ok := resp.Body.(io.ReadWriteCloser)
	if s.note("status %d, the body can be written: %t", resp.StatusCode, ok); !ok {
		return result{status: resp.StatusCode}
	}
	r := bufio.NewReader(both)
	hello := make([]byte, 5)
	_, err = io.ReadFull(r, hello)
	s.note("%s %v", hello, err)
	for range 3 {
		out, back := make([]byte, size), make([]byte, size)
		go func() { _, _ = both.Write(out) }()
		n, err := io.ReadFull(r, back)
		s.note("%d bytes came back, %v", n, err)
	}
	return result{status: resp.StatusCode}
}

// duplexRows are requests whose body is still written when the answer comes.
func duplexRows() (rows []row) {
	echo := handle(func(_ int, w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		_ = control.EnableFullDuplex()
		w.WriteHeader(http.StatusOK)
		_ = control.Flush()
		for p := make([]byte, 64); ; {
			n, err := r.Body.Read(p)
			if n > 0 {
				_, _ = w.Write(p[:n])
				_ = control.Flush()
			}
			if err != nil {
				return
			}
		}
	})
	rows = append(rows, overBoth(row{class: "Full duplex", name: "four messages, each after the answer to the last", server: echo, steady: true,
		calls: once(func(ctx context.Context, s *side) result { return duplex(ctx, s) })})...)
	for _, tc := range []struct {
		name  string
		first time.Duration
		pause time.Duration
	}{
		{"the first byte at once, ten more a second apart", 0, time.Second},
		{"the first byte after 5 s", 5 * time.Second, time.Second},
	} {
		for _, declared := range []bool{true, false} {
			r := row{class: "A body that is written slowly", name: fmt.Sprintf("%s, the length is declared: %t", tc.name, declared), steady: true,
				server: watch(func(n *network, _ int, w http.ResponseWriter, r *http.Request) {
					n.note("the header after %v", time.Since(n.began))
					for p := make([]byte, 64); ; {
						k, err := r.Body.Read(p)
						if k > 0 {
							n.note("%d bytes after %v", k, time.Since(n.began))
						}
						if err != nil {
							break
						}
					}
					complete(w)
				}),
				calls: once(func(ctx context.Context, s *side) result { return slowly(ctx, s, tc.first, tc.pause, declared) })}
			rows = append(rows, overBoth(r)...)
		}
	}
	return rows
}

func duplex(ctx context.Context, s *side) result {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	body, pipe := io.Pipe()
	defer pipe.Close()
	req, err := withBody(ctx, s, body)
	if err != nil {
		return result{err: err}
	}
	resp, err := s.bare.Do(req)
	if err != nil {
		return result{err: err}
	}
	defer resp.Body.Close()
	back := make([]byte, 4)
	for i := range 4 {
		if _, err := fmt.Fprintf(pipe, "msg%d", i); err != nil {
			return result{err: err}
		}
		if _, err := io.ReadFull(resp.Body, back); err != nil {
			return result{err: err}
		}
		s.note("%s", back)
	}
	_ = pipe.Close()
	rest, err := io.ReadAll(resp.Body)
	s.note("%q", rest)
	return result{status: resp.StatusCode, err: err}
}

func slowly(ctx context.Context, s *side, first, pause time.Duration, declared bool) result {
	body, pipe := io.Pipe()
	go func() {
		time.Sleep(first)
		for range 11 {
			_, _ = io.WriteString(pipe, "x")
			time.Sleep(pause)
		}
		_ = pipe.Close()
	}()
	req, err := withBody(ctx, s, body)
	if err == nil && declared {
		req.ContentLength = 11
	}
	out := do(s, req, err)
	_ = body.Close()
	return out
}
