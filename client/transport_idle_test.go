package client_test

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
)

// A pool is a transport that counts how often its idle connections are closed.
type pool struct {
	trip   func(*http.Request) (*http.Response, error)
	closes atomic.Int64
	sends  atomic.Int64
}

func (p *pool) RoundTrip(req *http.Request) (*http.Response, error) {
	p.sends.Add(1)
	return p.trip(req)
}

func (p *pool) CloseIdleConnections() { p.closes.Add(1) }

// pooled returns a client over p. now is its clock; nil is that of the bubble.
func pooled(t *testing.T, p *pool, now func() time.Time) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{Source: static(), BaseURL: "https://api.example.com/v1/", Transport: p,
		Cache: &credential.CacheOptions{TTL: -1, Now: now}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// slowAnswers are answers that take a minute, in one way or another.
func slowAnswers() map[string]func(*http.Request) (*http.Response, error) {
	in := func(req *http.Request, body io.Reader, length int64) *http.Response {
		resp := answer(req, 200, "")
		resp.Body, resp.ContentLength = io.NopCloser(body), length
		return resp
	}
	return map[string]func(*http.Request) (*http.Response, error){
		"that think": func(req *http.Request) (*http.Response, error) {
			time.Sleep(time.Minute)
			return answer(req, 200, "{}"), nil
		},
		"that stream": func(req *http.Request) (*http.Response, error) {
			return in(req, &dripping{text: "{      }", pause: time.Minute / 8}, -1), nil
		},
		"that are long": func(req *http.Request) (*http.Response, error) {
			return in(req, io.MultiReader(&dripping{text: "{      ", pause: 9 * time.Second}, strings.NewReader(strings.Repeat(" ", 100<<10)+"}")), 100<<10+8), nil
		},
		"that think and stream": func(req *http.Request) (*http.Response, error) {
			time.Sleep(time.Minute / 2)
			return in(req, &dripping{text: "{}", pause: 20 * time.Second}, -1), nil
		},
	}
}

// A dripping reader gives a byte after each pause.
type dripping struct {
	text  string
	pause time.Duration
}

func (d *dripping) Read(p []byte) (int, error) {
	if d.text == "" {
		return 0, io.EOF
	}
	time.Sleep(d.pause)
	p[0], d.text = d.text[0], d.text[1:]
	return 1, nil
}

func TestLongCallsInARowKeepTheirConnection(t *testing.T) {
	for name, trip := range slowAnswers() {
		synctest.Test(t, func(t *testing.T) {
			p := &pool{trip: trip}
			c := pooled(t, p, nil)
			for range 10 {
				begin := time.Now()
				if _, err := c.Post(t.Context(), "x", nil, nil); err != nil {
					t.Fatal(err)
				}
				if time.Since(begin) < time.Minute {
					t.Fatalf("%s: the call took %v", name, time.Since(begin))
				}
				time.Sleep(time.Second)
			}
			if p.closes.Load() != 0 || p.sends.Load() != 10 {
				t.Errorf("ten answers %s: idle connections were closed %d times in %d sends", name, p.closes.Load(), p.sends.Load())
			}
			time.Sleep(time.Minute)
			if _, err := c.Post(t.Context(), "x", nil, nil); err != nil || p.closes.Load() != 1 {
				t.Errorf("%s: %v, %d closes after a pause of a minute, want 1", name, err, p.closes.Load())
			}
		})
	}
}

// An answer that is not read to its end was a sign of life when it was closed.
func TestAStreamThatIsLeftKeepsTheConnectionsOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pool{trip: func(req *http.Request) (*http.Response, error) {
			resp := answer(req, 200, "")
			resp.Body, resp.ContentLength = io.NopCloser(&dripping{text: strings.Repeat("x", 1000), pause: time.Second}), -1
			return resp, nil
		}}
		c := pooled(t, p, nil).HTTPClient()
		for range 3 {
			resp, err := c.Do(must2(http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.example.com/v1/x", nil)))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.CopyN(io.Discard, resp.Body, 60); err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			time.Sleep(40 * time.Second)
		}
		if p.closes.Load() != 0 {
			t.Errorf("idle connections were closed %d times", p.closes.Load())
		}
	})
}

// The end of an answer is a sign of life, even before its Close.
func TestAnAnswerThatWasReadAndNotClosedKeepsTheConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pool{trip: slowAnswers()["that stream"]}
		c := pooled(t, p, nil).HTTPClient()
		for range 3 {
			resp, err := c.Do(must2(http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.example.com/v1/x", nil)))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			time.Sleep(time.Second)
		}
		if p.closes.Load() != 0 {
			t.Errorf("idle connections were closed %d times", p.closes.Load())
		}
	})
}

// A process that was frozen sees a jump of the wall clock, and nothing else.
func TestAFrozenProcessNotices(t *testing.T) {
	for name, tc := range map[string]struct {
		jump  time.Duration
		wants int64
	}{"a minute": {time.Minute, 1}, "a day": {24 * time.Hour, 1}, "a minute back": {-time.Minute, 1}, "a second": {time.Second, 0}, "40 s": {40 * time.Second, 0}} {
		var wall atomic.Int64
		wall.Store(time.Now().UnixNano())
		p := &pool{trip: func(req *http.Request) (*http.Response, error) { return answer(req, 200, "{}"), nil }}
		c := pooled(t, p, func() time.Time { return time.Unix(0, wall.Load()) })
		for range 3 {
			if _, err := c.Post(t.Context(), "x", nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		if p.closes.Load() != 0 {
			t.Fatalf("%s: closed before the freeze", name)
		}
		wall.Add(int64(tc.jump))
		for range 3 {
			if _, err := c.Post(t.Context(), "x", nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		if p.closes.Load() != tc.wants {
			t.Errorf("after a freeze of %s idle connections were closed %d times, want %d", name, p.closes.Load(), tc.wants)
		}
	}
}

// An answer that is still open when the process is frozen has died with its
// connection, as the idle ones have.
func TestAFreezeAfterAnAnswerThatWasNotReadIsNoticed(t *testing.T) {
	var wall atomic.Int64
	wall.Store(time.Now().UnixNano())
	p := &pool{trip: func(req *http.Request) (*http.Response, error) {
		resp := answer(req, 200, "{}")
		resp.ContentLength = -1
		return resp, nil
	}}
	c := pooled(t, p, func() time.Time { return time.Unix(0, wall.Load()) }).HTTPClient()
	get := func() *http.Response {
		resp, err := c.Do(must2(http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.example.com/v1/x", nil)))
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	open := get()
	wall.Add(int64(time.Hour))
	second := get()
	if p.closes.Load() != 1 {
		t.Errorf("idle connections were closed %d times, want once: an open answer is no sign of life", p.closes.Load())
	}
	_ = open.Body.Close()
	_ = second.Body.Close()
}

func TestAConnectionThatWasSwitchedIsNotWrapped(t *testing.T) {
	p := &pool{trip: func(req *http.Request) (*http.Response, error) {
		resp := answer(req, http.StatusSwitchingProtocols, "")
		resp.Body, resp.ContentLength = &conversation{}, -1
		return resp, nil
	}}
	resp, err := pooled(t, p, nil).HTTPClient().Transport.RoundTrip(must2(http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.example.com/v1/realtime", nil)))
	if err != nil {
		t.Fatal(err)
	}
	conn, ok := resp.Body.(io.ReadWriteCloser)
	if !ok {
		t.Fatal("the body of a 101 cannot be written to")
	}
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Error(err)
	}
	_ = conn.Close()
}

type conversation struct{ strings.Builder }

func (*conversation) Read([]byte) (int, error) { return 0, io.EOF }
func (*conversation) Close() error             { return nil }
