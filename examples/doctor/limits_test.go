package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
)

// An office is the part of OpenAI's API that admin keys are for.
type office struct {
	t      *testing.T
	mu     sync.Mutex
	asked  []string
	spend  string
	status int
	models []string
}

func (o *office) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked = append(o.asked, r.Method+" "+r.URL.RequestURI())
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.Header.Get("Authorization") != "Bearer sk-admin-CANARY":
		o.t.Error("another key than the admin key was sent")
	case o.status != 0:
		w.WriteHeader(o.status)
		_, _ = io.WriteString(w, `{"error":{"message":"CANARY"}}`)
	case strings.HasSuffix(r.URL.Path, "/spend_limit") && o.spend == "":
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"error":{"message":"none"}}`)
	case strings.HasSuffix(r.URL.Path, "/spend_limit"):
		_, _ = io.WriteString(w, o.spend)
	default:
		models, after := o.models, r.URL.Query().Get("after")
		for i, m := range o.models {
			if "rl-"+m == after {
				models = o.models[i+1:]
			}
		}
		more := len(models) > 1
		_, _ = fmt.Fprintf(w, `{"object":"list","has_more":%t,"data":[{"object":"project.rate_limit","id":%q,"model":%q,"max_requests_per_1_minute":500,"max_tokens_per_1_minute":200000,"max_requests_per_1_day":10000,"batch_1_day_max_input_tokens":2000000}]}`, more, "rl-"+models[0], models[0])
	}
}

// admin opens an office, and sets what leads to it.
func admin(t *testing.T) *office {
	t.Helper()
	clear(t)
	o := &office{t: t, models: []string{"gpt-4o-mini"}, spend: `{"object":"project.spend_limit","threshold_amount":10000,"currency":"USD","interval":"month","enforcement":{"status":"inactive"}}`}
	srv := httptest.NewServer(o)
	t.Cleanup(srv.Close)
	setenv(t, "OPENAI_API_KEY=sk-CANARY-1", "OPENAI_BASE_URL="+srv.URL+"/v1", "OPENAI_ADMIN_KEY=sk-admin-CANARY", "OPENAI_PROJECT_ID=proj_abc")
	return o
}

const limitsShown = `project     proj_abc
spend limit 100.00 USD a month, inactive
  gpt-4o-mini: 500 requests and 200000 tokens a minute, 10000 requests a day, 2000000 tokens of batches a day
`

func TestAnAdminKeyShowsTheLimitsOfTheProjectAndChangesNone(t *testing.T) {
	o := admin(t)
	text, code := examine(t, false)
	if code != 0 || !strings.Contains(text, "\n\n"+limitsShown+"\n") {
		t.Errorf("exit code %d:\n%s", code, text)
	}
	want := "GET /v1/organization/projects/proj_abc/spend_limit, GET /v1/organization/projects/proj_abc/rate_limits?limit=100"
	if got := strings.Join(o.asked, ", "); got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), "```text\n"+limitsShown+"```") {
		t.Error("README.md shows something else")
	}
	for _, width := range []int{40, 80} {
		text, _ := examine(t, false, fmt.Sprintf("-width=%d", width))
		fits(t, text, width)
	}
}

func TestAllPagesOfRateLimitsAreRead(t *testing.T) {
	o := admin(t)
	o.models = []string{"a", "b", "c"}
	o.spend = ""
	text, _ := examine(t, false, "-json")
	var d diagnosis
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	if d.Quota == nil || len(d.Quota.RateLimits) != 3 || d.Quota.RateLimits[2].Model != "c" || d.Quota.SpendLimit != nil || d.Quota.Problem != "" {
		t.Errorf("%+v", d.Quota)
	}
	o.models = nil
	for i := range 40 { // each page says that there are more
		o.models = append(o.models, fmt.Sprint("m", i))
	}
	o.asked = nil
	if _, _ = examine(t, false); len(o.asked) != 1+maxPages {
		t.Errorf("%d requests, want %d", len(o.asked), 1+maxPages)
	}
}

// What the service says is shown only if it is a plain word.
func TestWhatAHostileServiceSaysOfLimitsIsNotShown(t *testing.T) {
	o := admin(t)
	o.models = []string{"sk-admin-CANARY"}
	o.spend = `{"threshold_amount":-5,"currency":"\u001b[31m","interval":"a\nb","enforcement":{"status":"x sk-admin-CANARY"}}`
	text, code := examine(t, false) // which looks for the key
	if code != 0 || strings.Contains(text, "\x1b") || !strings.Contains(text, "  ?: 500 requests") {
		t.Errorf("exit code %d: %q", code, strings.ReplaceAll(text, "CANARY", "..."))
	}
}

func TestAnAdminKeyThatDoesNotDoChangesNoExitCode(t *testing.T) {
	o := admin(t)
	for status, says := range map[int]string{401: "put a valid admin key into OPENAI_ADMIN_KEY", 403: "give the admin key the right", 404: "correct OPENAI_PROJECT_ID", 418: "answers 418"} {
		o.status = status
		if text, code := examine(t, false); code != 0 || !strings.Contains(text, says) || !strings.Contains(text, "not known: the service answers") {
			t.Errorf("status %d: exit code %d:\n%s", status, code, text)
		}
	}
	o.asked = nil
	setenv(t, "OPENAI_PROJECT_ID=")
	if text, code := examine(t, false); code != 0 || !strings.Contains(text, "set OPENAI_PROJECT_ID") || len(o.asked) > 0 {
		t.Errorf("without a project: exit code %d, asked %q:\n%s", code, o.asked, text)
	}
}

func TestAnAdminKeyGoesToOpenAIOnly(t *testing.T) {
	for base, want := range map[string]bool{
		"": true, "https://api.openai.com/v1": true, "https://eu.api.openai.com/v1/": true, "https://API.OPENAI.COM/v1": true, "http://127.0.0.1:1/v1": true,
		"http://api.openai.com/v1": false, "https://gateway.example/v1": false, "https://api.openai.com.example/v1": false,
		"https://xapi.openai.com/v1": false, "https://res.openai.azure.com": false, "https://10.0.0.1/v1": false, "://": false,
	} {
		clear(t)
		setenv(t, "OPENAI_BASE_URL="+base)
		if _, ours := adminBase(); ours != want {
			t.Errorf("%s: %t", base, ours)
		}
	}
	setenv(t, "OPENAI_BASE_URL=", "AZURE_OPENAI_ENDPOINT=https://res.openai.azure.com", "OPENAI_ADMIN_KEY=sk-admin-CANARY", "AZURE_OPENAI_API_KEY=CANARY-1", "OPENAI_PROJECT_ID=p")
	if text, _ := examine(t, false); !strings.Contains(text, "not known: the endpoint is not OpenAI's, and gets no admin key") {
		t.Errorf("on Azure:\n%s", text)
	}
}

func TestWithoutAnAdminKeyNothingIsAskedOrSaid(t *testing.T) {
	o := admin(t)
	setenv(t, "OPENAI_ADMIN_KEY=")
	if text, _ := examine(t, false, "-json"); len(o.asked) > 0 || strings.Contains(text, "quota") {
		t.Errorf("asked %q:\n%s", o.asked, text)
	}
}
