package clienttest_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"mime/multipart"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/client/clienttest"
)

func TestEachRouteAnswersInTheFormOfTheService(t *testing.T) {
	svc := clienttest.NewService(key1)
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		want                     []string
	}{
		{"chat echoes the last user message", "POST", chatPath, chatBody, 200, []string{`"object":"chat.completion"`, `"content":"echo: one two"`, `"total_tokens":`}},
		{"chat joins content parts", "POST", chatPath, `{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},{"role":"assistant","content":null}]}`, 200, []string{`"content":"echo: ab"`}},
		{"chat without messages", "POST", chatPath, `{"model":"m"}`, 400, []string{`"param":"messages"`}},
		{"chat without a model", "POST", chatPath, `{"messages":[]}`, 400, []string{"model parameter"}},
		{"broken JSON", "POST", chatPath, `{"model":`, 400, []string{"could not parse the JSON body", `"type":"invalid_request_error"`, `"code":null`}},
		{"wrong type", "POST", chatPath, `{"model":5}`, 400, []string{`"param":"model"`, `"code":"invalid_type"`}},
		{"responses with a string", "POST", "/v1/responses", `{"model":"m","input":"hi"}`, 200, []string{`"object":"response"`, `"text":"echo: hi"`, `"status":"completed"`}},
		{"responses with items", "POST", "/v1/responses", `{"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":"yo"}]}]}`, 200, []string{`"text":"echo: yo"`}},
		{"responses without input", "POST", "/v1/responses", `{"model":"m"}`, 400, []string{`"param":"input"`}},
		{"responses with a number", "POST", "/v1/responses", `{"model":"m","input":5}`, 400, []string{`"code":"invalid_type"`}},
		{"completions", "POST", "/v1/completions", `{"model":"m","prompt":"p"}`, 200, []string{`"object":"text_completion"`, `"text":"echo: p"`}},
		{"completions in a stream", "POST", "/v1/completions", `{"model":"m","prompt":["p"],"stream":true}`, 200, []string{"data: {", "data: [DONE]\n\n"}},
		{"embeddings of tokens", "POST", "/v1/embeddings", `{"model":"m","input":[1,2]}`, 200, []string{`"index":0`, `"object":"list"`}},
		{"embeddings of nothing", "POST", "/v1/embeddings", `{"model":"m","input":[]}`, 400, []string{`"param":"input"`}},
		{"models", "GET", "/v1/models", "", 200, []string{`"object":"list"`, `"id":"gpt-4o"`}},
		{"a model", "GET", "/v1/models/gpt-4o", "", 200, []string{`"id":"gpt-4o"`}},
		{"no such model", "GET", "/v1/models/x", "", 404, []string{`"code":"model_not_found"`}},
		{"no such file", "GET", "/v1/files/file-x", "", 404, []string{"No such File object"}},
		{"no form", "POST", "/v1/files", "{}", 400, []string{"multipart/form-data"}},
		{"unknown", "GET", "/v1/nothing", "", 404, []string{"Invalid URL (GET /v1/nothing)", `"code":null`}},
		{"of another flavor", "POST", "/openai/v1/chat/completions", chatBody, 404, []string{"Invalid URL"}},
		{"wrong method", "GET", chatPath, "", 405, []string{`"code":"method_not_supported"`}},
		{"wrong method for one model", "POST", "/v1/models/gpt-4o", "", 405, []string{`"code":"method_not_supported"`}},
		{"realtime without an upgrade", "GET", "/v1/realtime", "", 426, []string{"WebSocket"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := svc.Stats()
			a := mustSend(t, svc, newRequest(t, c.method, base+c.path, c.body, "Authorization: Bearer "+key1))
			if a.status != c.status {
				t.Errorf("status %d, want %d", a.status, c.status)
			}
			for _, want := range c.want {
				if !strings.Contains(a.body, want) {
					t.Errorf("body %s\nlacks %s", a.body, want)
				}
			}
			if stream := strings.Contains(c.body, `"stream":true`); !stream && !json.Valid([]byte(a.body)) {
				t.Errorf("not JSON: %s", a.body)
			}
			if (a.status == 405) != (a.header.Get("Allow") != "") {
				t.Error("a 405, and only a 405, has an Allow header")
			}
			if a.header.Get("X-Request-Id") == "" || a.header.Get("X-Ratelimit-Remaining-Requests") == "" {
				t.Error("request id or rate limits are missing")
			}
			if ok := svc.Stats().OK - before.OK; (ok == 1) != (c.status == 200) {
				t.Errorf("counted %d successes for a %d", ok, c.status)
			}
		})
	}
}

func TestRootsAnswerWithoutAKey(t *testing.T) {
	svc := clienttest.NewService()
	for _, path := range []string{"", "/", "/v1", "/v1/", "/openai/v1/"} {
		for _, method := range []string{"GET", "HEAD"} {
			a := mustSend(t, svc, newRequest(t, method, base+path, ""))
			if a.status != 200 || (method == "HEAD") != (a.body == "") {
				t.Errorf("%s %q: %d with %d bytes", method, path, a.status, len(a.body))
			}
		}
		if a := mustSend(t, svc, newRequest(t, "POST", base+path, "")); a.status != 401 {
			t.Errorf("POST %q: %d", path, a.status)
		}
	}
}

func TestAPrefixBelongsToItsFlavor(t *testing.T) {
	for _, c := range []struct {
		flavor clienttest.Flavor
		path   string
		status int
	}{
		{clienttest.OpenAI, chatPath, 200},
		{clienttest.AzureOpenAI, chatPath, 200},
		{clienttest.AzureOpenAI, "/openai/v1/chat/completions", 200},
		{clienttest.AzureOpenAI, "/openai/deployments/dep/chat/completions?api-version=2024-10-21", 200},
		{clienttest.AzureOpenAI, "/openai/deployments/dep/chat/completions", 404},
		{clienttest.AzureOpenAI, "/openai/deployments//chat/completions?api-version=1", 404},
		{clienttest.AzureOpenAI, "/openai/models?api-version=1", 405},
		{clienttest.AzureOpenAI, "/team/openai/v1/chat/completions", 404},
		{clienttest.APIM, "/team/openai/v1/chat/completions", 200},
		{clienttest.APIM, "/team/openai/deployments/dep/chat/completions?api-version=1", 200},
		{clienttest.APIM, "/team/v1/chat/completions", 200},
		{clienttest.APIM, "/team/chat/completions", 404},
	} {
		svc := clienttest.NewService(key1)
		svc.SetFlavor(c.flavor)
		req := newRequest(t, "POST", base+c.path, `{"messages":[{"role":"user","content":"x"}],"model":"m"}`,
			"Authorization: Bearer "+key1, "Ocp-Apim-Subscription-Key: "+key1)
		if a := mustSend(t, svc, req); a.status != c.status {
			t.Errorf("flavor %d, %s: %d, want %d", c.flavor, c.path, a.status, c.status)
		}
	}
}

func TestADeploymentIsTheModel(t *testing.T) {
	svc := clienttest.NewService(key1)
	svc.SetFlavor(clienttest.AzureOpenAI)
	a := mustSend(t, svc, newRequest(t, "POST", base+"/openai/deployments/dep/chat/completions?api-version=1", `{"messages":[{"role":"user","content":"x"}]}`, "api-key: "+key1))
	if !strings.Contains(a.body, `"model":"dep"`) || a.header.Get("Apim-Request-Id") == "" {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// events returns the data of each event.
func events(body string) (names, data []string) {
	for e := range strings.SplitSeq(strings.TrimSuffix(body, "\n\n"), "\n\n") {
		name, d := "", ""
		for line := range strings.SplitSeq(e, "\n") {
			if v, ok := strings.CutPrefix(line, "event: "); ok {
				name = v
			}
			if v, ok := strings.CutPrefix(line, "data: "); ok {
				d = v
			}
		}
		names, data = append(names, name), append(data, d)
	}
	return names, data
}

func TestAChatStreamAddsUpAndEndsWithDone(t *testing.T) {
	for _, p := range places(t) {
		for _, usage := range []bool{false, true} {
			body := fmt.Sprintf(`{"model":"m","stream":true,"stream_options":{"include_usage":%t},"messages":[{"role":"user","content":"one \"two\" drei ü"}]}`, usage)
			a := mustSend(t, p.rt, p.post(t, chatPath, body))
			_, data := events(a.body)
			got, finish, counted, last := "", "", 0, len(data)-1
			for _, d := range data[:last] {
				var c struct {
					Choices []struct {
						Delta        struct{ Content string }
						FinishReason string `json:"finish_reason"`
					}
					Usage *struct {
						Total int `json:"total_tokens"`
					}
				}
				if err := json.Unmarshal([]byte(d), &c); err != nil {
					t.Fatalf("%s: %v in %s", p.name, err, d)
				}
				if len(c.Choices) == 1 {
					got += c.Choices[0].Delta.Content
					finish += c.Choices[0].FinishReason
				}
				if c.Usage != nil && c.Usage.Total > 0 {
					counted++
				}
			}
			if data[last] != "[DONE]" || got != `echo: one "two" drei ü` || finish != "stop" || (counted == 1) != usage || len(data) < 6 {
				t.Errorf("%s, usage %t: %q, finish %q, %d usages, end %q", p.name, usage, got, finish, counted, data[last])
			}
			if ct := a.header.Get("Content-Type"); !strings.HasPrefix(ct, "text/event-stream") {
				t.Errorf("%s: %s", p.name, ct)
			}
		}
	}
}

func TestAResponsesStreamEndsWithResponseCompleted(t *testing.T) {
	svc := clienttest.NewService(key1)
	a := mustSend(t, svc, newRequest(t, "POST", base+"/v1/responses", `{"model":"m","stream":true,"input":"one two"}`, "Authorization: Bearer "+key1))
	names, data := events(a.body)
	text := ""
	for i, d := range data {
		var e struct {
			Type     string
			Sequence int `json:"sequence_number"`
			Delta    string
			Response struct{ Status string }
		}
		if err := json.Unmarshal([]byte(d), &e); err != nil || e.Type != names[i] || e.Sequence != i {
			t.Fatalf("event %d %s: %v in %s", i, names[i], err, d)
		}
		text += e.Delta
		if done := i == len(data)-1; done != (e.Type == "response.completed") || done != (e.Response.Status == "completed") {
			t.Errorf("event %d of %d is %s", i, len(data), d)
		}
	}
	if text != "echo: one two" {
		t.Errorf("the deltas are %q", text)
	}
}

func TestEmbeddingsAreTheSameInBothEncodings(t *testing.T) {
	svc := clienttest.NewService(key1)
	get := func(format string, v any) {
		body := `{"model":"m","input":["a","b"],"dimensions":16,"encoding_format":"` + format + `"}`
		a := mustSend(t, svc, newRequest(t, "POST", base+"/v1/embeddings", body, "Authorization: Bearer "+key1))
		if err := json.Unmarshal([]byte(a.body), v); err != nil {
			t.Fatalf("%s: %v in %s", format, err, a.body)
		}
	}
	var floats struct {
		Data []struct{ Embedding []float32 }
	}
	var packed struct{ Data []struct{ Embedding string } }
	get("float", &floats)
	get("base64", &packed)
	for i, d := range packed.Data {
		raw, err := base64.StdEncoding.DecodeString(d.Embedding)
		if err != nil || len(raw) != 4*16 || len(floats.Data[i].Embedding) != 16 {
			t.Fatalf("vector %d: %d bytes, %d floats, %v", i, len(raw), len(floats.Data[i].Embedding), err)
		}
		for j, f := range floats.Data[i].Embedding {
			if got := math.Float32frombits(binary.LittleEndian.Uint32(raw[4*j:])); got != f {
				t.Errorf("vector %d, number %d: %v and %v", i, j, got, f)
			}
		}
	}
	if len(packed.Data) != 2 || packed.Data[0] == packed.Data[1] {
		t.Error("two inputs must have two vectors")
	}
}

func TestAFileHasTheSizeThatWasSent(t *testing.T) {
	content := bytes.Repeat([]byte("x"), 300_001)
	form := func(fields ...string) (string, string) {
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		for _, f := range fields {
			if f == "file" {
				part, _ := w.CreateFormFile("file", "a \"b\".jsonl")
				part.Write(content)
				continue
			}
			w.WriteField(f, "batch")
		}
		w.Close()
		return b.String(), "Content-Type: " + w.FormDataContentType()
	}
	for _, p := range places(t) {
		body, contentType := form("purpose", "file")
		req := newRequest(t, "POST", p.origin+"/v1/files", body, "Authorization: Bearer "+key1, contentType)
		a := mustSend(t, p.rt, req)
		var f struct {
			ID, Filename, Purpose string
			Bytes                 int
		}
		if err := json.Unmarshal([]byte(a.body), &f); err != nil || f.Bytes != len(content) || f.Purpose != "batch" || f.Filename != `a "b".jsonl` {
			t.Fatalf("%s: %v in %s", p.name, err, a.body)
		}
		again := mustSend(t, p.rt, newRequest(t, "GET", p.origin+"/v1/files/"+f.ID, "", "Authorization: Bearer "+key1))
		if again.status != 200 || again.body != a.body {
			t.Errorf("%s: then %d %s", p.name, again.status, again.body)
		}
		for _, missing := range []string{"file", "purpose"} {
			body, contentType := form(missing)
			if a := mustSend(t, p.rt, newRequest(t, "POST", p.origin+"/v1/files", body, "Authorization: Bearer "+key1, contentType)); a.status != 400 {
				t.Errorf("%s: only %s: %d", p.name, missing, a.status)
			}
		}
	}
}

func TestABodyOver32MiBIsRefused(t *testing.T) {
	svc := clienttest.NewService(key1)
	for n, want := range map[int]int{32 << 20: 400, 32<<20 + 1: 413} { // blanks are not JSON
		if a := mustSend(t, svc, newRequest(t, "POST", base+chatPath, strings.Repeat(" ", n), "Authorization: Bearer "+key1)); a.status != want {
			t.Errorf("%d bytes: %d, want %d", n, a.status, want)
		}
	}
}
