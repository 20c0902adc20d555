package client_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/client"
)

// A round tripper closes the body of a request on every path.
func TestAZeroClientClosesTheBody(t *testing.T) {
	closes := 0
	req := must2(http.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.example.com/x", &closeCounter{strings.NewReader("x"), &closes}))
	if _, err := new(client.Client).HTTPClient().Do(req); err == nil {
		t.Error("no error")
	}
	if closes != 1 {
		t.Errorf("the body was closed %d times, want once", closes)
	}
}
