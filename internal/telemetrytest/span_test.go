package telemetrytest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware/telemetry"
)

func TestACallIsASpanOfItsOwn(t *testing.T) {
	w := newWorld(t, nil)
	if status, _, err := w.post(t, "chat/completions", `{"model":"gpt-6-luna","messages":[{"role":"user","content":"hi"}],"temperature":0.5,"max_tokens":9,"n":2,"seed":4,"service_tier":"flex","response_format":{"type":"json_schema"}}`); err != nil || status != 200 {
		t.Fatal(status, err)
	}
	s := w.span(t)
	if s.Name != "chat gpt-6-luna" || s.SpanKind != trace.SpanKindClient || s.Status.Code != codes.Unset {
		t.Errorf("%q, kind %v, status %v", s.Name, s.SpanKind, s.Status)
	}
	var got []string
	for _, a := range s.Attributes {
		got = append(got, string(a.Key)+"="+a.Value.String())
	}
	slices.Sort(got)
	want := []string{
		"gen_ai.operation.name=chat", "gen_ai.output.type=json", "gen_ai.provider.name=openai",
		"gen_ai.request.choice.count=2", "gen_ai.request.max_tokens=9", "gen_ai.request.model=gpt-6-luna",
		"gen_ai.request.seed=4", "gen_ai.request.temperature=0.5", `gen_ai.response.finish_reasons=["stop"]`,
		"gen_ai.response.id=chatcmpl-1", "gen_ai.response.model=gpt-6-luna", "gen_ai.usage.input_tokens=1",
		"gen_ai.usage.output_tokens=2", "http.response.status_code=200", "latchkey.sends=1",
		"openai.api.type=chat_completions", "openai.request.service_tier=flex", "openai.response.service_tier=default",
		"openai.response.system_fingerprint=fp_clienttest", "server.address=api.openai.com", "server.port=443",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	if len(s.Events) != 1 || s.Events[0].Name != "latchkey.send" {
		t.Errorf("events %v, want one send", s.Events)
	}
}

// The caller gets such a stream to its end, and its SDK the error.
func TestAStreamInWhichTheServiceFailsIsAFailedCall(t *testing.T) {
	const failing = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\",\"model\":\"gpt-6-luna\",\"error\":null}}\n\n" +
		"event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"CANARY\"}\n\n"
	w := newWorld(t, func(_ *world, cfg *client.Config, _ *telemetry.Options) {
		cfg.Transport = tripFunc(func(req *http.Request) (*http.Response, error) {
			return &http.Response{
				StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"text/event-stream"}},
				Body: io.NopCloser(strings.NewReader(failing)), Request: req,
			}, nil
		})
	})
	if status, text, err := w.post(t, "responses", `{"model":"gpt-6-luna","stream":true,"input":"hi"}`); err != nil || status != 200 || text != failing {
		t.Fatalf("%d, %v, %q", status, err, text)
	}
	s := w.span(t)
	if value(s.Attributes, "error.type") != "stream" || s.Status.Code != codes.Error || value(s.Events[0].Attributes, "error.type") != "stream" {
		t.Errorf("the call has error.type %q and status %v, its send %q", value(s.Attributes, "error.type"), s.Status, value(s.Events[0].Attributes, "error.type"))
	}
	for _, p := range points(w.metrics(t)["gen_ai.client.operation.duration"]) {
		if value(p.attrs.ToSlice(), "error.type") != "stream" {
			t.Errorf("the duration has error.type %q", value(p.attrs.ToSlice(), "error.type"))
		}
	}
	if strings.Contains(dump(t, w), "CANARY") {
		t.Error("the message was exported")
	}
}

// What a call asks for is known also where nothing was sent, and where the body
// cannot be read a second time.
func TestWhatIsAskedForIsKnownWithoutASend(t *testing.T) {
	const body = hello + `,"seed":4}`
	w := newWorld(t, func(_ *world, cfg *client.Config, _ *telemetry.Options) {
		cfg.Source = credential.SourceFunc(func(context.Context) (credential.Value, error) {
			return credential.Value{}, &credential.SourceError{Source: "store", Err: errors.New("no key")}
		})
	})
	_, _, _ = w.post(t, "chat/completions", body)
	if s := w.span(t); s.Name != "chat gpt-6-luna" || value(s.Attributes, "gen_ai.request.seed") != "4" || value(s.Attributes, "error.type") != "credential" {
		t.Errorf("not sent: %q, %v", s.Name, s.Attributes)
	}
	w = newWorld(t, nil)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.base+"chat/completions", io.NopCloser(strings.NewReader(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	if status, _, err := w.do(t, req); err != nil || status != 200 {
		t.Fatal(status, err)
	}
	if s := w.span(t); s.Name != "chat gpt-6-luna" || value(s.Attributes, "gen_ai.request.seed") != "4" {
		t.Errorf("once: %q, %v", s.Name, s.Attributes)
	}
}
