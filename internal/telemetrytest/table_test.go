package telemetrytest

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/middleware/telemetry"
)

var update = flag.Bool("update", false, "write the table into docs/telemetry.md")

// An api is one of those that the table is about. Its bodies carry canaries
// wherever the API takes a text.
type api struct {
	short, path, body string
	streams           bool
	filtered          string // the answer of OpenAI that the content filter has cut
}

var apis = []api{
	{"C", "chat/completions", `{"model":"gpt-6-luna","messages":[{"role":"user","content":"CANARY prompt"}],"stop":["CANARY"],"user":"CANARY","metadata":{"model":"CANARY"},"temperature":0.1,"max_tokens":9,"top_p":0.5,"seed":7,"n":2,"frequency_penalty":0.5,"presence_penalty":0.5,"service_tier":"flex","response_format":{"type":"json_object"}`, true, `{"id":"chatcmpl-1","model":"gpt-6-luna","choices":[{"finish_reason":"content_filter","message":{"content":"CANARY"}}],"usage":{"prompt_tokens":1,"completion_tokens":2}}`},
	{"R", "responses", `{"model":"gpt-6-luna","input":"CANARY prompt","instructions":"CANARY","user":"CANARY","temperature":0.1,"top_p":0.5,"max_output_tokens":9,"service_tier":"flex","text":{"format":{"type":"json_schema","name":"CANARY"}}`, true, `{"id":"resp_1","object":"response","model":"gpt-6-luna","status":"incomplete","incomplete_details":{"reason":"content_filter"},"output":[],"usage":{"input_tokens":1,"output_tokens":2}}`},
	{"E", "embeddings", `{"model":"text-embedding-3","input":"CANARY prompt","user":"CANARY","dimensions":256,"encoding_format":"float"`, false, ""},
	{"T", "completions", `{"model":"gpt-6-luna","prompt":"CANARY prompt","user":"CANARY","stop":["CANARY"],"temperature":0.1,"max_tokens":9,"top_p":0.5,"seed":7,"n":2,"frequency_penalty":0.5,"presence_penalty":0.5`, true, `{"id":"cmpl-1","model":"gpt-6-luna","choices":[{"finish_reason":"content_filter","text":"CANARY"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}`},
}

const blocked = `{"error":{"code":"content_filter","message":"CANARY","innererror":{"code":"ResponsibleAIPolicyViolation","content_filter_result":{"violence":{"filtered":true,"severity":"medium"}}}}}`

var outcomes = []string{"JSON", "stream", "error", "cut", "content filter", "replay", "retry", "failover"}

// play makes one call with one outcome, and returns what was exported.
func play(t *testing.T, a api, azure bool, outcome string) *world {
	t.Helper()
	w := newWorld(t, func(w *world, cfg *client.Config, _ *telemetry.Options) {
		second := "https://second.example/v1/"
		if azure {
			w.first.SetFlavor(clienttest.AzureOpenAI)
			w.second.SetFlavor(clienttest.AzureOpenAI)
			cfg.BaseURL, second = "https://first.openai.azure.com/openai/v1/", "https://second.openai.azure.com/openai/v1/"
		}
		if outcome == "failover" {
			cfg.Name, cfg.Fallbacks = "first", []client.Endpoint{{Name: "second", BaseURL: second, Source: w.source()}}
		}
	})
	stream := outcome == "stream" || outcome == "cut" && a.streams
	switch outcome {
	case "error":
		w.first.Inject(clienttest.Fault{EchoKey: true, Status: http.StatusBadRequest})
	case "cut":
		w.first.Inject(clienttest.Fault{ResetAfter: 3})
	case "content filter":
		f := clienttest.Fault{Body: a.filtered}
		if azure || a.filtered == "" {
			f = clienttest.Fault{Status: http.StatusBadRequest, Body: blocked}
		}
		w.first.Inject(f)
	case "replay":
		w.post(t, "embeddings", `{"model":"warm","input":"up"}`) // the first key is in use
		w.spans.Reset()
		w.metrics(t)
		w.first.Rotate(secondKey)
		w.setKey(secondKey)
	case "retry":
		w.first.Inject(clienttest.Overloaded.Fault())
	case "failover":
		w.first.Inject(clienttest.Fault{Status: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {"20"}}})
	}
	body := a.body + "}"
	if stream {
		body = a.body + `,"stream":true`
		if a.short != "R" {
			body += `,"stream_options":{"include_usage":true}`
		}
		body += "}"
	}
	path := a.path
	if outcome == "error" {
		path += "?trace=CANARY"
	}
	status, _, err := w.post(t, path, body)
	failed := err != nil || status >= 300
	if want := outcome == "error" || outcome == "cut" || outcome == "content filter" && (azure || a.filtered == ""); failed != want {
		t.Fatalf("%s, %s: %d, %v", a.path, outcome, status, err)
	}
	return w
}

// exported lists the names that w has exported.
func exported(t *testing.T, w *world) []string {
	t.Helper()
	names := map[string]bool{}
	for _, s := range w.spans.GetSpans() {
		for _, a := range s.Attributes {
			names["span\x00"+string(a.Key)] = true
		}
		for _, e := range s.Events {
			for _, a := range e.Attributes {
				names["event\x00"+string(a.Key)] = true
			}
		}
	}
	for name := range w.metrics(t) {
		names["metric\x00"+name] = true
	}
	return slices.Collect(maps.Keys(names))
}

// dump is all that w has exported, as text.
func dump(t *testing.T, w *world) string {
	t.Helper()
	spans, err := json.Marshal(w.spans.GetSpans())
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s %+v %+v", spans, w.spans.GetSpans(), w.metrics(t))
}

// TestTheTableOfTheDocumentHolds plays each outcome of each API at both services.
// What is exported is what docs/telemetry.md says, and there is no canary in it.
func TestTheTableOfTheDocumentHolds(t *testing.T) {
	cells := map[string]map[string][2]string{} // by name and outcome: the APIs of OpenAI and of Azure
	for _, outcome := range outcomes {
		for _, a := range apis {
			if outcome == "stream" && !a.streams {
				continue
			}
			for service := range 2 {
				var names []string
				var all string
				synctest.Test(t, func(t *testing.T) {
					w := play(t, a, service == 1, outcome)
					names, all = exported(t, w), dump(t, w)
				})
				if strings.Contains(all, "CANARY") || strings.Contains(all, "echo:") {
					t.Errorf("%s of %s, service %d: a canary was exported", outcome, a.path, service)
				}
				for _, name := range names {
					if cells[name] == nil {
						cells[name] = map[string][2]string{}
					}
					c := cells[name][outcome]
					c[service] += a.short
					cells[name][outcome] = c
				}
			}
		}
	}
	got := render(cells)
	const file, begin, end = "../../docs/telemetry.md", "<!-- begin of the generated table -->\n", "<!-- end of the generated table -->\n"
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(doc), begin)
	table, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", file)
	}
	if *update {
		if err := os.WriteFile(file, []byte(before+begin+got+end+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if table != got {
		t.Errorf("the table of %s is not what is exported: run this test with -update. It is now\n%s", file, got)
	}
}

func render(cells map[string]map[string][2]string) string {
	var b strings.Builder
	for _, kind := range [...]struct{ prefix, title string }{{"span\x00", "Attribute of the span"}, {"event\x00", "Attribute of an event"}, {"metric\x00", "Metric"}} {
		fmt.Fprintf(&b, "\n| %s | %s |\n|---%s|\n", kind.title, strings.Join(outcomes, " | "), strings.Repeat("|---", len(outcomes)))
		for _, name := range slices.Sorted(maps.Keys(cells)) {
			short, ok := strings.CutPrefix(name, kind.prefix)
			if !ok {
				continue
			}
			fmt.Fprintf(&b, "| `%s`", short)
			for _, outcome := range outcomes {
				b.WriteString(" | " + cell(cells[name][outcome], outcome))
			}
			b.WriteString(" |\n")
		}
	}
	b.WriteString("\n")
	return b.String()
}

// cell says for which APIs something is exported.
func cell(is [2]string, outcome string) string {
	all := "CRET"
	if outcome == "stream" {
		all = "CRT"
	}
	short := func(apis string) string {
		switch apis {
		case all:
			return "all"
		case "":
			return "-"
		}
		return apis
	}
	if is[0] == is[1] {
		return short(is[0])
	}
	return short(is[0]) + ", Azure " + short(is[1])
}
