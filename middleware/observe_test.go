package middleware_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/middleware"
)

// observed returns Auth for the origin with Observe below it.
func observed(t testing.TB, origin string, r *recorder, base http.RoundTripper) http.RoundTripper {
	t.Helper()
	auth, err := middleware.Auth(newCache(t, &keys{key: goodKey}), origin, nil)
	if err != nil {
		t.Fatal(err)
	}
	return middleware.Wrap(base, auth, middleware.Observe(r.done))
}

func TestObserveOfNothingIsNoLayer(t *testing.T) {
	base := &script{}
	if got := middleware.Observe(nil)(base); got != http.RoundTripper(base) {
		t.Errorf("Observe(nil) put a %T around the transport", got)
	}
}

// A slowBody gives one byte after each pause, and then its end.
type slowBody struct {
	pauses []time.Duration
	err    error
}

func (b *slowBody) Read(p []byte) (int, error) {
	if len(b.pauses) == 0 {
		return 0, b.err
	}
	time.Sleep(b.pauses[0])
	b.pauses = b.pauses[1:]
	if len(b.pauses) == 0 {
		return 0, b.err
	}
	p[0] = 'x'
	return 1, nil
}

func (*slowBody) Close() error { return nil }

func TestTheTimesOfARecordAreInTheirOrder(t *testing.T) {
	for _, code := range []int{200, 400} {
		synctest.Test(t, func(t *testing.T) {
			r := &recorder{}
			rt := observed(t, api, r, tripFunc(func(req *http.Request) (*http.Response, error) {
				time.Sleep(time.Second)
				resp := answer(req, code, "")
				resp.Body, resp.ContentLength = &slowBody{[]time.Duration{time.Second / 4, time.Second / 4}, io.EOF}, -1
				return resp, nil
			}))
			begin := time.Now()
			resp, err := rt.RoundTrip(post(t, chat, "x"))
			if err != nil {
				t.Fatal(err)
			}
			if len(r.all()) != 0 {
				t.Error("the record came before the end of the body")
			}
			readBody(t, resp)
			s := r.one(t)
			if !s.Started.Equal(begin) || s.Header.Sub(begin) != time.Second || s.Ended.Sub(begin) != 1500*time.Millisecond || !s.Connected.IsZero() {
				t.Errorf("%d: from Started: header %v, end %v", code, s.Header.Sub(begin), s.Ended.Sub(begin))
			}
			if got := s.FirstChunk.Sub(begin); got < 1250*time.Millisecond || got > 1500*time.Millisecond || code == 200 && got != 1250*time.Millisecond {
				t.Errorf("%d: the first chunk was there after %v", code, got)
			}
		})
	}
}

func TestTheTimesOfWhatDidNotComeAreZero(t *testing.T) {
	r := &recorder{}
	rt := observed(t, api, r, tripFunc(func(req *http.Request) (*http.Response, error) {
		if req.Method == http.MethodDelete {
			return nil, errors.New("gone")
		}
		return answer(req, 200, ""), nil
	}))
	for _, method := range []string{http.MethodPost, http.MethodDelete} {
		req := post(t, chat, "")
		req.Method = method
		if resp, err := rt.RoundTrip(req); err == nil {
			readBody(t, resp)
		}
	}
	all := r.all()
	if s := all[0]; s.Header.IsZero() || !s.FirstChunk.IsZero() || s.Ended.IsZero() {
		t.Error("an empty body: there is a first chunk, or no header or end")
	}
	if s := all[1]; !s.Header.IsZero() || !s.FirstChunk.IsZero() || s.Ended.IsZero() || s.Started.IsZero() || s.Status != 0 || s.Err == nil {
		t.Error("an error: there is a header or a first chunk, or no start, end or error")
	}
}

func TestARecordTellsWhenTheConnectionWasThere(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	defer srv.Close()
	r := &recorder{}
	rt := observed(t, srv.URL, r, newTransport(t))
	for range 3 {
		resp, err := rt.RoundTrip(post(t, srv.URL+"/v1/x", "x"))
		if err != nil {
			t.Fatal(err)
		}
		readBody(t, resp)
	}
	for i, s := range r.all() {
		if s.Connected.IsZero() || s.Connected.Before(s.Started) || s.Header.Before(s.Connected) || s.FirstChunk.Before(s.Header) || s.Ended.Before(s.FirstChunk) {
			t.Errorf("send %d: connected %v, header %v after the start", i+1, s.Connected.Sub(s.Started), s.Header.Sub(s.Started))
		}
	}
	srv.Close()
	rt = observed(t, srv.URL, r, newTransport(t)) // without an open connection
	if _, err := rt.RoundTrip(post(t, srv.URL+"/v1/x", "x")); err == nil {
		t.Fatal("a closed server has answered")
	}
	if s := r.all()[3]; !s.Connected.IsZero() || !s.Header.IsZero() || s.Err == nil {
		t.Error("there was no connection, and the record has its time")
	}
}

func TestTheCallersOwnTraceStillFires(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	defer srv.Close()
	for _, below := range []bool{false, true} {
		var conns, bytes atomic.Int64
		trace := &httptrace.ClientTrace{
			GotConn:              func(httptrace.GotConnInfo) { conns.Add(1) },
			GotFirstResponseByte: func() { bytes.Add(1) },
		}
		r := &recorder{}
		base := http.RoundTripper(newTransport(t))
		if below { // in a layer below Observe
			inner := base
			base = tripFunc(func(req *http.Request) (*http.Response, error) {
				return inner.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
			})
		}
		rt := observed(t, srv.URL, r, base)
		req := post(t, srv.URL+"/v1/x", "x")
		if !below {
			req = req.WithContext(httptrace.WithClientTrace(req.Context(), trace))
		}
		resp, err := rt.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		readBody(t, resp)
		if conns.Load() != 1 || bytes.Load() != 1 {
			t.Errorf("below Observe: %t: the trace was told of %d connections and %d first bytes, want 1 each", below, conns.Load(), bytes.Load())
		}
		if s := r.one(t); below && s.Connected.IsZero() {
			t.Error("a trace that a layer below has added hides the connection from the record")
		}
	}
}

func TestARecordHasNoSecretThatTheServerEchoes(t *testing.T) {
	gateway := "CANARY-gateway-0003"
	for name, step := range map[string]func(*http.Request) (*http.Response, error){
		"error": failure(fmt.Errorf("malformed answer %q", goodKey+gateway)),
		"head":  status(400, "", "X-Request-Id", "a"+goodKey+gateway+url.QueryEscape(goodKey)),
		"200":   status(200, "", "Apim-Request-Id", goodKey+"/"+gateway),
		"body": func(req *http.Request) (*http.Response, error) {
			resp := answer(req, 200, "")
			resp.Body = io.NopCloser(errReader{errors.New("broken at " + goodKey + gateway)})
			return resp, nil
		},
	} {
		r := &recorder{}
		auth := mustAuth(t, newCache(t, &keys{key: goodKey}), &middleware.AuthOptions{KeyHeader: "api-key", SubscriptionKey: newCache(t, &keys{key: gateway})})
		resp, err := middleware.Wrap(tripFunc(step), auth, middleware.Observe(r.done)).RoundTrip(post(t, chat+"/"+goodKey, "x"))
		if err == nil {
			_, _ = io.ReadAll(resp.Body)
			_ = resp.Body.Close()
		}
		said := fmt.Sprintf("%+v", r.one(t))
		if s := r.one(t); s.Err != nil {
			said += fmt.Sprintf("%v %+v %#v", s.Err, s.Err, s.Err)
		}
		if strings.Contains(said, "CANARY") || !strings.Contains(said, "[redacted]") {
			t.Errorf("%s: the record shows a secret, or nothing in its place", name)
		}
	}
}

// ends are the ways in which a send can end.
func ends() map[string]struct {
	step func(*http.Request) (*http.Response, error)
	use  func(io.ReadCloser)
	err  bool
} {
	type end = struct {
		step func(*http.Request) (*http.Response, error)
		use  func(io.ReadCloser)
		err  bool
	}
	read := func(b io.ReadCloser) { _, _ = io.ReadAll(b) }
	none := func(io.ReadCloser) {}
	with := func(code int, b io.ReadCloser) func(*http.Request) (*http.Response, error) {
		return func(req *http.Request) (*http.Response, error) {
			resp := answer(req, code, "")
			resp.Body = b
			return resp, nil
		}
	}
	return map[string]end{
		"read":                {status(200, "hello"), read, false},
		"read, refused":       {status(404, "hello"), read, false},
		"closed":              {status(200, "hello"), func(b io.ReadCloser) { _ = b.Close() }, false},
		"closed, refused":     {status(404, "hello"), func(b io.ReadCloser) { _ = b.Close() }, false},
		"half read":           {status(200, "hello"), func(b io.ReadCloser) { _, _ = b.Read(make([]byte, 1)); _ = b.Close() }, false},
		"no answer":           {failure(errors.New("gone")), none, true},
		"broken body":         {with(200, io.NopCloser(errReader{errors.New("broken")})), read, true},
		"broken body of 404":  {with(404, io.NopCloser(errReader{errors.New("broken")})), read, true},
		"no body":             {with(200, http.NoBody), none, false},
		"no body of 404":      {with(404, http.NoBody), none, false},
		"nil body":            {with(204, nil), none, false},
		"switching protocols": {with(101, &duplex{}), none, false},
	}
}

func TestASendEndsOnceHoweverItEnds(t *testing.T) {
	for name, tc := range ends() {
		for _, alone := range []bool{false, true} {
			r := &recorder{}
			var rt http.RoundTripper
			if rt = middleware.Observe(r.done)(tripFunc(tc.step)); !alone {
				rt = observed(t, api, r, tripFunc(tc.step))
			}
			resp, err := rt.RoundTrip(post(t, chat, "x"))
			if err == nil {
				tc.use(resp.Body)
			}
			if s := r.one(t); (s.Err != nil) != tc.err || s.Ended.IsZero() || s.Number != 1 {
				t.Errorf("%s, alone %t: error %v, number %d", name, alone, s.Err, s.Number)
			}
			if err == nil && resp.Body != nil && resp.StatusCode != 101 {
				_, _ = io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				_ = resp.Body.Close()
			}
			r.one(t)
		}
	}
}

func TestAnAnswerToHEADEndsAtItsHeader(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "99") }))
	defer srv.Close()
	r := &recorder{}
	req := post(t, srv.URL+"/v1/models", "")
	req.Method, req.Body, req.GetBody = http.MethodHead, nil, nil
	resp, err := observed(t, srv.URL, r, newTransport(t)).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	r.one(t)
	readBody(t, resp)
	r.one(t)
}

func TestABodyThatIsReadAndClosedAtOnceEndsOnce(t *testing.T) {
	for _, code := range []int{200, 503} {
		for range 20 {
			r := &recorder{}
			in, out := io.Pipe()
			rt := observed(t, api, r, tripFunc(func(req *http.Request) (*http.Response, error) {
				resp := answer(req, code, "")
				resp.Body, resp.ContentLength = in, -1
				return resp, nil
			}))
			resp, err := rt.RoundTrip(post(t, chat, "x"))
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			wg.Go(func() { _, _ = io.ReadAll(resp.Body) })
			wg.Go(func() { _, _ = out.Write([]byte("x")); _ = out.Close() })
			wg.Go(func() { _ = resp.Body.Close() })
			wg.Go(func() { _ = resp.Body.Close() })
			wg.Wait()
			r.one(t)
		}
	}
}

func TestObserveGetsTheContextOfTheCallAndKeepsItsRecord(t *testing.T) {
	r := &recorder{}
	rt := observed(t, api, r, &script{steps: []func(*http.Request) (*http.Response, error){status(200, "a"), status(404, "b")}})
	req := post(t, chat, "x")
	for range 2 {
		resp, err := rt.RoundTrip(req.WithContext(context.WithValue(req.Context(), userKey{}, "mine")))
		if err != nil {
			t.Fatal(err)
		}
		readBody(t, resp)
	}
	if r.ctxs[0].Value(userKey{}) != "mine" {
		t.Error("Observe does not get the values of the caller's context")
	}
	for i, s := range r.kept {
		if s.Status != r.sends[i].Status || s.Ended != r.sends[i].Ended || s == r.kept[1-i] {
			t.Error("a record that was kept has changed")
		}
	}
}

func TestLogAndObserveSeeTheSameSend(t *testing.T) {
	for name, tc := range ends() {
		var out bytes.Buffer
		first, second := &recorder{}, &recorder{}
		rt := middleware.Wrap(tripFunc(tc.step), mustAuth(t, newCache(t, &keys{key: goodKey}), nil),
			middleware.Observe(first.done), middleware.Log(jsonLogger(&out), nil), middleware.Observe(second.done))
		resp, err := rt.RoundTrip(jsonPost(t, `{"model":"m1"}`))
		if err == nil {
			tc.use(resp.Body)
		}
		a, b, lines := first.one(t), second.one(t), logLines(t, &out)
		if len(lines) != 1 || lines[0]["attempt"] != float64(a.Number) || a.Status != b.Status || a.Ended != b.Ended || first.kept[0] != second.kept[0] {
			t.Errorf("%s: the observers and the log do not see one send", name)
		}
	}
}
