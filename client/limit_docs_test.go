package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
	"github.com/latchkey-go/latchkey/middleware/limit"
)

func limitDocs(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", "limits.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// endings are what the table of what stays counted is about, by its first column.
func endings() map[string]func(w http.ResponseWriter, status int) {
	says := func(body string) func(w http.ResponseWriter, status int) {
		return func(w http.ResponseWriter, status int) { answerWith(max(status, 200), body)(w) }
	}
	return map[string]func(w http.ResponseWriter, status int){
		"tells its usage":                                 says(usageChunk),
		"is a stream that tells its usage":                says(eventStream(contentChunk("a"), usageChunk, "[DONE]")),
		"does not tell its usage":                         says(`{"choices":[]}`),
		"is a stream that was cut, or left by the caller": says(eventStream(contentChunk("a"))),
		"tells seconds, and no tokens":                    says(`{"usage":{"type":"duration","seconds":9}}`),
		"400, 401, 403, 404, 422 or 429":                  says(`{"error":{}}`),
		"400 of Azure's content filter":                   says(`{"error":{"code":"content_filter"}}`),
		"408":                                             says(`{}`),
		"501 or 503":                                      says(`{}`),
		"500, 502 or 504":                                 says(`{}`),
		"does not come: the connection breaks": func(w http.ResponseWriter, _ int) {
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				_ = conn.Close()
			}
		},
		"does not come: there is no connection":   nil,
		"shows a stored response (`GET`)":         says(usageChunk),
		"is of another route that uses no tokens": says(usageChunk),
	}
}

// TestTheTableOfWhatStaysCountedHolds: docs/limits.md says what a send costs its
// limits.
func TestTheTableOfWhatStaysCountedHolds(t *testing.T) {
	all := endings()
	for _, row := range rows(t, limitDocs(t), "the answer") {
		answer, known := all[row[0]]
		if !known {
			t.Errorf("no test of %q", row[0])
			continue
		}
		delete(all, row[0])
		method, path, statuses := http.MethodPost, "chat/completions", []int{0}
		switch {
		case strings.Contains(row[0], "GET"):
			method, path = http.MethodGet, "responses/resp_1"
		case strings.Contains(row[0], "another route"):
			path = "moderations"
		}
		if numbers := regexp.MustCompile(`\d{3}`).FindAllString(row[0], -1); numbers != nil {
			statuses = nil
			for _, n := range numbers {
				status, _ := strconv.Atoi(n)
				statuses = append(statuses, status)
			}
		}
		for _, status := range statuses {
			requests, tokens, worst := ended(t, method, path, status, answer)
			request := map[int64]string{0: "no", 1: "yes"}[requests]
			use := map[int64]string{0: "nothing", 29: "what it tells", worst: "all that was reserved"}[tokens]
			if row[1] != request || row[2] != use {
				t.Errorf("%q, status %d: the request counts: %s; of tokens and cost: %s; the table says %s and %s", row[0], status, request, use, row[1], row[2])
			}
		}
	}
	for name := range all {
		t.Errorf("the table has no row for %q", name)
	}
}

// ended makes one call and returns what its limit has counted at the end.
func ended(t *testing.T, method, path string, status int, answer func(w http.ResponseWriter, status int)) (requests, tokens, worst int64) {
	t.Helper()
	l := newLimiter(t, nil, limit.Limit{Per: limit.Day, Tokens: 1e6, Requests: 100})
	cfg := client.Config{Retry: &middleware.RetryOptions{MaxRetries: -1}, DisableStreamGuard: true}
	if answer == nil {
		gone := httptest.NewServer(nil)
		cfg.BaseURL = gone.URL + "/v1/"
		gone.Close()
	}
	c := limitedClient(t, l, cfg, func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		answer(w, status)
	})
	body := chatOf("m", 100)
	_, _ = c.Do(t.Context(), method, path, body, nil)
	requests, _ = used(l, "requests")
	tokens, held := used(l, "tokens")
	if held != 0 {
		t.Errorf("%d tokens are held after the end", held)
	}
	return requests, tokens, bound(t, body)
}

// TestTheRefusalsReadAsTheDocsShow: docs/limits.md shows the texts of errors.
func TestTheRefusalsReadAsTheDocsShow(t *testing.T) {
	noon := func() time.Time { return time.Date(2026, time.December, 1, 12, 0, 0, 0, time.UTC) }
	asked := new(atomic.Int64)
	down := limit.Options{Counter: failingCounter{asked}}
	alone := limit.Options{Counter: failingCounter{asked}, Processes: 4, Fallback: 0.02}
	one := func(lim limit.Limit) []limit.Limit { lim.Name = "day"; return []limit.Limit{lim} }
	texts := map[string]string{}
	for name, test := range map[string]struct {
		opts   limit.Options
		limits []limit.Limit
		calls  int
	}{
		"no room in the window":      {limit.Options{}, one(limit.Limit{Per: limit.Day, Requests: 1, By: limit.ByTenant | limit.ByModel}), 2},
		"no room, in money":          {limit.Options{Prices: map[string]limit.Price{"*": {Input: 1, Output: 100}}}, one(limit.Limit{Per: limit.Month, Cost: 0.015}), 2},
		"larger than the limit":      {limit.Options{}, one(limit.Limit{Per: limit.Minute, Tokens: 50}), 1},
		"too many at once":           {limit.Options{}, []limit.Limit{{Name: "at once", InFlight: 1, Tenant: "acme"}}, 2},
		"no price":                   {limit.Options{Prices: map[string]limit.Price{"gpt-4o": {Input: 1, Output: 1}}}, one(limit.Limit{Per: limit.Day, Cost: 5}), 1},
		"the counter fails":          {down, one(limit.Limit{Per: limit.Day, Requests: 100}), 1},
		"it fails, the share is out": {alone, one(limit.Limit{Per: limit.Day, Requests: 100}), 3},
	} {
		test.opts.Now = noon
		l := newLimiter(t, &test.opts, test.limits...)
		c := limitedClient(t, l, client.Config{Retry: &middleware.RetryOptions{MaxRetries: -1}}, func(w http.ResponseWriter, req *http.Request) {
			_, _ = io.Copy(io.Discard, req.Body)
			answerWith(200, `{"choices":[]}`)(w)
		})
		ctx := credential.WithTenant(t.Context(), "acme")
		var held limit.Reservation
		if test.limits[0].InFlight > 0 {
			if err := l.Reserve(ctx, limit.Send{Tenant: "acme"}, &held); err != nil {
				t.Fatal(err)
			}
		}
		for range test.calls {
			_, err := c.Post(ctx, "/chat/completions", chatOf("gpt-5", 100), nil)
			if err != nil {
				texts[name] = err.Error()
			}
		}
	}
	for _, row := range rows(t, limitDocs(t), "refused for") {
		if !strings.HasSuffix(texts[row[0]], strings.Trim(row[1], "`")) || texts[row[0]] == "" {
			t.Errorf("%s: the error is\n%s\nand the docs say\n%s", row[0], texts[row[0]], row[1])
		}
		delete(texts, row[0])
	}
	for name := range texts {
		t.Errorf("the table has no row for %q", name)
	}
}

// TestTheWorkedExampleHolds: the amounts of the example in docs/limits.md.
func TestTheWorkedExampleHolds(t *testing.T) {
	const billion = 1e9
	var largest int64
	l := newLimiter(t, &limit.Options{Prices: map[string]limit.Price{"m": {Input: 2, Output: 8, CachedInput: 0.5}}}, limit.Limit{Per: limit.Day, Cost: 1})
	c := limitedClient(t, l, client.Config{}, func(w http.ResponseWriter, req *http.Request) {
		_, held := used(l, "cost")
		largest = max(largest, held)
		if req.ContentLength != 1200 {
			t.Errorf("the request has %d bytes", req.ContentLength)
		}
		answerWith(200, `{"usage":{"prompt_tokens":290,"prompt_tokens_details":{"cached_tokens":128},"completion_tokens":120}}`)(w)
	})
	body := map[string]any{"model": "m", "max_tokens": 500, "messages": ""}
	empty, _ := json.Marshal(body)
	body["messages"] = strings.Repeat("x", 1200-len(empty))
	served := int64(0)
	for ; ; served++ {
		_, err := c.Post(t.Context(), "/chat/completions", body, nil)
		if limited := (*limit.Error)(nil); errors.As(err, &limited) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	spent, held := used(l, "cost")
	docs := limitDocs(t)
	for _, want := range []string{
		fmt.Sprintf("$%.6f is reserved", float64(largest)/billion), fmt.Sprintf("$%.6f stays counted, and", float64(spent/served)/billion),
		fmt.Sprintf("%d such requests can be under way", int64(billion)/largest), fmt.Sprintf("and %d are served in a day", served),
		fmt.Sprintf("%d of those spend the dollar", int64(billion)/largest),
	} {
		if !strings.Contains(docs, want) {
			t.Errorf("docs/limits.md does not say %q", want)
		}
	}
	if held != 0 {
		t.Errorf("%d are still held", held)
	}
}

// TestTheReportsOfBudgetsNameTestsThatExist: each row is held by a test.
func TestTheReportsOfBudgetsNameTestsThatExist(t *testing.T) {
	namesTests(t, rows(t, limitDocs(t), "report"), "*_test.go", filepath.Join("..", "middleware", "redislimit", "*_test.go"))
}
