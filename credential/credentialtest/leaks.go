package credentialtest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// What stores hold by mistake. No fragment of it may turn up in an error.
var oddSecrets = map[string]string{
	"empty":            "",
	"CRLF inside":      "sk-CANARY\r\nX-CANARY: injected",
	"not ASCII":        "sk-CANARY-\u00e9\ufeff",
	"64 KiB":           strings.Repeat("sk-CANARY-", 6554),
	"white space":      "sk CANARY",
	"a JSON document":  `{"apiKey":"sk-CANARY"`,
	"in quotes":        `"sk-CANARY"`,
	"a lone newline":   "\n",
	"control byte":     "sk-CANARY-\x01\x7f",
	"a CANARY in UTF8": "\u3042CANARY",
}

func testOddSecrets(t *testing.T, cfg Config) {
	for name, secret := range oddSecrets {
		h := cfg.New(t, secret)
		_, err := retrieve(t, context.Background(), h.Source)
		checkError(t, err, secret)
		// A source may leave the check to the cache, which must not be fooled.
		_, err = retrieve(t, context.Background(), newCache(t, h.Source, nil))
		if err == nil {
			t.Errorf("a secret that is odd (%s) went through a cache", name)
		}
		checkError(t, err, secret)
	}
}

func testPrinting(t *testing.T, cfg Config) {
	h := cfg.New(t, firstSecret)
	v, err := retrieve(t, context.Background(), h.Source)
	if err != nil {
		t.Fatalf("Retrieve: %v", err)
	}
	type hidden struct{ x any }
	for name, x := range map[string]any{"source": h.Source, "value": v} {
		for _, x := range []any{x, &x, hidden{x}, &hidden{x}, []any{x}, map[string]any{"k": x}} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
				if leaks(fmt.Sprintf(verb, x), firstSecret) {
					t.Errorf("%s of the %s in a %T shows the secret", verb, name, x)
				}
			}
			if b, err := json.Marshal(x); err == nil && leaks(string(b), firstSecret) {
				t.Errorf("the JSON of the %s in a %T shows the secret", name, x)
			}
		}
	}
}

// checkError checks that err and the errors it wraps do not show the secret.
func checkError(t *testing.T, err error, secret string) {
	t.Helper()
	if err == nil {
		return
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%q"} {
		if leaks(fmt.Sprintf(verb, err), secret) {
			t.Errorf("%s of the error shows the secret", verb)
		}
	}
	switch e := err.(type) { //nolint:errorlint // each layer in turn
	case interface{ Unwrap() error }:
		checkError(t, e.Unwrap(), secret)
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			checkError(t, err, secret)
		}
	}
}

// leaks reports whether text shows the secret or a good part of it.
func leaks(text, secret string) bool {
	if strings.Contains(text, "CANARY") || strings.Contains(text, fmt.Sprintf("%x", "CANARY")) {
		return true
	}
	return len(secret) >= 8 && strings.Contains(text, secret)
}
