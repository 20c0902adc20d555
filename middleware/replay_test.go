package middleware_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/latchkey-go/latchkey/middleware"
)

func streamed(t *testing.T, body io.Reader, length int64) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, chat, io.NopCloser(body))
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = length
	return req
}

func TestReplayMakesASmallBodyRewindable(t *testing.T) {
	for _, size := range []int{1, 1000, middleware.MaxReplayBody} {
		for _, length := range []int64{-1, 0, int64(size)} {
			text := strings.Repeat("x", size)
			rt := middleware.Replay()(tripFunc(func(req *http.Request) (*http.Response, error) {
				if req.GetBody == nil || req.ContentLength != length {
					t.Fatalf("size %d, declared %d: not rewindable, or length %d", size, length, req.ContentLength)
				}
				for range 2 {
					body, err := req.GetBody()
					if err != nil {
						t.Fatal(err)
					}
					if data, _ := io.ReadAll(body); string(data) != text {
						t.Errorf("size %d: GetBody gave %d bytes", size, len(data))
					}
				}
				if data, _ := io.ReadAll(req.Body); string(data) != text {
					t.Errorf("size %d: Body gave %d bytes", size, len(data))
				}
				return answer(req, 200, ""), nil
			}))
			req := streamed(t, strings.NewReader(text), length)
			resp, err := rt.RoundTrip(req)
			if err != nil || resp.Request != req || req.GetBody != nil {
				t.Errorf("size %d: err %v, or the caller's request is not the one given back unchanged", size, err)
			}
		}
	}
}

func TestReplayPassesALongBodyOnWhole(t *testing.T) {
	text := strings.Repeat("0123456789abcdef", middleware.MaxReplayBody/16) + "!"
	for _, length := range []int64{-1, int64(len(text))} {
		body := &closeCounter{Reader: strings.NewReader(text)}
		rt := middleware.Replay()(tripFunc(func(req *http.Request) (*http.Response, error) {
			if data, _ := io.ReadAll(req.Body); string(data) != text {
				t.Errorf("%d bytes arrived of %d", len(data), len(text))
			}
			if req.GetBody != nil {
				if _, err := req.GetBody(); err == nil {
					t.Error("half of the body can be had again")
				}
			}
			_ = req.Body.Close()
			return answer(req, 200, ""), nil
		}))
		req := streamed(t, nil, length)
		req.Body = body
		if _, err := rt.RoundTrip(req); err != nil || body.closed != 1 {
			t.Errorf("err %v, %d closes", err, body.closed)
		}
	}
}

type brokenBody struct{ err error }

func (b brokenBody) Read([]byte) (int, error) { return 0, b.err }

func TestReplayPassesTheErrorOfTheBodyOn(t *testing.T) {
	broken := errors.New("broken")
	rt := middleware.Replay()(tripFunc(func(req *http.Request) (*http.Response, error) {
		for range 2 {
			if _, err := io.ReadAll(req.Body); !errors.Is(err, broken) {
				t.Errorf("got %v, want the body's error", err)
			}
			_ = req.Body.Close()
			req.Body, _ = req.GetBody()
		}
		return nil, broken
	}))
	if _, err := rt.RoundTrip(streamed(t, brokenBody{broken}, -1)); !errors.Is(err, broken) {
		t.Errorf("got %v, want the body's error", err)
	}
}

func TestReplayReadsNothingAhead(t *testing.T) {
	r, w := io.Pipe()
	rt := middleware.Replay()(tripFunc(func(req *http.Request) (*http.Response, error) {
		go func() { _, _ = w.Write([]byte("first")) }() // would block for ever if the body had been read before
		buf := make([]byte, 5)
		if _, err := io.ReadFull(req.Body, buf); err != nil || string(buf) != "first" {
			t.Errorf("read %q, %v", buf, err)
		}
		_ = req.Body.Close()
		return answer(req, 200, ""), nil
	}))
	req := streamed(t, nil, -1)
	req.Body = r
	if _, err := rt.RoundTrip(req); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("x")); err != nil {
		return // the body is closed
	}
	t.Error("the body was not closed")
}

// A server may refuse a request while its body is still being written. The
// second send gets what the first had read, and then the rest as it comes.
func TestReplaySendsAgainWhatItHasKeptAndThenTheRest(t *testing.T) {
	r, w := io.Pipe()
	rt := middleware.Replay()(tripFunc(func(req *http.Request) (*http.Response, error) {
		go func() { _, _ = w.Write([]byte("one ")) }()
		if _, err := io.ReadFull(req.Body, make([]byte, 4)); err != nil {
			t.Error(err)
		}
		blocked := make(chan string)
		go func() { // as net/http does, until somebody closes the body
			data := make([]byte, 4)
			n, _ := req.Body.Read(data)
			blocked <- string(data[:n])
		}()
		second, err := req.GetBody()
		if err != nil {
			t.Fatal(err)
		}
		_ = req.Body.Close()
		go func() { _, _ = w.Write([]byte("two ")); _, _ = w.Write([]byte("three")); _ = w.Close() }()
		data, err := io.ReadAll(second)
		if string(data) != "one two three" || err != nil {
			t.Errorf("the second send has %q, %v", data, err)
		}
		<-blocked
		_ = second.Close()
		return answer(req, 200, ""), nil
	}))
	if _, err := rt.RoundTrip(streamed(t, io.NopCloser(r), -1)); err != nil {
		t.Fatal(err)
	}
}

func TestReplayCostsOneAllocationForARewindableBody(t *testing.T) {
	resp := answer(nil, 200, "")
	rt := middleware.Replay()(tripFunc(func(*http.Request) (*http.Response, error) { return resp, nil }))
	req := post(t, chat, "x")
	if n := testing.AllocsPerRun(100, func() { _, _ = rt.RoundTrip(req) }); n != 1 {
		t.Errorf("%v allocations, want 1: the record of the call", n)
	}
}

func TestReplayLosesNothingOfABodyThatGrowsTooLong(t *testing.T) {
	text := strings.Repeat("0123456789abcdef", middleware.MaxReplayBody/16+4000)
	for _, first := range []int{1, middleware.MaxReplayBody / 2, middleware.MaxReplayBody - 1, middleware.MaxReplayBody} {
		body := &closeCounter{Reader: strings.NewReader(text)}
		rt := middleware.Replay()(tripFunc(func(req *http.Request) (*http.Response, error) {
			if _, err := io.ReadFull(req.Body, make([]byte, first)); err != nil {
				t.Fatal(err)
			}
			second, err := req.GetBody()
			if err != nil {
				t.Fatalf("after %d bytes: %v", first, err)
			}
			_ = req.Body.Close()
			if data, err := io.ReadAll(second); string(data) != text || err != nil {
				t.Errorf("after %d bytes of the first send the second has %d, %v; want %d", first, len(data), err, len(text))
			}
			if _, err := req.GetBody(); err == nil {
				t.Error("a body that was too long can be had again")
			}
			_ = second.Close()
			return answer(req, 200, ""), nil
		}))
		if _, err := rt.RoundTrip(streamed(t, body, -1)); err != nil {
			t.Fatal(err)
		}
	}
}

// Two sends that go on side by side share what can be kept. What is more fails
// in both; it is never a body that looks whole.
func TestReplayNeverGivesHalfABodyForAWholeOne(t *testing.T) {
	text := strings.Repeat("x", middleware.MaxReplayBody+100)
	rt := middleware.Replay()(tripFunc(func(req *http.Request) (*http.Response, error) {
		second, err := req.GetBody()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range []io.Reader{req.Body, second} {
			if data, err := io.ReadAll(r); err == nil || len(data) > middleware.MaxReplayBody {
				t.Errorf("%d bytes of %d and no error", len(data), len(text))
			}
		}
		_ = req.Body.Close()
		if rest, err := io.ReadAll(second); err != nil || len(rest) != 100 {
			t.Errorf("the one that is left has %d more bytes, %v; want the rest", len(rest), err)
		}
		_ = second.Close()
		return answer(req, 200, ""), nil
	}))
	if _, err := rt.RoundTrip(streamed(t, strings.NewReader(text), -1)); err != nil {
		t.Fatal(err)
	}
}

func TestReplayGivesTwoReadersTheSameBody(t *testing.T) {
	for _, size := range []int{1, 4096, 300_000} {
		text := strings.Repeat("0123456789abcdef", size/16+1)
		r, w := io.Pipe()
		rt := middleware.Replay()(tripFunc(func(req *http.Request) (*http.Response, error) {
			second, err := req.GetBody()
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			wg.Go(func() {
				for rest := text; rest != ""; {
					n := min(len(rest), 1000)
					_, _ = io.WriteString(w, rest[:n])
					rest = rest[n:]
				}
				_ = w.Close()
			})
			for i, body := range []io.ReadCloser{req.Body, second} {
				wg.Go(func() {
					if data, err := io.ReadAll(body); string(data) != text || err != nil {
						t.Errorf("size %d: reader %d has %d bytes, %v", size, i, len(data), err)
					}
					_ = body.Close()
				})
			}
			wg.Wait()
			return answer(req, 200, ""), nil
		}))
		if _, err := rt.RoundTrip(streamed(t, r, -1)); err != nil {
			t.Fatal(err)
		}
	}
}

// A second reader that waits for the first one's read is not in its way: it
// gets what comes, and its Close ends its own wait alone.
func TestReplayLetsASecondReaderWaitForTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		rt := middleware.Replay()(tripFunc(func(req *http.Request) (*http.Response, error) {
			second, _ := req.GetBody()
			third, _ := req.GetBody()
			got := make(chan string, 3)
			read := func(name string, body io.Reader) {
				buf := make([]byte, 8)
				n, err := body.Read(buf)
				got <- name + string(buf[:n]) + map[bool]string{true: "!"}[errors.Is(err, http.ErrBodyReadAfterClose)]
			}
			go read("1", req.Body)
			synctest.Wait()
			go read("2", second)
			go read("3", third)
			synctest.Wait()
			_ = third.Close()
			if s := <-got; s != "3!" {
				t.Errorf("the reader that was closed has %q", s)
			}
			_, _ = w.Write([]byte("abc"))
			if a, b := <-got, <-got; a != "1abc" && b != "1abc" || a != "2abc" && b != "2abc" {
				t.Errorf("the readers have %q and %q", a, b)
			}
			_ = req.Body.Close()
			_ = second.Close()
			return answer(req, 200, ""), nil
		}))
		if _, err := rt.RoundTrip(streamed(t, r, -1)); err != nil {
			t.Fatal(err)
		}
		_ = w.Close()
	})
}

func TestReplayClosesTheBodyOnceAndAfterItsLastReader(t *testing.T) {
	body := &trackedBody{Reader: strings.NewReader("prompt")}
	var late io.Closer
	closes := func(when string, want int64) {
		t.Helper()
		if got := body.closed.Load(); got != want {
			t.Errorf("%s the source was closed %d times, want %d", when, got, want)
		}
	}
	rt := middleware.Replay()(tripFunc(func(req *http.Request) (*http.Response, error) {
		_ = req.Body.Close()
		_ = req.Body.Close()
		closes("while the call is under way", 0)
		second, err := req.GetBody()
		if err != nil {
			t.Fatal(err)
		}
		third, err := req.GetBody()
		if err != nil {
			t.Fatal(err)
		}
		_ = second.Close()
		_ = second.Close() // must not count for the third
		late = third
		return answer(req, 200, ""), nil
	}))
	req := streamed(t, nil, -1)
	req.Body = body
	if _, err := rt.RoundTrip(req); err != nil {
		t.Fatal(err)
	}
	closes("while a send goes on", 0)
	_ = late.Close()
	closes("after the last reader", 1)
	_ = late.Close()
	closes("at last", 1)
	if _, err := late.(io.Reader).Read(make([]byte, 1)); err == nil {
		t.Error("a closed reader reads")
	}
}

func TestReplayClosesTheBodyOfACallThatFails(t *testing.T) {
	body := &trackedBody{Reader: strings.NewReader("prompt")}
	rt := middleware.Replay()(tripFunc(func(req *http.Request) (*http.Response, error) {
		_ = req.Body.Close()
		return nil, io.EOF
	}))
	req := streamed(t, nil, -1)
	req.Body = body
	if _, err := rt.RoundTrip(req); err == nil || body.closed.Load() != 1 {
		t.Errorf("error %v, %d closes", err, body.closed.Load())
	}
}
