package telemetrytest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/middleware"
	"github.com/latchkey-go/latchkey/middleware/limit"
	"github.com/latchkey-go/latchkey/middleware/telemetry"
)

const hello = `{"model":"gpt-6-luna","messages":[{"role":"user","content":"hello there"}]`

func TestEachSendIsAnEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.first.Inject(clienttest.Overloaded.Fault())
		w.first.Rotate(secondKey)
		w.setKey(firstKey)
		go func() { time.Sleep(800 * time.Millisecond); w.setKey(secondKey) }() // the store is late
		if status, _, err := w.post(t, "chat/completions", hello+"}"); err != nil || status != 200 {
			t.Fatal(status, err)
		}
		var got []string
		for _, e := range w.span(t).Events {
			var s []string
			for _, key := range []attribute.Key{"latchkey.send.number", "latchkey.send.reason", "http.response.status_code", "error.type", "latchkey.credential.version", "latchkey.credential.refused"} {
				s = append(s, value(e.Attributes, key))
			}
			got = append(got, strings.Join(s, ","))
		}
		want := []string{"1,,503,503,v1,", "2,retry 503,401,401,v1,true", "3,replay 401,200,,v2,"}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if n := value(w.span(t).Attributes, "latchkey.sends"); n != "3" {
			t.Errorf("%s sends, want 3", n)
		}
		sends := map[string]uint64{}
		for _, p := range points(w.metrics(t)["latchkey.send.duration"]) {
			reason, _ := p.attrs.Value("latchkey.send.reason")
			sends[reason.AsString()] += p.count
		}
		if len(sends) != 3 || sends["first"] != 1 || sends["retry"] != 1 || sends["replay"] != 1 {
			t.Errorf("sends by reason: %v", sends)
		}
	})
}

func TestTheWaitBeforeASendIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.first.Inject(clienttest.Fault{Status: 429, Header: http.Header{"Retry-After": {"3"}}})
		if status, _, err := w.post(t, "chat/completions", hello+"}"); err != nil || status != 200 {
			t.Fatal(status, err)
		}
		p := points(w.metrics(t)["latchkey.send.wait"])
		if len(p) != 1 || p[0].count != 1 || p[0].sum < 3 || p[0].sum > 4 {
			t.Fatalf("%+v, want one wait of 3 s", p)
		}
		if reason, _ := p[0].attrs.Value("latchkey.send.reason"); reason.AsString() != "retry" {
			t.Errorf("the wait was before a send that was a %q", reason.AsString())
		}
		events := w.span(t).Events
		if value(events[0].Attributes, "latchkey.send.wait") != "" || value(events[1].Attributes, "latchkey.send.wait") == "" {
			t.Error("the wait is not told by the event of the second send alone")
		}
	})
}

// A paused body brings one piece after each pause, and then ends with err.
type paused struct {
	pieces []string
	pause  time.Duration
	err    error
}

func (b *paused) Read(p []byte) (int, error) {
	if len(b.pieces) == 0 {
		return 0, b.err
	}
	time.Sleep(b.pause) // inside a synctest bubble
	n := copy(p, b.pieces[0])
	b.pieces = b.pieces[1:]
	return n, nil
}

func (b *paused) Close() error { return nil }

type tripFunc func(*http.Request) (*http.Response, error)

func (f tripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// answering makes the services answer with what f returns.
func answering(f func(req *http.Request) (*http.Response, error)) func(*world, *client.Config, *telemetry.Options) {
	return func(_ *world, cfg *client.Config, _ *telemetry.Options) {
		cfg.Transport, cfg.Retry = tripFunc(func(req *http.Request) (*http.Response, error) {
			if req.Body != nil {
				_, _ = io.Copy(io.Discard, req.Body)
				_ = req.Body.Close()
			}
			return f(req)
		}), &middleware.RetryOptions{MaxRetries: -1}
	}
}

func event(text string) string {
	return `data: {"id":"chatcmpl-1","model":"gpt-6-luna","choices":[{"delta":{"content":"` + text + `"}}]}` + "\n\n"
}

func TestChunksAreTimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, answering(func(*http.Request) (*http.Response, error) {
			time.Sleep(100 * time.Millisecond)
			long := event(strings.Repeat("x", 200))
			return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: &paused{
				pieces: []string{": wait\n\n", event("a")[:20], event("a")[20:] + event("b"), long, "data: [DONE]\n\n"}, pause: 50 * time.Millisecond, err: io.EOF,
			}}, nil
		}))
		if _, _, err := w.post(t, "chat/completions", hello+`,"stream":true}`); err != nil {
			t.Fatal(err)
		}
		m := w.metrics(t)
		if p := points(m["gen_ai.client.operation.time_to_first_chunk"]); len(p) != 1 || p[0].count != 1 || p[0].sum != 0.25 {
			t.Errorf("first chunk: %+v, want one after 0.25 s", p)
		}
		if p := points(m["gen_ai.client.operation.time_per_output_chunk"]); len(p) != 1 || p[0].count != 2 || p[0].sum != 0.05 {
			t.Errorf("chunks: %+v, want two gaps of 0.05 s together", p)
		}
		if p := points(m["gen_ai.client.operation.duration"]); len(p) != 1 || p[0].sum < 0.35-1e-9 || p[0].sum > 0.35+1e-9 {
			t.Errorf("duration: %+v, want 0.35 s", p)
		}
		if s := w.span(t); value(s.Attributes, "gen_ai.response.time_to_first_chunk") != "0.25" || s.EndTime.Sub(s.StartTime) != 350*time.Millisecond {
			t.Errorf("the span: %v, %v", s.Attributes, s.EndTime.Sub(s.StartTime))
		}
	})
}

type wrapped struct{ error }

func (wrapped) Timeout() bool { return true }

func TestErrorsAreOneOfAFewWords(t *testing.T) {
	broken := func(err error) func(*http.Request) (*http.Response, error) {
		return func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: &paused{pieces: []string{`{"id":`}, err: err}}, nil
		}
	}
	fails := func(err error) func(*http.Request) (*http.Response, error) {
		return func(*http.Request) (*http.Response, error) { return nil, err }
	}
	status := func(status int) func(*http.Request) (*http.Response, error) {
		return func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Body: http.NoBody}, nil
		}
	}
	for want, answer := range map[string]func(*http.Request) (*http.Response, error){
		"canceled":   fails(context.Canceled),
		"timeout":    fails(wrapped{errors.New("CANARY")}),
		"connection": fails(io.EOF),
		"_OTHER":     fails(errors.New("CANARY")),
		"origin":     fails(middleware.ErrOrigin),
		"stream":     broken(io.ErrUnexpectedEOF),
		"404":        status(404),
		"500":        status(500),
		"":           status(204),
	} {
		w := newWorld(t, answering(answer))
		_, _, _ = w.post(t, "chat/completions", hello+"}")
		s := w.span(t)
		if got := value(s.Attributes, "error.type"); got != want || s.Status.Description != want || (s.Status.Code == codes.Error) != (want != "") {
			t.Errorf("%q: error.type %q, status %+v", want, got, s.Status)
		}
		if p := points(w.metrics(t)["gen_ai.client.operation.duration"]); len(p) != 1 {
			t.Errorf("%q: %d series", want, len(p))
		} else if got, _ := p[0].attrs.Value("error.type"); got.AsString() != want {
			t.Errorf("%q: the metric has %q", want, got.AsString())
		}
		if strings.Contains(dump(t, w), "CANARY") {
			t.Errorf("%q: the text of an error was exported", want)
		}
	}
}

func TestARefusalOfALimitIsCountedAndIsNoSend(t *testing.T) {
	w := newWorld(t, func(w *world, cfg *client.Config, _ *telemetry.Options) {
		var err error
		cfg.Limits, err = limit.New([]limit.Limit{{Name: "daily", Requests: 1, Per: limit.Day}}, &limit.Options{OnEvent: func(e limit.Event) { w.telemetry.OnLimit(e) }})
		if err != nil {
			t.Fatal(err)
		}
	})
	for range 3 {
		_, _, _ = w.post(t, "chat/completions", hello+"}")
	}
	m := w.metrics(t)
	if p := points(m["latchkey.limit.refusals"]); len(p) != 1 || p[0].sum != 2 || p[0].attrs.Encoded(attribute.DefaultEncoder()) != "latchkey.limit.name=daily,latchkey.limit.what=requests" {
		t.Errorf("refusals: %+v", p)
	}
	if p := points(m["latchkey.limit.events"]); len(p) != 1 || p[0].sum != 1 || p[0].attrs.Encoded(attribute.DefaultEncoder()) != "latchkey.event=refused,latchkey.limit.name=daily,latchkey.limit.what=requests" {
		t.Errorf("events: %+v", p)
	}
	if p := points(m["latchkey.send.duration"]); len(p) != 1 || p[0].count != 1 {
		t.Errorf("sends: %+v, want 1", p)
	}
	if got := value(w.spans.GetSpans()[2].Attributes, "error.type"); got != "limit" {
		t.Errorf("error.type %q, want limit", got)
	}
}

func TestTheContextGoesOutOnlyIfThatIsWanted(t *testing.T) {
	for _, sampler := range []sdktrace.Sampler{sdktrace.AlwaysSample(), sdktrace.NeverSample()} {
		for _, p := range []propagation.TextMapPropagator{nil, propagation.TraceContext{}} {
			w := newWorld(t, func(w *world, cfg *client.Config, opts *telemetry.Options) {
				opts.Propagator = p
				opts.TracerProvider = sdktrace.NewTracerProvider(sdktrace.WithSyncer(w.spans), sdktrace.WithSampler(sampler))
			})
			w.first.SetJournal(true)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.base+"chat/completions", strings.NewReader(hello+"}"))
			if err != nil {
				t.Fatal(err)
			}
			if status, _, err := w.do(t, req); err != nil || status != 200 {
				t.Fatal(status, err)
			}
			got := w.first.Requests()[0].Header.Get("Traceparent")
			if (got != "") != (p != nil) {
				t.Errorf("%s, %T: traceparent %q", sampler.Description(), p, got)
			}
			if req.Header.Get("Traceparent") != "" {
				t.Error("the caller's header was changed")
			}
		}
	}
}

func TestASpanIsAChildOfTheCallers(t *testing.T) {
	w := newWorld(t, nil)
	sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled, Remote: true})
	req, err := http.NewRequestWithContext(trace.ContextWithSpanContext(t.Context(), sc), http.MethodGet, w.base+"models", nil)
	if err != nil {
		t.Fatal(err)
	}
	if status, _, err := w.do(t, req); err != nil || status != 200 {
		t.Fatal(status, err)
	}
	if s := w.span(t); s.Parent.SpanID() != sc.SpanID() || s.Name != "models" {
		t.Errorf("%q below %v", s.Name, s.Parent)
	}
}

// A call that the sampler leaves out is measured all the same.
func TestACallThatIsNotSampledIsMeasured(t *testing.T) {
	w := newWorld(t, func(w *world, _ *client.Config, opts *telemetry.Options) {
		opts.TracerProvider = sdktrace.NewTracerProvider(sdktrace.WithSyncer(w.spans), sdktrace.WithSampler(sdktrace.NeverSample()))
	})
	w.post(t, "chat/completions", hello+"}")
	p := points(w.metrics(t)["gen_ai.client.operation.duration"])
	if len(w.spans.GetSpans()) != 0 || len(p) != 1 || p[0].count != 1 {
		t.Fatalf("%d spans, %+v", len(w.spans.GetSpans()), p)
	}
	if model, _ := p[0].attrs.Value("gen_ai.request.model"); model.AsString() != "gpt-6-luna" {
		t.Errorf("the model is %q", model.AsString())
	}
}

func TestContentGoesOutOnlyIfThatIsWanted(t *testing.T) {
	calls := 0
	w := newWorld(t, func(_ *world, _ *client.Config, opts *telemetry.Options) {
		opts.Content = func(request, answer []byte) []attribute.KeyValue {
			calls++
			return []attribute.KeyValue{attribute.String("in", string(request)), attribute.String("out", fmt.Sprintf("%.15s %d", answer, len(answer)))}
		}
	})
	w.post(t, "chat/completions", hello+"}")
	s := w.span(t)
	if in, out := value(s.Attributes, "in"), value(s.Attributes, "out"); in != hello+"}" || !strings.HasPrefix(out, `{"id":"chatcmpl`) || calls != 1 {
		t.Errorf("%q and %q in %d calls", in, out, calls)
	}
	w.spans.Reset()
	w.first.Inject(clienttest.Fault{Body: `{"a":1}`, BodyBytes: 200_000})
	w.post(t, "chat/completions", hello+`,"x":"`+strings.Repeat("x", 100_000)+`"}`)
	s = w.span(t)
	if in, out := value(s.Attributes, "in"), value(s.Attributes, "out"); len(in) != 64<<10 || !strings.HasSuffix(out, " 65536") {
		t.Errorf("%d bytes and %q, want 64 KiB of each", len(in), out)
	}
}

// A body that is closed early, or read and closed by two goroutines, ends the call
// once.
func TestACallEndsOnce(t *testing.T) {
	w := newWorld(t, nil)
	for range 20 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.base+"chat/completions", strings.NewReader(hello+`,"stream":true}`))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := w.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = io.Copy(io.Discard, resp.Body) })
		wg.Go(func() { _ = resp.Body.Close() })
		wg.Wait()
		_ = resp.Body.Close()
	}
	p := points(w.metrics(t)["gen_ai.client.operation.duration"])
	var count uint64
	for _, p := range p {
		count += p.count
	}
	if n := len(w.spans.GetSpans()); n != 20 || count != 20 {
		t.Errorf("%d spans and %d durations, want 20", n, count)
	}
}

func TestASpanEndsWithTheBody(t *testing.T) {
	w := newWorld(t, nil)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.base+"models", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(w.spans.GetSpans()); n != 0 {
		t.Errorf("%d spans before the body was read", n)
	}
	_ = resp.Body.Close()
	w.span(t)
}
