package bench_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// loopback is an HTTP/1.1 server on 127.0.0.1 that gives its answers in turn.
// Unlike net/http's it allocates nothing for a request, so that B/op is the
// client's alone although both are in one process.
type loopback struct {
	url     string
	answers [][]byte
	next    atomic.Int64
	dials   atomic.Int64 // connections that the transport opened
}

func newLoopback(tb testing.TB, answers ...[]byte) *loopback {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(tb, err)
	tb.Cleanup(func() { _ = ln.Close() })
	s := &loopback{url: "http://" + ln.Addr().String() + "/v1/", answers: answers}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return s
}

func (s *loopback) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	r := bufio.NewReaderSize(conn, 64<<10)
	for {
		length, err := requestLength(r)
		if err != nil {
			return
		}
		if _, err := r.Discard(length); err != nil {
			return
		}
		turn := s.next.Add(1) - 1
		if _, err := conn.Write(s.answers[int(turn)%len(s.answers)]); err != nil {
			return
		}
	}
}

// requestLength reads a request's head.
func requestLength(r *bufio.Reader) (int, error) {
	const name = "Content-Length: "
	length := 0
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if len(line) <= 2 {
			return length, nil
		}
		if len(line) > len(name) && string(line[:len(name)]) == name {
			length = 0
			for _, c := range line[len(name) : len(line)-2] {
				length = 10*length + int(c-'0')
			}
		}
	}
}

// answer renders what the server writes.
func answer(status int, header http.Header, body string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	_ = header.Write(&b)
	b.WriteString("Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
	return []byte(b.String())
}

// transport returns one that counts its connections.
func (s *loopback) transport(tb testing.TB) *http.Transport {
	tb.Helper()
	t := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			s.dials.Add(1)
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
		MaxIdleConnsPerHost: 10,
	}
	tb.Cleanup(t.CloseIdleConnections)
	return t
}

func readBody(resp *http.Response, want int) error {
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != want {
		return fmt.Errorf("status %d, want %d", resp.StatusCode, want)
	}
	return nil
}
