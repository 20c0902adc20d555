package main

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
)

// A page is the service under test, and the OpenAI behind it.
type page struct {
	t      *testing.T
	url    string
	openai *clienttest.Server
	log    *strings.Builder
	mu     sync.Mutex
}

func (p *page) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func start(t *testing.T, customers string, keys ...string) *page {
	t.Helper()
	p := &page{t: t, openai: clienttest.NewServer(keys...), log: &strings.Builder{}}
	t.Cleanup(p.openai.Close)
	s, err := newService(t.TempDir(), customers, client.Config{BaseURL: p.openai.URL}, slog.New(slog.NewTextHandler(p, nil)))
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(s.handler())
	t.Cleanup(web.Close)
	p.url = web.URL
	return p
}

func (p *page) do(customer, method, path, body string) (int, string) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, strings.NewReader(body))
	if err != nil {
		p.t.Error(err)
		return 0, ""
	}
	req.SetBasicAuth(customer, "pw-"+customer)
	resp, err := (&http.Client{}).Do(req)
	if err != nil {
		p.t.Error(err)
		return 0, ""
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Error(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(text))
}

func (p *page) wants(customer, method, path, body string, status int, text string) {
	p.t.Helper()
	if code, got := p.do(customer, method, path, body); code != status || got != text {
		p.t.Errorf("%s of %s: %d %q, want %d %q", path, customer, code, got, status, text)
	}
}

const customers = "acme=pw-acme globex=pw-globex"

func TestEachCustomerIsServedWithTheirOwnKey(t *testing.T) {
	p := start(t, customers, "sk-CANARY-acme") // and globex' key is refused
	p.wants("acme", "POST", "/ask", "hello", http.StatusConflict, "bring a key first: PUT /key")
	p.wants("acme", "PUT", "/key", `"sk-CANARY-acme"`, http.StatusBadRequest, "this cannot be a key: it is in quotes")
	p.wants("acme", "PUT", "/key", "sk-CANARY-acme\n", http.StatusNoContent, "")
	p.wants("globex", "PUT", "/key", "sk-CANARY-globex", http.StatusNoContent, "")
	p.wants("acme", "POST", "/ask", "hello", http.StatusOK, "echo: hello")
	p.openai.SetJournal(true)
	p.wants("globex", "POST", "/ask", "hello", http.StatusConflict, "your key is refused: PUT /key another one")
	for _, r := range p.openai.Requests() {
		if r.KeyAccepted {
			t.Error("globex was served with a key that is not theirs")
		}
	}
	if !strings.Contains(p.log.String(), "tenant=globex") || strings.Contains(p.log.String(), "CANARY") {
		t.Error("the log does not name the tenant, or it shows a key")
	}
}

func TestANewKeyIsUsedAtOnce(t *testing.T) {
	p := start(t, customers, "sk-CANARY-1")
	p.wants("acme", "PUT", "/key", "sk-CANARY-1", http.StatusNoContent, "")
	p.wants("acme", "POST", "/ask", "hello", http.StatusOK, "echo: hello")
	p.openai.Rotate("sk-CANARY-2")
	p.wants("acme", "PUT", "/key", "sk-CANARY-2", http.StatusNoContent, "")
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() { p.wants("acme", "POST", "/ask", fmt.Sprint(i), http.StatusOK, fmt.Sprint("echo: ", i)) })
	}
	wg.Wait()
	if n := p.openai.Stats().Unauthorized; n != 0 {
		t.Errorf("%d sends with the key before", n)
	}
}

func TestStrangersAreTurnedAway(t *testing.T) {
	p := start(t, customers, "sk-CANARY-1")
	for _, who := range []string{"", "nobody", "../acme"} {
		p.wants(who, "POST", "/ask", "hello", http.StatusUnauthorized, "who are you?")
	}
	for _, bad := range []string{"", "acme", "acme=", "../acme=pw", ".=pw"} {
		if _, err := newService(t.TempDir(), bad, client.Config{}, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("customers %q were taken", bad)
		}
	}
}
