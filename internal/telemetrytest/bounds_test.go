package telemetrytest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
	"github.com/latchkey-go/latchkey/middleware/limit"
	"github.com/latchkey-go/latchkey/middleware/telemetry"
)

// Names of models come from requests and answers. They cannot make more series than
// 100 and one, and none is text.
func TestNamesOfModelsAreBounded(t *testing.T) {
	w := newWorld(t, nil)
	ask := func(model string) {
		w.post(t, "embeddings", fmt.Sprintf(`{"model":%q,"input":"x"}`, model))
	}
	ask("a model with a text")
	ask("caf\u00e9")
	ask(strings.Repeat("x", 101))
	for i := range 300 {
		ask(fmt.Sprintf("model-%d", i))
	}
	seen := map[string]bool{}
	for _, p := range points(w.metrics(t)["gen_ai.client.operation.duration"]) {
		model, _ := p.attrs.Value("gen_ai.request.model")
		seen[model.AsString()] = true
	}
	if len(seen) > 102 || !seen["model-0"] || !seen["other"] || seen["model-299"] {
		t.Errorf("%d names: %v", len(seen), seen)
	}
	for name := range seen {
		if strings.ContainsAny(name, " \u00e9") {
			t.Errorf("%q is exported", name)
		}
	}
	for _, s := range w.spans.GetSpans() {
		if strings.Contains(s.Name, "text") || s.Name == "embeddings model-299" {
			t.Errorf("a span is called %q", s.Name)
		}
	}
}

func TestTheAnswersModelIsBounded(t *testing.T) {
	w := newWorld(t, nil)
	seen := map[string]bool{}
	for i := range 150 {
		w.first.Inject(clienttest.Fault{Body: fmt.Sprintf(`{"id":"x","model":"answer-%d","usage":{"prompt_tokens":1,"total_tokens":1}}`, i)})
		w.post(t, "embeddings", `{"model":"m","input":"x"}`)
	}
	for _, p := range points(w.metrics(t)["gen_ai.client.token.usage"]) {
		model, _ := p.attrs.Value("gen_ai.response.model")
		seen[model.AsString()] = true
	}
	if len(seen) > 101 || len(seen) < 50 || !seen["other"] {
		t.Errorf("%d names", len(seen))
	}
}

func TestBucketsAreThoseOfTheConventions(t *testing.T) {
	w := newWorld(t, nil)
	w.post(t, "chat/completions", hello+`,"stream":true,"stream_options":{"include_usage":true}}`)
	m := w.metrics(t)
	seconds := "[0.01 0.02 0.04 0.08 0.16 0.32 0.64 1.28 2.56 5.12 10.24 20.48 40.96 81.92]"
	for name, want := range map[string]string{
		"gen_ai.client.operation.duration": seconds, "gen_ai.client.operation.time_to_first_chunk": seconds,
		"gen_ai.client.operation.time_per_output_chunk": seconds, "latchkey.send.duration": seconds,
		"gen_ai.client.token.usage": "[1 4 16 64 256 1024 4096 16384 65536 262144 1.048576e+06 4.194304e+06 1.6777216e+07 6.7108864e+07]",
	} {
		if p := points(m[name]); len(p) == 0 || fmt.Sprint(p[0].bounds) != want {
			t.Errorf("%s: %+v, want %s", name, p, want)
		}
	}
}

func TestTokensAreInAndOut(t *testing.T) {
	w := newWorld(t, nil)
	w.first.Inject(clienttest.Fault{Body: `{"id":"x","model":"m-1","choices":[],"usage":{"prompt_tokens":70,"completion_tokens":9,"prompt_tokens_details":{"cached_tokens":64},"completion_tokens_details":{"reasoning_tokens":5}}}`})
	w.post(t, "chat/completions", hello+"}")
	got := map[string]float64{}
	for _, p := range points(w.metrics(t)["gen_ai.client.token.usage"]) {
		got[p.attrs.Encoded(attribute.DefaultEncoder())] = p.sum
	}
	const set = "gen_ai.operation.name=chat,gen_ai.provider.name=openai,gen_ai.request.model=gpt-6-luna,gen_ai.response.model=m-1,gen_ai.token.type=%s,server.address=api.openai.com,server.port=443"
	if len(got) != 2 || got[fmt.Sprintf(set, "input")] != 70 || got[fmt.Sprintf(set, "output")] != 9 {
		t.Errorf("%v", got)
	}
	s := w.span(t)
	if value(s.Attributes, "gen_ai.usage.cache_read.input_tokens") != "64" || value(s.Attributes, "gen_ai.usage.reasoning.output_tokens") != "5" {
		t.Errorf("%v", s.Attributes)
	}
}

func TestTheProviderIsThatOfTheAddress(t *testing.T) {
	for base, want := range map[string]string{
		"https://api.openai.com/v1/":                                  "openai api.openai.com 443",
		"https://gateway.example:8443/v1/":                            "openai gateway.example 8443",
		"http://127.0.0.1:8080/v1/":                                   "openai 127.0.0.1 8080",
		"https://x.openai.azure.com/openai/v1/":                       "azure.ai.openai x.openai.azure.com 443",
		"https://gateway.example/openai/v1/":                          "azure.ai.openai gateway.example 443",
		"https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1/":  "aws.bedrock bedrock-runtime.us-east-1.amazonaws.com 443",
		"http://127.0.0.1/v1/":                                        "openai 127.0.0.1 80",
		"https://bedrock.example/v1/":                                 "openai bedrock.example 443",
		"https://bedrock-runtime.us-east-1.amazonaws.com.evil.io/v1/": "openai bedrock-runtime.us-east-1.amazonaws.com.evil.io 443",
	} {
		w := newWorld(t, func(_ *world, cfg *client.Config, _ *telemetry.Options) { cfg.BaseURL = base })
		_, _, _ = w.post(t, "chat/completions", hello+"}")
		a := w.span(t).Attributes
		if got := value(a, "gen_ai.provider.name") + " " + value(a, "server.address") + " " + value(a, "server.port"); got != want {
			t.Errorf("%s: %s, want %s", base, got, want)
		}
	}
	w := newWorld(t, func(_ *world, _ *client.Config, opts *telemetry.Options) { opts.Provider = "groq" })
	w.post(t, "chat/completions", hello+"}")
	if got := value(w.span(t).Attributes, "gen_ai.provider.name"); got != "groq" {
		t.Errorf("the provider is %q, want that of the options", got)
	}
}

func TestADeploymentIsTheModel(t *testing.T) {
	w := newWorld(t, func(w *world, cfg *client.Config, _ *telemetry.Options) {
		w.first.SetFlavor(clienttest.AzureOpenAI)
		cfg.BaseURL, cfg.APIVersion, cfg.Deployment = "https://first.openai.azure.com/", "2024-10-21", "dep-1"
	})
	if status, answer, err := w.post(t, "chat/completions", `{"messages":[{"role":"user","content":"x"}]}`); err != nil || status != 200 {
		t.Fatal(status, answer, err)
	}
	if s := w.span(t); s.Name != "chat dep-1" || value(s.Attributes, "gen_ai.request.model") != "dep-1" {
		t.Errorf("%q, %v", s.Name, s.Attributes)
	}
}

func TestTheGaugesShowTheAgeOfTheCredential(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		now := time.Now()
		w.telemetry.OnEvent(credential.Event{Kind: credential.EventLoaded, Time: now, Source: "vault", Expires: now.Add(time.Hour)})
		w.telemetry.OnEvent(credential.Event{Kind: credential.EventLoaded, Time: now, Source: "of a tenant", Tenant: "t"})
		w.telemetry.OnEvent(credential.Event{Kind: credential.EventFailed, Time: now, Source: "failed"})
		w.telemetry.OnEvent(credential.Event{Kind: credential.EventSkipped, Time: now, Source: "skipped"})
		time.Sleep(10 * time.Second)
		w.telemetry.OnEvent(credential.Event{Kind: credential.EventStaleServed, Time: time.Now(), Age: 10 * time.Second, Source: "vault", Expires: now.Add(time.Hour)})
		time.Sleep(5 * time.Second)
		m := w.metrics(t)
		if p := points(m["latchkey.credential.age"]); len(p) != 1 || p[0].sum != 15 || p[0].attrs.Encoded(attribute.DefaultEncoder()) != "latchkey.credential.source=vault" {
			t.Errorf("age: %+v, want 15 s", p)
		}
		if p := points(m["latchkey.credential.time_to_expiry"]); len(p) != 1 || p[0].sum != 3585 {
			t.Errorf("time to expiry: %+v, want 3585 s", p)
		}
		got := map[string]float64{}
		for _, p := range points(m["latchkey.credential.events"]) {
			got[p.attrs.Encoded(attribute.DefaultEncoder())] = p.sum
		}
		if len(got) != 5 || got["latchkey.credential.source=vault,latchkey.event=stale-served"] != 1 || got["latchkey.credential.source=failed,latchkey.event=failed"] != 1 {
			t.Errorf("events: %v", got)
		}
		if err := w.telemetry.Close(); err != nil {
			t.Fatal(err)
		}
		if p := points(w.metrics(t)["latchkey.credential.age"]); len(p) != 0 {
			t.Errorf("after Close: %+v", p)
		}
	})
}

func TestAnEndpointIsHealthyUntilItCools(t *testing.T) {
	w := newWorld(t, nil)
	health := func() string {
		out := ""
		for _, p := range points(w.metrics(t)["latchkey.endpoint.healthy"]) {
			out += fmt.Sprint(p.attrs.Encoded(attribute.DefaultEncoder()), "=", p.sum)
		}
		return out
	}
	w.telemetry.OnRoute(middleware.RouteEvent{Kind: "spilled", Route: "east", Reason: "429"})
	w.telemetry.OnRoute(middleware.RouteEvent{Kind: "cooling", Route: "east", Model: "m", Reason: "404"})
	if got := health(); got != "" {
		t.Errorf("%s, and nothing is known of the endpoint as a whole", got)
	}
	w.telemetry.OnRoute(middleware.RouteEvent{Kind: "cooling", Route: "east", Reason: "connection error"})
	w.telemetry.OnRoute(middleware.RouteEvent{Kind: "probing", Route: "east"})
	if got := health(); got != "latchkey.endpoint.name=east=0" {
		t.Errorf("cooling: %s", got)
	}
	w.telemetry.OnRoute(middleware.RouteEvent{Kind: "recovered", Route: "east"})
	if got := health(); got != "latchkey.endpoint.name=east=1" {
		t.Errorf("recovered: %s", got)
	}
	if p := points(w.metrics(t)["latchkey.endpoint.events"]); len(p) != 5 {
		t.Errorf("events: %+v, want 5 kinds", p)
	}
}

func TestEventsOfLimitsAreToldApart(t *testing.T) {
	w := newWorld(t, nil)
	for _, e := range []limit.Event{
		{Limit: "l", What: "tokens", Err: limit.ErrPrice}, {Limit: "l", What: "tokens", Soft: true},
		{What: "counter", Err: limit.ErrCounter}, {What: "counter"},
	} {
		w.telemetry.OnLimit(e)
	}
	seen := map[string]bool{}
	for _, p := range points(w.metrics(t)["latchkey.limit.events"]) {
		event, _ := p.attrs.Value("latchkey.event")
		seen[event.AsString()] = true
	}
	if len(seen) != 4 || !seen["refused"] || !seen["passed"] || !seen["failed"] || !seen["back"] {
		t.Errorf("%v", seen)
	}
}

func TestNoEventMakesSeriesWithoutEnd(t *testing.T) {
	w := newWorld(t, nil)
	for i := range 500 {
		name := fmt.Sprint("name ", i)
		w.telemetry.OnEvent(credential.Event{Kind: credential.EventLoaded, Source: name, Time: time.Now()})
		w.telemetry.OnRoute(middleware.RouteEvent{Kind: "cooling", Route: name})
		w.telemetry.OnLimit(limit.Event{Limit: name, What: "tokens"})
		w.telemetry.Observe(t.Context(), &middleware.Send{Endpoint: name, Path: "/v1/" + name, Host: name + ".example", Status: 200 + i, Usage: middleware.Usage{Reported: true, Input: 1}})
	}
	for name, m := range w.metrics(t) {
		most := 101
		switch name {
		case "latchkey.send.duration":
			most = 401 // by status and endpoint; those from 600 on are none
		case "gen_ai.client.token.usage":
			most = 202 // input and output
		}
		if n := len(points(m)); n > most {
			t.Errorf("%s has %d series", name, n)
		}
	}
}

func TestEachPartWorksAlone(t *testing.T) {
	w := newWorld(t, func(w *world, cfg *client.Config, _ *telemetry.Options) {})
	only := middleware.Wrap(tripFunc(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
	}), w.telemetry.Middleware())
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://x.example/v1/responses", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := only.RoundTrip(req); err != nil {
		t.Fatal(err)
	}
	if s := w.span(t); s.Name != "chat" || value(s.Attributes, "latchkey.sends") != "0" {
		t.Errorf("%q, %v", s.Name, s.Attributes)
	}
}
