package telemetrytest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
	"github.com/latchkey-go/latchkey/middleware/telemetry"
)

// bare sends req through the layer alone, to f.
func (w *world) bare(t *testing.T, req *http.Request, f func(req *http.Request) (*http.Response, error)) {
	t.Helper()
	resp, err := middleware.Wrap(tripFunc(f), w.telemetry.Middleware()).RoundTrip(req)
	if err == nil && resp.Body != nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
}

func newRequest(t *testing.T, method, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "https://api.openai.com/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	return req
}

func TestOddRequestsPass(t *testing.T) {
	w := newWorld(t, func(_ *world, _ *client.Config, opts *telemetry.Options) {
		opts.Propagator = propagation.TraceContext{}
	})
	seen := 0
	ok := func(*http.Request) (*http.Response, error) { seen++; return &http.Response{StatusCode: 200}, nil }
	w.bare(t, &http.Request{Method: http.MethodGet}, ok)
	req := newRequest(t, http.MethodGet, "")
	req.Body, req.GetBody = nil, nil
	w.bare(t, req, func(got *http.Request) (*http.Response, error) {
		if got.Body != nil {
			t.Error("a request without a body has got one")
		}
		return ok(got)
	})
	req = newRequest(t, http.MethodPost, hello+"}")
	req.Header = nil
	w.bare(t, req, ok)
	if seen != 3 || len(w.spans.GetSpans()) != 2 {
		t.Errorf("%d sends and %d spans, want 3 and 2", seen, len(w.spans.GetSpans()))
	}
}

// A conn is a body that can be written to.
type conn struct{ io.ReadWriter }

func (conn) Close() error { return nil }

func TestASwitchOfProtocolsEndsTheSpanAndKeepsTheConnection(t *testing.T) {
	w := newWorld(t, nil)
	resp, err := middleware.Wrap(tripFunc(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusSwitchingProtocols, Body: conn{&bytes.Buffer{}}}, nil
	}), w.telemetry.Middleware()).RoundTrip(newRequest(t, http.MethodGet, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, ok := resp.Body.(io.Writer); !ok {
		t.Error("nobody can write to the connection any more")
	}
	w.span(t)
}

func TestWhatIsNoStreamHasNoChunks(t *testing.T) {
	for _, answer := range []*http.Response{
		{StatusCode: 200, Body: io.NopCloser(strings.NewReader(": nothing\n\n"))},
		{StatusCode: 400, Body: io.NopCloser(strings.NewReader(event("a")))},
	} {
		w := newWorld(t, nil)
		answer.Header = http.Header{"Content-Type": {"text/event-stream"}}
		w.bare(t, newRequest(t, http.MethodPost, hello+"}"), func(*http.Request) (*http.Response, error) { return answer, nil })
		if m := w.metrics(t); len(points(m["gen_ai.client.operation.time_to_first_chunk"])) != 0 || len(points(m["gen_ai.client.operation.duration"])) != 1 {
			t.Errorf("status %d: %v", answer.StatusCode, m)
		}
	}
}

func TestEachStreamBeginsAnew(t *testing.T) {
	w := newWorld(t, nil)
	for _, n := range []int{3, 20_000, 2} {
		w.bare(t, newRequest(t, http.MethodPost, hello+"}"), func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: io.NopCloser(strings.NewReader(strings.Repeat(event("a"), n)))}, nil
		})
	}
	m := w.metrics(t)
	if p := points(m["gen_ai.client.operation.time_per_output_chunk"]); len(p) != 1 || p[0].count != 2+16384+1 {
		t.Errorf("%+v, want 2, the first 16,384, and 1", p)
	}
	if p := points(m["gen_ai.client.operation.time_to_first_chunk"]); len(p) != 1 || p[0].count != 3 {
		t.Errorf("%+v, want 3", p)
	}
}

func TestStatusesThatAreNone(t *testing.T) {
	for err, want := range map[error]string{nil: "_OTHER", io.ErrUnexpectedEOF: "connection", context.DeadlineExceeded: "timeout"} {
		w := newWorld(t, nil)
		w.bare(t, newRequest(t, http.MethodPost, hello+"}"), func(*http.Request) (*http.Response, error) {
			if err != nil {
				return nil, err
			}
			return &http.Response{StatusCode: 700}, nil
		})
		if got := value(w.span(t).Attributes, "error.type"); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
	w := newWorld(t, nil)
	w.bare(t, newRequest(t, http.MethodPost, hello+"}"), func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: &paused{err: middleware.ErrNotStream}}, nil
	})
	if got := value(w.span(t).Attributes, "error.type"); got != "stream" {
		t.Errorf("no stream: %q", got)
	}
}

func TestWhatASendSaysIsCheckedBeforeItIsExported(t *testing.T) {
	w := newWorld(t, nil)
	w.telemetry.Observe(t.Context(), nil)
	w.bare(t, newRequest(t, http.MethodPost, hello+"}"), func(req *http.Request) (*http.Response, error) {
		w.telemetry.Observe(req.Context(), &middleware.Send{
			Number: 1, Status: 200, Host: "API.OpenAI.com", RequestID: strings.Repeat("r", 101), Deployment: strings.Repeat("d", 101), SpilledFrom: "a text",
			Credential: middleware.Identity{Source: "s", Version: "v\n"}, Gateway: middleware.Identity{Refused: true},
		})
		return &http.Response{StatusCode: 200}, nil
	})
	s := w.span(t)
	for key, want := range map[attribute.Key]string{
		"latchkey.request.id": "", "latchkey.credential.version": "", "latchkey.deployment": "other", "latchkey.spilled_from": "other",
		"latchkey.gateway.refused": "true", "latchkey.credential.refused": "", "latchkey.credential.source": "s",
	} {
		if got := value(s.Events[0].Attributes, key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	if got := value(s.Attributes, "server.address"); got != "api.openai.com" {
		t.Errorf("the server is %q", got)
	}
	w.telemetry.Observe(t.Context(), &middleware.Send{Host: "caf\u00e9\n", Path: "/v1/embeddings", Status: 200, Usage: middleware.Usage{Reported: true, Input: 3}})
	p := points(w.metrics(t)["gen_ai.client.token.usage"])
	if len(p) != 1 {
		t.Fatalf("%+v, want input alone: embeddings have no output", p)
	}
	if got, _ := p[0].attrs.Value("server.address"); got.AsString() != "other" {
		t.Errorf("the server is %q", got.AsString())
	}
}

func TestTheSpanNamesTheEndpointThatAnswered(t *testing.T) {
	w := newWorld(t, func(w *world, cfg *client.Config, _ *telemetry.Options) {
		cfg.Fallbacks = []client.Endpoint{{BaseURL: "https://second.openai.azure.com/openai/v1/", Source: w.source()}}
		w.second.SetFlavor(clienttest.AzureOpenAI)
	})
	w.first.Inject(clienttest.Fault{Status: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {"20"}}})
	if status, _, err := w.post(t, "chat/completions", hello+"}"); err != nil || status != 200 {
		t.Fatal(status, err)
	}
	a := w.span(t).Attributes
	if got := value(a, "server.address") + " " + value(a, "gen_ai.provider.name"); got != "second.openai.azure.com azure.ai.openai" {
		t.Errorf("the span says %s", got)
	}
}

func TestTheDeploymentIsKnownWithoutASend(t *testing.T) {
	w := newWorld(t, func(_ *world, cfg *client.Config, _ *telemetry.Options) {
		cfg.BaseURL, cfg.Source = "https://first.openai.azure.com/openai/v1/", credential.SourceFunc(func(context.Context) (credential.Value, error) {
			return credential.Value{}, errors.New("none")
		})
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://first.openai.azure.com/openai/deployments/dep/embeddings", nil)
	if err != nil {
		t.Fatal(err)
	}
	w.bare(t, req, func(*http.Request) (*http.Response, error) { return nil, io.EOF })
	p := points(w.metrics(t)["gen_ai.client.operation.duration"])
	if model, _ := p[0].attrs.Value("gen_ai.request.model"); model.AsString() != "dep" {
		t.Errorf("the model is %q", model.AsString())
	}
}

// readAll is a transport that reads n bytes of the body, or all for -1.
func reading(n int64) func(req *http.Request) (*http.Response, error) {
	return func(req *http.Request) (*http.Response, error) {
		if n < 0 {
			_, _ = io.Copy(io.Discard, req.Body)
		} else {
			_, _ = io.CopyN(io.Discard, req.Body, n)
		}
		return nil, io.EOF
	}
}

func TestTheBodyIsReadOnceMoreOnlyIfItWasNotSent(t *testing.T) {
	const body = hello + `,"n":1,"seed":4}`
	for _, tt := range []struct {
		read, length int64
		want         int
	}{{-1, int64(len(body)), 0}, {-1, -1, 0}, {0, int64(len(body)), 1}, {30, int64(len(body)), 1}, {int64(len(body)), int64(len(body)), 0}} {
		got := ""
		w := newWorld(t, func(_ *world, _ *client.Config, opts *telemetry.Options) {
			opts.Content = func(request, _ []byte) []attribute.KeyValue { got = string(request); return nil }
		})
		req, copies := newRequest(t, http.MethodPost, body), 0
		inner := req.GetBody
		req.GetBody, req.ContentLength = func() (io.ReadCloser, error) { copies++; return inner() }, tt.length
		w.bare(t, req, reading(tt.read))
		s := w.span(t)
		if copies != tt.want || got != body || value(s.Attributes, "gen_ai.request.seed") != "4" || value(s.Attributes, "gen_ai.request.choice.count") != "" {
			t.Errorf("%+v: %d copies, %q, %v", tt, copies, got, s.Attributes)
		}
	}
}

func TestOnlyTheBeginningOfALargeBodyIsLookedAt(t *testing.T) {
	large := `{"seed":4,"x":"` + strings.Repeat("x", 5<<20) + `","n":3}`
	for _, n := range []int64{-1, 0} {
		w := newWorld(t, nil)
		w.bare(t, newRequest(t, http.MethodPost, large), reading(n))
		if a := w.span(t).Attributes; value(a, "gen_ai.request.seed") != "4" || value(a, "gen_ai.request.choice.count") != "" {
			t.Errorf("%v", a)
		}
	}
	w := newWorld(t, nil)
	req := newRequest(t, http.MethodPost, hello+`,"seed":4}`)
	req.Header.Set("Content-Encoding", "br")
	w.bare(t, req, reading(-1))
	if a := w.span(t).Attributes; value(a, "gen_ai.request.seed") != "" {
		t.Errorf("a compressed body was looked at: %v", a)
	}
}

// An endless body has no end and costs no memory.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestACopyOfTheBodyThatNeverEndsHoldsNothingUp(t *testing.T) {
	w := newWorld(t, nil)
	req := newRequest(t, http.MethodPost, hello+"}")
	req.GetBody = func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(strings.NewReader(`{"seed":4,"x":"`), endless{})), nil
	}
	w.bare(t, req, reading(0))
	if a := w.span(t).Attributes; value(a, "gen_ai.request.seed") != "4" {
		t.Errorf("%v", a)
	}
}

func TestAResponseThatIsUnderWayHasNoFinishReason(t *testing.T) {
	for status, want := range map[string]string{"queued": "", "in_progress": "", "completed": `["completed"]`} {
		w := newWorld(t, nil)
		w.first.Inject(clienttest.Fault{Body: `{"id":"resp_1","object":"response","status":"` + status + `","model":"m"}`})
		w.post(t, "responses", `{"model":"m","input":"x","background":true}`)
		if got := value(w.span(t).Attributes, "gen_ai.response.finish_reasons"); got != want {
			t.Errorf("%s: %s", status, got)
		}
	}
}
