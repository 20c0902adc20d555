package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware/limit"
)

const key = "sk-CANARY-budget"

// noon is the present time of these tests.
func noon() time.Time { return time.Date(2026, time.December, 1, 12, 0, 0, 0, time.UTC) }

// open returns a service with two tenants, and the OpenAI behind it.
func open(t *testing.T, daily float64, counter limit.Counter) (*service, *clienttest.Service) {
	t.Helper()
	openai := clienttest.NewService(key)
	s, err := newService(config{
		tenants: []tenant{newTenant("acme", "pw-acme", daily), newTenant("globex", "pw-globex", daily)},
		model:   "m", price: limit.Price{Input: 2, Output: 8}, counter: counter, now: noon,
	}, client.Config{
		Transport: openai, BaseURL: "http://127.0.0.1/v1/", Source: credential.Static(credential.NewSecret(key), credential.APIKey),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, openai
}

func do(t *testing.T, s *service, tenant, method, path, body string) *http.Response {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	req.SetBasicAuth(tenant, "pw-"+tenant)
	w := httptest.NewRecorder()
	s.handler().ServeHTTP(w, req)
	return w.Result()
}

// said reads a refusal, and checks that it holds nothing that is not the tenant's
// to know.
func said(t *testing.T, resp *http.Response) (code, message string) {
	t.Helper()
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, inside := range []string{"CANARY", "latchkey", "limit", "token", "redis", "counter", "127.0.0.1", "globex", "chat/completions"} {
		if strings.Contains(strings.ToLower(string(text)), strings.ToLower(inside)) {
			t.Errorf("the refusal tells of %q", strings.ReplaceAll(inside, "CANARY", "the key"))
		}
	}
	var body struct {
		Error struct{ Code, Message string }
	}
	if err := json.Unmarshal(text, &body); err != nil || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("the refusal is no JSON: %v", err)
	}
	return body.Error.Code, body.Error.Message
}

func TestATenantIsAnsweredUntilItsBudgetIsSpent(t *testing.T) {
	s, openai := open(t, 0.005, nil)
	answered := 0
	for ; ; answered++ {
		resp := do(t, s, "acme", "POST", "/ask", "hello")
		if resp.StatusCode != http.StatusOK {
			if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") != "43200" {
				t.Errorf("status %d, Retry-After %q; want 429 and twelve hours", resp.StatusCode, resp.Header.Get("Retry-After"))
			}
			code, message := said(t, resp)
			if code != "budget_spent" || !strings.HasPrefix(message, "Of your budget of $0.00500 for today $0.00") || !strings.Contains(message, "full again in 12 hours") {
				t.Errorf("%s: %s", code, message)
			}
			break
		}
		if text, _ := io.ReadAll(resp.Body); string(text) != "echo: hello" {
			t.Fatalf("answer %q", text)
		}
	}
	sends := openai.Stats().Requests
	if answered == 0 || sends != int64(answered) {
		t.Errorf("%d answers, %d sends", answered, sends)
	}
	// Nobody else pays for it.
	if resp := do(t, s, "globex", "POST", "/ask", "hello"); resp.StatusCode != http.StatusOK {
		t.Errorf("globex: status %d", resp.StatusCode)
	}
	var a statement
	if err := json.NewDecoder(do(t, s, "acme", "GET", "/account", "").Body).Decode(&a); err != nil {
		t.Fatal(err)
	}
	// 2 tokens of input and 3 of output each.
	if want := float64(answered) * (2*2 + 3*8) / 1e6; math.Abs(a.Spent-want) > 1e-12 || a.Tokens != int64(answered)*5 || a.Calls != answered || a.Refused != 1 || a.Held != 0 {
		t.Errorf("%d answers, account %+v", answered, a)
	}
	if a.Left != a.Budget-a.Spent || a.Reset == nil || !a.Reset.Equal(noon().Add(12*time.Hour)) {
		t.Errorf("account %+v", a)
	}
}

func TestAQuestionThatNeverFitsIsNotAskedAgain(t *testing.T) {
	s, openai := open(t, 0.001, nil)
	resp := do(t, s, "acme", "POST", "/ask", "hello")
	code, message := said(t, resp)
	if resp.StatusCode != http.StatusRequestEntityTooLarge || code != "question_too_expensive" || resp.Header.Get("Retry-After") != "" || openai.Stats().Requests != 0 {
		t.Errorf("%d, %s: %s; %d sends", resp.StatusCode, code, message, openai.Stats().Requests)
	}
}

type brokenCounter struct{}

func (brokenCounter) Settle([]limit.Charge) {}

func (brokenCounter) Reserve(context.Context, []limit.Charge) (int, time.Time, error) {
	return -1, time.Time{}, errors.New("redis at 127.0.0.1 is down")
}

func TestABudgetThatCannotBeCheckedIsNotSpent(t *testing.T) {
	s, openai := open(t, 1, brokenCounter{})
	resp := do(t, s, "acme", "POST", "/ask", "hello")
	code, message := said(t, resp)
	if resp.StatusCode != http.StatusServiceUnavailable || code != "budget_unknown" || resp.Header.Get("Retry-After") == "" || openai.Stats().Requests != 0 {
		t.Errorf("%d, %s: %s; %d sends", resp.StatusCode, code, message, openai.Stats().Requests)
	}
}

func TestWhatFailsInsideIsNotTold(t *testing.T) {
	s, openai := open(t, 1, nil)
	openai.Inject(clienttest.Fault{EchoKey: true, Times: -1})
	resp := do(t, s, "acme", "POST", "/ask", "hello")
	if code, message := said(t, resp); resp.StatusCode != http.StatusBadGateway || code != "no_answer" {
		t.Errorf("%d, %s: %s", resp.StatusCode, code, message)
	}
}

func TestStrangersAreTurnedAway(t *testing.T) {
	s, openai := open(t, 1, nil)
	for _, who := range []string{"", "nobody", "acme "} {
		resp := do(t, s, who, "POST", "/ask", "hello")
		if code, _ := said(t, resp); resp.StatusCode != http.StatusUnauthorized || code != "unknown_tenant" {
			t.Errorf("%q: status %d, %s", who, resp.StatusCode, code)
		}
	}
	if n := openai.Stats().Requests; n != 0 {
		t.Errorf("%d sends", n)
	}
}

func TestTheConfigurationIsCheckedAndNotQuoted(t *testing.T) {
	for _, bad := range []string{"", "acme", "acme:1", "acme:1:", ":1:pw-CANARY", "acme:-1:pw-CANARY", "acme:pw-CANARY:1", "acme:NaN:pw-CANARY", "acme:Inf:pw-CANARY"} {
		list, err := tenants(bad)
		if err == nil {
			_, err = newService(config{tenants: list, model: "m", price: limit.Price{Input: 1, Output: 1}}, client.Config{BaseURL: "http://127.0.0.1/v1/"})
		}
		if err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%q: taken, or quoted", strings.ReplaceAll(bad, "CANARY", "..."))
		}
	}
	if list, err := tenants("acme:1:a:b globex:0.5:c"); err != nil || len(list) != 2 || list[0] != newTenant("acme", "a:b", 1) || list[1].daily != 0.5 {
		t.Errorf("%d tenants, %v", len(list), err)
	}
	for _, bad := range []string{"http://x:pw-CANARY@h", "redis://u:pw-CANARY@h:port", "redis://u:pw-CANARY@h/db", "pw-CANARY", "redis://u:pw-CANARY@h/%zz"} {
		if _, _, err := shared(bad, nil); err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%q: taken, or quoted", strings.ReplaceAll(bad, "CANARY", "..."))
		}
	}
	t.Setenv("OPENAI_API_KEY", key)
	t.Setenv("REDIS_URL", "")
	if err := run(t.Context(), nil, io.Discard); err == nil || !strings.Contains(err.Error(), "-input and -output") {
		t.Errorf("without a price: %v", err)
	}
}

func TestTheShowStaysWithinItsBudgets(t *testing.T) {
	var out strings.Builder
	if err := show(t.Context(), &out, ""); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for _, want := range []string{
		"acme asks 12 questions, 1 at a time: 12 answered\n",
		"globex asks 60 questions", "429 Too Many Requests, Retry-After: 54000", " refused\n",
		"initech asks 8 questions, 1 at a time: 5 left before the end, 3 refused\n",
		"Dec 2 00:00  globex asks 10 questions, 1 at a time: 10 answered\n",
		"acme was billed $0.00446.\n", "acme      24     0         0      864   $0.00446   $0.04554   $0.05000   Dec 2 00:00 UTC",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the show does not print %q", want)
		}
	}
	if strings.Contains(text, providerKey) || strings.Contains(text, "failed") {
		t.Error("the show prints the key, or a question failed")
	}
	if t.Failed() {
		t.Log(text)
	}
}

func TestTheShowStaysWithinItsBudgetsOnRedis(t *testing.T) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("LATCHKEY_NEED_REDIS") != "" {
			t.Fatal(err)
		}
		t.Skip("no redis-server in PATH")
	}
	if now := time.Now().UTC(); now.Add(time.Minute).Day() != now.Day() {
		t.Skip("the day ends in a minute")
	}
	dir, err := os.MkdirTemp("", "redis") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(t.Context())
	server := exec.CommandContext(ctx, "redis-server", "--port", "0", "--unixsocket", filepath.Join(dir, "s"), "--dir", dir, "--save", "")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Wait() }()
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for _, err := os.Stat(filepath.Join(dir, "s")); err != nil; _, err = os.Stat(filepath.Join(dir, "s")) {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("no Redis")
		}
	}
	var out strings.Builder
	if err := show(t.Context(), &out, "unix://"+filepath.Join(dir, "s")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"12 answered\n", "5 left before the end, 3 refused\n", "$0.00446", "others that share the Redis"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the show does not print %q:\n%s", want, &out)
		}
	}
}
