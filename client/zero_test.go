package client_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/client"
)

func TestAZeroClientReturnsAnErrorFromEveryMethod(t *testing.T) {
	clearEnv(t)
	var c client.Client
	for name, call := range map[string]func() error{
		"Post": func() error { _, err := c.Post(t.Context(), "x", nil, nil); return err },
		"Do":   func() error { _, err := c.Do(t.Context(), http.MethodGet, "x", nil, nil); return err },
		"Stream": func() error {
			for _, err := range c.Stream(t.Context(), "x", nil) {
				if err != nil {
					return err
				}
			}
			return nil
		},
		"Warm": func() error { return c.Warm(t.Context()) },
		"HTTPClient": func() error {
			resp, err := c.HTTPClient().Do(must2(http.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.example.com/x", strings.NewReader("x"))))
			if err == nil {
				_ = resp.Body.Close()
			}
			return err
		},
	} {
		if err := call(); err == nil || !strings.Contains(err.Error(), "client.New") {
			t.Errorf("%s: %v; want an error that says what to do", name, err)
		}
	}
	if len(c.Options()) == 0 {
		t.Error("there are no Options that turn the SDK's own key and retries off")
	}
	c.HTTPClient().CloseIdleConnections()
	if got := c.String(); got == "" || strings.Contains(got, "nil") {
		t.Errorf("String is %q", got)
	}
	if got := c.BaseURL(); got != "" {
		t.Errorf("BaseURL is %q, want none", got)
	}
}
