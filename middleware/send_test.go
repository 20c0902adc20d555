package middleware_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

// A recorder keeps the records that Observe gives.
type recorder struct {
	mu    sync.Mutex
	sends []middleware.Send
	kept  []*middleware.Send
	ctxs  []context.Context
}

func (r *recorder) done(ctx context.Context, s *middleware.Send) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sends, r.kept, r.ctxs = append(r.sends, *s), append(r.kept, s), append(r.ctxs, ctx)
}

func (r *recorder) all() []middleware.Send {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]middleware.Send(nil), r.sends...)
}

// one returns the only record.
func (r *recorder) one(t testing.TB) middleware.Send {
	t.Helper()
	all := r.all()
	if len(all) != 1 {
		t.Fatalf("%d records, want 1", len(all))
	}
	return all[0]
}

func mustAuth(t testing.TB, p credential.Provider, opts *middleware.AuthOptions) middleware.Middleware {
	t.Helper()
	mw, err := middleware.Auth(p, api, opts)
	if err != nil {
		t.Fatal(err)
	}
	return mw
}

func mustRetry(t testing.TB, opts *middleware.RetryOptions) middleware.Middleware {
	t.Helper()
	mw, err := middleware.Retry(opts)
	if err != nil {
		t.Fatal(err)
	}
	return mw
}

// stack returns the layers of a client in their order.
func stack(t testing.TB, src credential.Source, r *recorder, log io.Writer) []middleware.Middleware {
	return []middleware.Middleware{
		middleware.Replay(), mustRetry(t, nil), mustAuth(t, newCache(t, src), nil),
		middleware.Observe(r.done), middleware.Log(jsonLogger(log), nil), middleware.StreamGuard(),
	}
}

// stormy is a service that throttles, refuses the credential, is busy and then
// answers.
func stormy(src *keys) *script {
	return &script{steps: []func(*http.Request) (*http.Response, error){
		status(429, "slow down", "Retry-After", "1", "X-Request-Id", "req_1"),
		func(req *http.Request) (*http.Response, error) {
			src.set(goodKey)
			return answer(req, 401, invalidKey, "X-Request-Id", "req_2"), nil
		},
		status(503, "busy", "X-Request-Id", "req_3"),
		status(200, "data: [DONE]\n\n", "Content-Type", "text/event-stream", "X-Request-Id", "req_4", "X-Ratelimit-Remaining-Requests", "59"),
	}}
}

func jsonPost(t testing.TB, body string) *http.Request {
	t.Helper()
	req := post(t, chat, body)
	req.Header.Set("Content-Type", "application/json")
	return req
}

func TestEverySendOfACallIsOneRecordWithItsNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, r := &keys{key: deadKey}, &recorder{}
		s := stormy(src)
		var out bytes.Buffer
		resp, err := middleware.Wrap(s, stack(t, src, r, &out)...).RoundTrip(jsonPost(t, `{"model":"m1","stream":true}`))
		if err != nil || readBody(t, resp) != "data: [DONE]\n\n" {
			t.Fatalf("the call failed: %v", err)
		}
		want := []middleware.Send{
			{Number: 1, Status: 429, RequestID: "req_1"},
			{Number: 2, Status: 401, RequestID: "req_2", Reason: "retry 429"},
			{Number: 3, Status: 503, RequestID: "req_3", Reason: "replay 401"},
			{Number: 4, Status: 200, RequestID: "req_4", Reason: "retry 503"},
		}
		got := r.all()
		if len(got) != len(want) || len(s.sent) != len(want) {
			t.Fatalf("%d records of %d sends, want %d", len(got), len(s.sent), len(want))
		}
		lines := logLines(t, &out)
		for i, g := range got {
			w := want[i]
			if g.Number != w.Number || g.Status != w.Status || g.Reason != w.Reason || g.RequestID != w.RequestID || g.Err != nil {
				t.Errorf("record %d is %d, %d, %q, %q, %v; want %+v", i+1, g.Number, g.Status, g.Reason, g.RequestID, g.Err, w)
			}
			if g.Credential.Refused != (w.Status == 401) || g.Credential.Source != "keys" || g.Gateway != (middleware.Identity{}) {
				t.Errorf("record %d: credential %+v, gateway %+v", i+1, g.Credential, g.Gateway)
			}
			if g.Method != "POST" || g.Host != "api.example.com" || g.Path != "/v1/chat/completions" || g.Model != "m1" || !g.Stream {
				t.Errorf("record %d names %s %s %s, %q, stream %t", i+1, g.Method, g.Host, g.Path, g.Model, g.Stream)
			}
			if lines[i]["attempt"] != float64(w.Number) || lines[i]["status"] != float64(w.Status) {
				t.Errorf("the log says %v and %v of send %d", lines[i]["attempt"], lines[i]["status"], i+1)
			}
		}
		if got[3].RateLimit.RemainingRequests != 59 || got[0].RateLimit.RemainingRequests != -1 {
			t.Error("the limits of an answer are not in its record")
		}
	})
}

func TestARecordNamesTheCredentialThatWasRefused(t *testing.T) {
	const ofGateway = `{"statusCode":401,"message":"Access denied due to invalid subscription key. Make sure to provide a valid key."}`
	source := func(name, version string) credential.Source {
		return credential.SourceFunc(func(context.Context) (credential.Value, error) {
			return credential.Value{Secret: credential.NewSecret("CANARY-" + name), Source: name, Version: version}, nil
		})
	}
	for body, gateway := range map[string]bool{invalidKey: false, ofGateway: true} {
		synctest.Test(t, func(t *testing.T) {
			r := &recorder{}
			var out bytes.Buffer
			auth := mustAuth(t, newCache(t, source("store", "v1")), &middleware.AuthOptions{SubscriptionKey: newCache(t, source("apim", "v2"))})
			rt := middleware.Wrap(&script{steps: []func(*http.Request) (*http.Response, error){status(401, body)}}, auth,
				middleware.Observe(r.done), middleware.Log(jsonLogger(&out), nil))
			resp, err := rt.RoundTrip(post(t, chat, "x"))
			if err != nil || readBody(t, resp) != body {
				t.Fatalf("want the service's own 401, got %v", err)
			}
			for _, s := range r.all() {
				want := middleware.Identity{Source: "store", Version: "v1", Refused: !gateway}
				wantGateway := middleware.Identity{Source: "apim", Version: "v2", Refused: gateway}
				if s.Credential != want || s.Gateway != wantGateway {
					t.Errorf("credential %+v, gateway %+v; want the refusal of the gateway: %t", s.Credential, s.Gateway, gateway)
				}
			}
			if want := map[bool]string{false: "credential", true: "gateway"}[gateway]; logLines(t, &out)[0]["refused"] != want {
				t.Errorf("the log does not say that the %s was refused", want)
			}
		})
	}
}

func TestARefusalThatAnotherCredentialCannotCureRefusesNone(t *testing.T) {
	r := &recorder{}
	rt := middleware.Wrap(&script{steps: []func(*http.Request) (*http.Response, error){status(401, `{"error":{"code":"PermissionDenied"}}`)}},
		mustAuth(t, newCache(t, &keys{key: goodKey}), nil), middleware.Observe(r.done))
	resp, err := rt.RoundTrip(post(t, chat, "x"))
	if err != nil {
		t.Fatal(err)
	}
	readBody(t, resp)
	if s := r.one(t); s.Credential.Refused || s.Status != 401 {
		t.Errorf("the record says %+v", s.Credential)
	}
}

func TestSendFromIsTheSendBelowAuthAndNilElsewhere(t *testing.T) {
	if middleware.SendFrom(t.Context()) != nil {
		t.Error("a context without a call has a send")
	}
	above := func(next http.RoundTripper) http.RoundTripper {
		return tripFunc(func(req *http.Request) (*http.Response, error) {
			if middleware.SendFrom(req.Context()) != nil {
				t.Error("there is a send above Auth")
			}
			return next.RoundTrip(req)
		})
	}
	r := &recorder{}
	var seen []*middleware.Send
	layers := []middleware.Middleware{above, middleware.Replay(), above, mustRetry(t, nil), above,
		mustAuth(t, newCache(t, &keys{key: goodKey}), nil), middleware.Observe(r.done)}
	rt := middleware.Wrap(tripFunc(func(req *http.Request) (*http.Response, error) {
		s := middleware.SendFrom(req.Context())
		if s == nil || s.Number != 1 || s.Method != "POST" || s.Host != "api.example.com" || s.Credential.Source != "keys" {
			t.Fatalf("the transport sees %+v", s)
		}
		seen = append(seen, s)
		return answer(req, 200, "ok"), nil
	}), layers...)
	req := post(t, chat, "x")
	resp, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	readBody(t, resp)
	if len(seen) != 1 || r.kept[0] != seen[0] {
		t.Error("the transport and Observe see different records")
	}
	if middleware.SendFrom(req.Context()) != nil || middleware.SendFrom(resp.Request.Context()) != nil {
		t.Error("the caller's own request has a send")
	}
	if middleware.SendFrom(r.ctxs[0]) != nil && middleware.SendFrom(r.ctxs[0]) != seen[0] {
		t.Error("the context that Observe gives has another send")
	}
}

// withoutTimes returns the records without what differs from run to run.
func withoutTimes(all []middleware.Send) (out []string) {
	for _, s := range all {
		out = append(out, fmt.Sprint(s.Number, s.Reason, s.Method, s.Host, s.Path, s.Model, s.Stream, s.Credential, s.Gateway, s.Status, s.Err,
			s.RequestID, s.RateLimit, !s.Started.IsZero(), !s.Header.IsZero(), !s.Ended.IsZero()))
	}
	return out
}

type userKey struct{}

// userLayers are layers as users write them.
func userLayers() map[string]middleware.Middleware {
	return map[string]middleware.Middleware{
		"one that clones the request": func(next http.RoundTripper) http.RoundTripper {
			return tripFunc(func(req *http.Request) (*http.Response, error) {
				out := req.Clone(context.WithValue(req.Context(), userKey{}, 1))
				out.Header.Set("X-User", "1")
				return next.RoundTrip(out)
			})
		},
		"one with a context that can end": func(next http.RoundTripper) http.RoundTripper {
			return tripFunc(func(req *http.Request) (*http.Response, error) {
				ctx, cancel := context.WithCancel(req.Context())
				resp, err := next.RoundTrip(req.WithContext(ctx))
				if err != nil {
					cancel()
					return nil, err
				}
				resp.Body = &closeWith{resp.Body, cancel}
				return resp, nil
			})
		},
		"one that copies the answer": func(next http.RoundTripper) http.RoundTripper {
			return tripFunc(func(req *http.Request) (*http.Response, error) {
				resp, err := next.RoundTrip(req)
				if err != nil {
					return nil, err
				}
				copied := *resp
				copied.Header = resp.Header.Clone()
				return &copied, nil
			})
		},
	}
}

type closeWith struct {
	io.ReadCloser
	cancel func()
}

func (c *closeWith) Close() error { defer c.cancel(); return c.ReadCloser.Close() }

func TestALayerOfTheUsersBetweenAnyTwoChangesNothing(t *testing.T) {
	run := func(t *testing.T, at int, user middleware.Middleware) (seen []string, sent []string) {
		synctest.Test(t, func(t *testing.T) {
			src, r := &keys{key: deadKey}, &recorder{}
			s := stormy(src)
			var out bytes.Buffer
			layers := stack(t, src, r, &out)
			if at >= 0 {
				layers = append(layers[:at:at], append([]middleware.Middleware{user}, layers[at:]...)...)
			}
			resp, err := middleware.Wrap(s, layers...).RoundTrip(jsonPost(t, `{"stream":false,"model":"m1"}`))
			if err != nil || !strings.HasSuffix(readBody(t, resp), "[DONE]\n\n") {
				t.Fatalf("at %d: the call failed: %v", at, err)
			}
			seen = withoutTimes(r.all())
			for i, line := range logLines(t, &out) {
				seen = append(seen, fmt.Sprint(line["attempt"], line["reason"], line["status"], line["model"], line["refused"]))
				sent = append(sent, s.sent[i].Header.Get("Authorization")+s.bodies[i])
			}
		})
		return seen, sent
	}
	records, sent := run(t, -1, nil)
	if len(records) != 8 || len(sent) != 4 {
		t.Fatalf("%d records and %d sends without a user's layer", len(records), len(sent))
	}
	for name, user := range userLayers() {
		for at := range 7 {
			got, wire := run(t, at, user)
			if !reflect.DeepEqual(got, records) || !reflect.DeepEqual(wire, sent) {
				t.Errorf("%s at place %d changes the records or what is sent:\n%s\nwant\n%s", name, at, strings.Join(got, "\n"), strings.Join(records, "\n"))
			}
		}
	}
}

// twice sends each request two times and returns the second answer.
func twice(next http.RoundTripper) http.RoundTripper {
	return tripFunc(func(req *http.Request) (*http.Response, error) {
		again, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		resp, err := next.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		out := req.Clone(req.Context())
		out.Body = again
		return next.RoundTrip(out)
	})
}

// What passes Auth is a send. A layer below it that sends once more is a part
// of the transport, as far as the records go.
func TestALayerThatSendsTwiceIsCountedWhereItSends(t *testing.T) {
	for at, want := range [][]int{{1, 1}, {1, 2}, {1, 2}, {1}, {1}, {1}, {1}} {
		src, r := &keys{key: goodKey}, &recorder{}
		s := &script{steps: []func(*http.Request) (*http.Response, error){status(200, "ok")}}
		layers := stack(t, src, r, io.Discard)
		layers = append(layers[:at:at], append([]middleware.Middleware{twice}, layers[at:]...)...)
		resp, err := middleware.Wrap(s, layers...).RoundTrip(jsonPost(t, `{"model":"m1"}`))
		if err != nil || readBody(t, resp) != "ok" {
			t.Fatalf("at %d: %v", at, err)
		}
		var numbers []int
		for _, send := range r.all() {
			numbers = append(numbers, send.Number)
			if send.Status != 200 || send.Model != "m1" || send.Ended.IsZero() {
				t.Errorf("at %d: a record says %d, %q", at, send.Status, send.Model)
			}
		}
		if !reflect.DeepEqual(numbers, want) || len(s.bodies) != 2 || s.bodies[0] != s.bodies[1] || s.bodies[0] == "" {
			t.Errorf("at %d: records %v of %d sends, want %v of 2 with the whole body", at, numbers, len(s.bodies), want)
		}
	}
}

// nested is a layer that makes a call of another client with the context of
// the one that it carries, as one does that asks for a moderation first.
func nested(t *testing.T, other http.RoundTripper) middleware.Middleware {
	return func(next http.RoundTripper) http.RoundTripper {
		return tripFunc(func(req *http.Request) (*http.Response, error) {
			inner, err := http.NewRequestWithContext(req.Context(), http.MethodPost, api+"/v1/moderations", strings.NewReader("{}"))
			if err != nil {
				return nil, err
			}
			resp, err := other.RoundTrip(inner)
			if err != nil {
				return nil, err
			}
			readBody(t, resp)
			return next.RoundTrip(req)
		})
	}
}

func TestACallInsideOfALayerCountsForItself(t *testing.T) {
	for at := range 6 {
		synctest.Test(t, func(t *testing.T) {
			outer, inner := &recorder{}, &recorder{}
			other := middleware.Wrap(&script{steps: []func(*http.Request) (*http.Response, error){status(200, "{}")}},
				stack(t, &keys{key: goodKey}, inner, io.Discard)...)
			s := &script{steps: []func(*http.Request) (*http.Response, error){status(200, "ok")}}
			layers := stack(t, &keys{key: goodKey}, outer, io.Discard)
			layers = append(layers[:at:at], append([]middleware.Middleware{nested(t, other)}, layers[at:]...)...)
			resp, err := middleware.Wrap(s, layers...).RoundTrip(jsonPost(t, `{"model":"m1"}`))
			if err != nil {
				t.Fatalf("at %d: %v", at, err)
			}
			readBody(t, resp)
			a, b := outer.one(t), inner.one(t)
			if a.Number != 1 || a.Path != "/v1/chat/completions" || a.Model != "m1" || b.Number != 1 || b.Path != "/v1/moderations" || b.Model != "" {
				t.Errorf("at %d: the outer record is %d %s %q, the inner %d %s %q", at, a.Number, a.Path, a.Model, b.Number, b.Path, b.Model)
			}
		})
	}
}
