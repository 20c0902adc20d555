package middleware_test

//lint:file-ignore SA1019 Request.Cancel is deprecated for callers, and honored

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

// An oldTransport has the deprecated CancelRequest, as http.Transport has.
type oldTransport struct {
	step func(o *oldTransport, req *http.Request) (*http.Response, error)

	mu       sync.Mutex
	sends    map[string]int // of the calls by their X-Call
	on       map[*http.Request]chan struct{}
	canceled int
}

func (o *oldTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	o.mu.Lock()
	if o.sends == nil {
		o.sends, o.on = map[string]int{}, map[*http.Request]chan struct{}{}
	}
	o.sends[req.Header.Get("X-Call")]++
	o.on[req] = make(chan struct{})
	o.mu.Unlock()
	if req.Body != nil {
		_, _ = io.Copy(io.Discard, req.Body)
		_ = req.Body.Close()
	}
	return o.step(o, req)
}

func (o *oldTransport) CancelRequest(req *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if ch := o.on[req]; ch != nil {
		o.canceled++
		close(ch)
		delete(o.on, req)
	}
}

func (o *oldTransport) sendsOf(call string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sends[call]
}

// wait returns when the request is canceled, with the error of http.Transport.
func (o *oldTransport) wait(req *http.Request) error {
	o.mu.Lock()
	ch := o.on[req]
	o.mu.Unlock()
	select {
	case <-ch:
	case <-req.Cancel: //nolint:staticcheck // deprecated, and honored
	case <-req.Context().Done():
		return context.Cause(req.Context())
	}
	return errors.New("net/http: request canceled")
}

// A waitingBody never ends by itself.
type waitingBody struct{ wait func() error }

func (b *waitingBody) Read([]byte) (int, error) { return 0, b.wait() }
func (*waitingBody) Close() error               { return nil }

// A slowStore gives a key after five seconds.
type slowStore struct{}

const storeTakes = 5 * time.Second

func (slowStore) Retrieve(ctx context.Context) (credential.Value, error) {
	select {
	case <-time.After(storeTakes):
		return credential.Value{Secret: credential.NewSecret(goodKey), Source: "slow"}, nil
	case <-ctx.Done():
		return credential.Value{}, ctx.Err()
	}
}

// places are where a call can be when it ends. Each brings it there: the
// calls "first" come before it.
func places() map[string]struct {
	src   credential.Source
	first int
	step  func(o *oldTransport, req *http.Request) (*http.Response, error)
} {
	type place = struct {
		src   credential.Source
		first int
		step  func(o *oldTransport, req *http.Request) (*http.Response, error)
	}
	always := func(code int, header ...string) func(*oldTransport, *http.Request) (*http.Response, error) {
		return func(_ *oldTransport, req *http.Request) (*http.Response, error) {
			return answer(req, code, "busy", header...), nil
		}
	}
	return map[string]place{
		"store":  {slowStore{}, 0, always(200)},
		"header": {&keys{key: goodKey}, 0, func(o *oldTransport, req *http.Request) (*http.Response, error) { return nil, o.wait(req) }},
		"body": {&keys{key: goodKey}, 0, func(o *oldTransport, req *http.Request) (*http.Response, error) {
			resp := answer(req, 200, "")
			resp.Body, resp.ContentLength = &waitingBody{func() error { return o.wait(req) }}, -1
			return resp, nil
		}},
		"retry":  {&keys{key: goodKey}, 0, always(503, "Retry-After", "10")},
		"budget": {&keys{key: goodKey}, 1, always(503)},
		"pace":   {&keys{key: goodKey}, 1, always(429, "Retry-After", "10")},
	}
}

// ended brings a call to a place, ends it there, and returns what came of it.
func ended(t *testing.T, place string, end func(*http.Request, http.RoundTripper) *http.Request) (after time.Duration, o *oldTransport, err error) {
	p := places()[place]
	o = &oldTransport{step: p.step}
	synctest.Test(t, func(t *testing.T) {
		rt := middleware.Wrap(o, middleware.Replay(), mustRetry(t, &middleware.RetryOptions{Budget: 1}), mustAuth(t, newCache(t, p.src), nil),
			middleware.Observe((&recorder{}).done), middleware.Log(jsonLogger(io.Discard), nil), middleware.StreamGuard())
		send := func(req *http.Request) error {
			resp, err := (&http.Client{Transport: rt}).Do(req)
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				_ = resp.Body.Close()
			}
			return err
		}
		var wg sync.WaitGroup
		for range p.first {
			req := named(t, "first", "m")
			if wg.Go(func() { _ = send(req) }); place == "budget" {
				wg.Wait()
			}
			synctest.Wait()
		}
		begin := time.Now()
		err = send(end(named(t, "victim", "m"), rt))
		after = time.Since(begin)
		wg.Wait()
		time.Sleep(storeTakes) // the store's read is not the call's
	})
	return after, o, err
}

const endsAfter = 700 * time.Millisecond

func TestCancelRequestEndsACallWhereverItIs(t *testing.T) {
	for _, place := range []string{"store", "header", "body", "budget", "pace"} {
		after, o, err := ended(t, place, func(req *http.Request, rt http.RoundTripper) *http.Request {
			time.AfterFunc(endsAfter, func() { rt.(interface{ CancelRequest(*http.Request) }).CancelRequest(req) })
			return req
		})
		want, sends := endsAfter, 1
		switch place {
		case "store": // the read is not the call's own, but what follows it is
			want, sends = storeTakes, 0
		case "pace":
			sends = 0
		}
		if err == nil || !strings.Contains(err.Error(), "request canceled") || after != want || o.sendsOf("victim") != sends {
			t.Errorf("%s: %v after %v and %d sends; want the cancellation after %v and %d", place, err, after, o.sendsOf("victim"), want, sends)
		}
		if os.IsTimeout(err) {
			t.Errorf("%s: a cancellation looks like a timeout", place)
		}
	}
}

func TestTheCancelChannelOfARequestEndsACallWhereverItIs(t *testing.T) {
	for place := range places() {
		after, o, err := ended(t, place, func(req *http.Request, _ http.RoundTripper) *http.Request {
			cancel := make(chan struct{})
			req.Cancel = cancel //nolint:staticcheck // deprecated, and honored
			time.AfterFunc(endsAfter, func() { close(cancel) })
			return req
		})
		sends := map[string]int{"store": 0, "pace": 0, "header": 1, "body": 1, "retry": 1, "budget": 1}[place]
		if err == nil || !strings.Contains(err.Error(), "cancel") || after != endsAfter || o.sendsOf("victim") != sends || os.IsTimeout(err) {
			t.Errorf("%s: %v after %v and %d sends; want the cancellation after %v and %d", place, err, after, o.sendsOf("victim"), endsAfter, sends)
		}
	}
}

func TestTheCauseOfACancellationIsFoundWhereverTheCallIs(t *testing.T) {
	why := errors.New("the user left")
	for place := range places() {
		after, o, err := ended(t, place, func(req *http.Request, _ http.RoundTripper) *http.Request {
			ctx, cancel := context.WithCancelCause(req.Context())
			time.AfterFunc(endsAfter, func() { cancel(why) })
			return req.WithContext(ctx)
		})
		if !errors.Is(err, context.Canceled) || !errors.Is(err, why) || after != endsAfter || o.sendsOf("victim") > 1 {
			t.Errorf("%s: %v after %v and %d sends; want context.Canceled and its cause after %v", place, err, after, o.sendsOf("victim"), endsAfter)
		}
		if os.IsTimeout(err) {
			t.Errorf("%s: a cancellation looks like a timeout", place)
		}
	}
}

// An undated context does not tell ahead when it will end. One that does makes
// the layers return before it does.
type undated struct{ context.Context }

func (undated) Deadline() (time.Time, bool) { return time.Time{}, false }

func TestATimeoutLooksLikeOneWhereverTheCallIs(t *testing.T) {
	why := errors.New("too slow for the page")
	for place := range places() {
		after, o, err := ended(t, place, func(req *http.Request, _ http.RoundTripper) *http.Request {
			ctx, cancel := context.WithTimeoutCause(req.Context(), endsAfter, why)
			context.AfterFunc(ctx, cancel)
			return req.WithContext(undated{ctx})
		})
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, why) || after != endsAfter || o.sendsOf("victim") > 1 {
			t.Errorf("%s: %v after %v and %d sends; want DeadlineExceeded and its cause after %v", place, err, after, o.sendsOf("victim"), endsAfter)
		}
		timeout := net.Error(nil)
		if !os.IsTimeout(err) || !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("%s: %v does not look like a timeout", place, err)
		}
	}
}

// A deadline that is known leaves the time for an answer: there is an error
// only where there is nothing to return.
func TestADeadlineThatIsKnownEndsNoWaitForARetry(t *testing.T) {
	for place, want := range map[string]time.Duration{"store": endsAfter, "header": endsAfter, "body": endsAfter, "retry": 0, "pace": 0} {
		after, _, err := ended(t, place, func(req *http.Request, _ http.RoundTripper) *http.Request {
			ctx, cancel := context.WithTimeout(req.Context(), endsAfter)
			context.AfterFunc(ctx, cancel)
			return req.WithContext(ctx)
		})
		if after != want || (err == nil) != (want == 0) || err != nil && (!errors.Is(err, context.DeadlineExceeded) || !os.IsTimeout(err)) {
			t.Errorf("%s: %v after %v, want %v", place, err, after, want)
		}
	}
}

func TestADeadlineBeforeTheCallIsATimeoutAndNothingIsSent(t *testing.T) {
	for name, src := range map[string]credential.Source{"a store that answers": &keys{key: goodKey}, "one that hangs": slowStore{}} {
		synctest.Test(t, func(t *testing.T) {
			cache := newCache(t, src)
			rt := middleware.Wrap(newTransport(t), middleware.Replay(), mustRetry(t, nil), mustAuth(t, cache, nil))
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			time.Sleep(2 * time.Second)
			defer time.Sleep(storeTakes)
			begin := time.Now()
			body := &trackedBody{Reader: strings.NewReader("x")}
			req := post(t, chat, "x").WithContext(ctx)
			req.Body, req.GetBody = body, nil
			_, err := (&http.Client{Transport: rt}).Do(req)
			if !errors.Is(err, context.DeadlineExceeded) || !os.IsTimeout(err) || time.Since(begin) != 0 || body.closed.Load() != 1 {
				t.Errorf("%s: %v after %v, %d closes of the body; want a timeout at once and one", name, err, time.Since(begin), body.closed.Load())
			}
		})
	}
}

func TestCancelRequestReachesNoOtherCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &oldTransport{step: func(o *oldTransport, req *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			resp := answer(req, 200, "ok")
			return resp, nil
		}}
		rt := middleware.Wrap(o, middleware.Replay(), mustRetry(t, nil), mustAuth(t, newCache(t, &keys{key: goodKey}), nil))
		canceler := rt.(interface{ CancelRequest(*http.Request) })
		a, b := named(t, "a", "m"), named(t, "b", "m")
		go func() { time.Sleep(time.Second / 2); canceler.CancelRequest(a.Clone(a.Context())) }()
		all := crowd(rt, 2, func(i int) *http.Request { return []*http.Request{a, b}[i] })
		if all[0].status() != 200 || all[1].status() != 200 || o.canceled != 0 {
			t.Errorf("a copy of the request canceled it: %v, %v", all[0].err, all[1].err)
		}
		// What is over is not canceled: its connection may serve another call.
		canceler.CancelRequest(a)
		resp, err := rt.RoundTrip(b)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		canceler.CancelRequest(b)
		if o.canceled != 0 {
			t.Errorf("%d requests were canceled that were over", o.canceled)
		}
	})
}

func TestCancelRequestEndsEachCallOfARequestThatIsSentTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &oldTransport{step: func(o *oldTransport, req *http.Request) (*http.Response, error) { return nil, o.wait(req) }}
		rt := middleware.Wrap(o, middleware.Replay(), mustAuth(t, newCache(t, &keys{key: goodKey}), nil))
		req := named(t, "a", "m")
		req.Body, req.GetBody = nil, nil // net/http allows it then
		time.AfterFunc(time.Second, func() { rt.(interface{ CancelRequest(*http.Request) }).CancelRequest(req) })
		for i, o := range crowd(rt, 3, func(int) *http.Request { return req }) {
			if o.err == nil || o.waited != time.Second {
				t.Errorf("call %d: %v after %v", i, o.err, o.waited)
			}
		}
	})
}

func TestCancelRequestEndsARealCall(t *testing.T) {
	reached := make(chan struct{}, 2)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Call") == "body" {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
		}
		_, _ = io.Copy(io.Discard, r.Body)
		reached <- struct{}{}
		<-r.Context().Done()
	}))
	defer srv.Close()
	auth, err := middleware.Auth(newCache(t, &keys{key: goodKey}), srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	rt := middleware.Wrap(newTransport(t), middleware.Replay(), mustRetry(t, nil), auth, middleware.Observe((&recorder{}).done), middleware.StreamGuard())
	canceler := rt.(interface{ CancelRequest(*http.Request) })
	req := post(t, srv.URL+"/v1/chat/completions", "x")
	go func() { <-reached; canceler.CancelRequest(req) }()
	if o := do(rt, req); o.err == nil {
		t.Error("a call that waits for its header was not canceled")
	}
	req = post(t, srv.URL+"/v1/chat/completions", "x")
	req.Header.Set("X-Call", "body")
	resp, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	canceler.CancelRequest(req)
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("a body that was canceled ended in good order")
	}
	_ = resp.Body.Close()
}

func TestARedactedTimeoutIsStillATimeout(t *testing.T) {
	rt := newAuth(t, &keys{key: goodKey}, nil, func(*http.Request) (*http.Response, error) {
		return nil, fmt.Errorf("%s: %w", goodKey, os.ErrDeadlineExceeded)
	})
	_, err := (&http.Client{Transport: rt}).Do(post(t, chat, "x"))
	if !os.IsTimeout(err) || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("it is no timeout any more")
	}
	if err == nil || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), goodKey) {
		t.Error("the error is nil or shows the key")
	}
}

// The call returns while the Cache still waits for another key.
func TestACallThatEndsWhileItsCredentialIsReplacedReturnsAtOnce(t *testing.T) {
	for name, end := range map[string]func(*http.Request) *http.Request{
		"context": func(req *http.Request) *http.Request {
			ctx, cancel := context.WithCancel(req.Context())
			time.AfterFunc(100*time.Millisecond, cancel)
			return req.WithContext(ctx)
		},
		"channel": func(req *http.Request) *http.Request {
			cancel := make(chan struct{})
			req.Cancel = cancel //nolint:staticcheck // deprecated, and honored
			time.AfterFunc(100*time.Millisecond, func() { close(cancel) })
			return req
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			sends := 0
			rt := newAuth(t, &keys{key: deadKey}, nil, func(req *http.Request) (*http.Response, error) {
				sends++
				return answer(req, 401, invalidKey), nil
			})
			o := do(rt, end(post(t, chat, "x")))
			if o.waited != 100*time.Millisecond || sends != 1 || o.err == nil && (o.status() != 401 || o.body != invalidKey) {
				t.Errorf("%s: status %d, %v after %v and %d sends; want the refusal after 100ms and one", name, o.status(), o.err, o.waited, sends)
			}
			time.Sleep(time.Minute) // the Cache's own reader
		})
	}
}
