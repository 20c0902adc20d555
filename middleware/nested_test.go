package middleware_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/middleware"
)

func TestARefusalWithoutABodyNamesTheCredential(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, r := &keys{key: deadKey}, &recorder{}
		s := &script{steps: []func(*http.Request) (*http.Response, error){
			func(req *http.Request) (*http.Response, error) {
				src.set(goodKey)
				resp := answer(req, 401, "")
				resp.Body = http.NoBody // as net/http has it with Content-Length: 0
				return resp, nil
			}, status(200, "ok"),
		}}
		resp, err := middleware.Wrap(&noBodies{s}, mustAuth(t, newCache(t, src), nil), middleware.Observe(r.done)).RoundTrip(post(t, chat, "x"))
		if err != nil {
			t.Fatal(err)
		}
		readBody(t, resp)
		if all := r.all(); len(all) != 2 || !all[0].Credential.Refused || all[1].Credential.Refused {
			t.Errorf("the records do not say that the first credential was refused")
		}
		if r.kept[0].Credential != r.sends[0].Credential {
			t.Error("the record was changed after it had been given away")
		}
	})
}

type noBodies struct{ next *script }

func (n *noBodies) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := n.next.RoundTrip(req)
	if err == nil && resp.StatusCode == 401 {
		resp.Body = http.NoBody
	}
	return resp, err
}

func TestACallInsideOfARetryHasNoReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, outer := &recorder{}, &recorder{}
		other := middleware.Wrap(&script{steps: []func(*http.Request) (*http.Response, error){status(200, "{}")}},
			stack(t, &keys{key: goodKey}, inner, io.Discard)...)
		rt := middleware.Wrap(&script{steps: []func(*http.Request) (*http.Response, error){status(503, ""), status(200, "ok")}},
			middleware.Replay(), mustRetry(t, nil), nested(t, other), mustAuth(t, newCache(t, &keys{key: goodKey}), nil), middleware.Observe(outer.done))
		resp, err := rt.RoundTrip(post(t, chat, "x"))
		if err != nil {
			t.Fatal(err)
		}
		readBody(t, resp)
		for _, s := range inner.all() {
			if s.Number != 1 || s.Reason != "" {
				t.Errorf("the first send of the inner call is %d, %q", s.Number, s.Reason)
			}
		}
		if all := outer.all(); len(all) != 2 || all[1].Reason != "retry 503" {
			t.Error("the outer call lost its reason")
		}
	})
}

func TestTheCallersOwnTraceDoesNotHideTheConnection(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	defer srv.Close()
	var conns atomic.Int64
	r := &recorder{}
	req := post(t, srv.URL+"/v1/x", "x")
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { conns.Add(1) }}))
	resp, err := observed(t, srv.URL, r, newTransport(t)).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	readBody(t, resp)
	if s := r.one(t); s.Connected.IsZero() || conns.Load() != 1 {
		t.Errorf("connected %v, and the trace was told of %d connections", !s.Connected.IsZero(), conns.Load())
	}
}

func TestACallInsideOfASendHasItsOwnConnection(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	defer srv.Close()
	inner, outer := &recorder{}, &recorder{}
	other := observed(t, srv.URL, inner, newTransport(t))
	rt := observed(t, api, outer, tripFunc(func(req *http.Request) (*http.Response, error) {
		own, err := http.NewRequestWithContext(req.Context(), http.MethodGet, srv.URL+"/v1/models", nil)
		if err != nil {
			return nil, err
		}
		resp, err := other.RoundTrip(own)
		if err != nil {
			return nil, err
		}
		readBody(t, resp)
		return answer(req, 200, "ok"), nil
	}))
	resp, err := rt.RoundTrip(post(t, chat, "x"))
	if err != nil {
		t.Fatal(err)
	}
	readBody(t, resp)
	if inner.one(t).Connected.IsZero() || !outer.one(t).Connected.IsZero() {
		t.Errorf("connected: the inner send %t, the outer %t, which had no connection", !inner.one(t).Connected.IsZero(), !outer.one(t).Connected.IsZero())
	}
}

func TestCancelRequestEndsAWaitForARetry(t *testing.T) {
	after, o, err := ended(t, "retry", func(req *http.Request, rt http.RoundTripper) *http.Request {
		time.AfterFunc(endsAfter, func() { rt.(interface{ CancelRequest(*http.Request) }).CancelRequest(req) })
		return req
	})
	if err == nil || after != endsAfter || o.sendsOf("victim") != 1 {
		t.Errorf("%v after %v and %d sends; want the cancellation after %v and 1", err, after, o.sendsOf("victim"), endsAfter)
	}
}

// The answer of an earlier send has ended; the call has not.
func TestCancelRequestEndsACallThatWasSentAgain(t *testing.T) {
	for _, code := range []int{401, 429, 503} {
		synctest.Test(t, func(t *testing.T) {
			src := &keys{key: deadKey}
			o := &oldTransport{step: func(o *oldTransport, req *http.Request) (*http.Response, error) {
				if o.sendsOf("a") == 1 {
					src.set(goodKey)
					return answer(req, code, "again", "Retry-After", "1"), nil
				}
				return nil, o.wait(req)
			}}
			rt := middleware.Wrap(o, middleware.Replay(), mustRetry(t, nil), mustAuth(t, newCache(t, src), nil))
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(10*time.Second, func() { cancel(errors.New("nobody canceled it")) })
			req := named(t, "a", "m").WithContext(ctx)
			time.AfterFunc(5*time.Second, func() { rt.(interface{ CancelRequest(*http.Request) }).CancelRequest(req) })
			if got := do(rt, req); got.err == nil || got.waited != 5*time.Second || o.sendsOf("a") != 2 {
				t.Errorf("%d: %v after %v and %d sends, want the cancellation after 5 s and 2", code, got.err, got.waited, o.sendsOf("a"))
			}
		})
	}
}

func TestACallThatIsCanceledBeforeItsSendClosesItsBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &oldTransport{step: func(_ *oldTransport, req *http.Request) (*http.Response, error) { return answer(req, 200, ""), nil }}
		rt := middleware.Wrap(o, middleware.Replay(), mustAuth(t, newCache(t, slowStore{}), nil))
		req := named(t, "a", "m")
		body := &trackedBody{Reader: req.Body}
		req.Body, req.GetBody = body, nil
		time.AfterFunc(time.Second, func() { rt.(interface{ CancelRequest(*http.Request) }).CancelRequest(req) })
		if got := do(rt, req); got.err == nil || o.sendsOf("a") != 0 || body.closed.Load() != 1 {
			t.Errorf("%v after %d sends, %d closes of the body; want the cancellation, none and one", got.err, o.sendsOf("a"), body.closed.Load())
		}
	})
}
