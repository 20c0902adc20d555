package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/redact"
	"github.com/latchkey-go/latchkey/internal/redact/redacttest"
	"github.com/latchkey-go/latchkey/middleware"
)

const gatewayKey = "0123456789abcdefCANARY0123456789"

func bothSecrets() [2]credential.Secret {
	return [2]credential.Secret{credential.NewSecret(goodKey), credential.NewSecret(gatewayKey)}
}

// shows reports whether text holds one of the credentials, in any form.
func shows(text string) bool { return redact.Text(text, false, goodKey, gatewayKey) != text }

func TestWhatAnAnswerEchoesBesideItsBodyIsTakenOut(t *testing.T) {
	for _, secret := range []string{goodKey, gatewayKey} {
		for _, form := range redacttest.Forms(secret) {
			echo := form.Printable()
			resp := &http.Response{
				Status:  "400 no " + echo,
				Header:  http.Header{"X-Request-Id": {"req-1", echo}, "Location": {"https://x/?k=" + echo}, "X-Ratelimit-Limit-Requests": {echo}, "X-" + secret: {"1"}, "Date": {"now"}},
				Trailer: http.Header{"X-Trailer": {echo}},
			}
			middleware.RedactResponse(resp, bothSecrets())
			if text := fmt.Sprint(resp.Status, resp.Header, resp.Trailer); shows(text) || strings.Contains(text, "CANARY") {
				t.Errorf("%s: something shows it", form.Name)
			}
			if resp.Header.Get("X-Request-Id") != "req-1" || resp.Header.Get("Date") != "now" || len(resp.Header) != 4 {
				t.Errorf("%s: more was taken out", form.Name)
			}
		}
	}
}

func TestACleanAnswerCostsNoAllocation(t *testing.T) {
	resp := answer(nil, 200, "", "Content-Type", "application/json", "X-Request-Id", "req_0123456789abcdef0123456789abcdef", "Strict-Transport-Security", "max-age=31536000; includeSubDomains; preload",
		"Apim-Request-Id", "0f8fad5b-d9cb-469f-a165-70867728950e", "Date", "Mon, 06 Jul 2026 10:00:00 GMT")
	long := credential.NewSecret("sk-proj-CANARY" + strings.Repeat("aB3_dE-", 21))
	for _, secrets := range [][2]credential.Secret{{long, credential.NewSecret(gatewayKey)}, {long}, {}} {
		if n := testing.AllocsPerRun(100, func() { middleware.RedactResponse(resp, secrets) }); n > 1 { // the array of the test
			t.Errorf("%v allocations", n)
		}
	}
}

func TestTheBodyOfARefusalShowsNoneOfTheSecrets(t *testing.T) {
	for _, secret := range []string{goodKey, gatewayKey} {
		for _, form := range redacttest.Forms(secret) {
			resp := answer(nil, 400, `{"error":{"message":"your key is (`+form.Text+`)"}}`)
			both := bothSecrets()
			middleware.WrapErrorBody(resp, both[:]...)
			body, err := io.ReadAll(resp.Body)
			if err != nil || shows(string(body)) || !strings.Contains(string(body), "[redacted") {
				t.Errorf("%s: the body of %d bytes shows it (%v)", form.Name, len(body), err)
			}
		}
	}
}

func TestAnErrorThatQuotesASecretKeepsWhatItIs(t *testing.T) {
	for _, secret := range []string{goodKey, gatewayKey} {
		cause := &net.OpError{Op: "read " + secret, Err: os.ErrDeadlineExceeded}
		err := middleware.RedactError(fmt.Errorf("call: %w", cause), bothSecrets())
		op := (*net.OpError)(nil)
		switch {
		case shows(err.Error()) || shows(fmt.Sprintf("%+v %#v", err, err)):
			t.Error("the error shows the secret")
		case !errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.EOF):
			t.Error("it is not what it was any more")
		case errors.As(err, &op):
			t.Error("what it wraps, and what quotes the secret, can be had")
		}
		if timed, ok := err.(interface{ Timeout() bool }); !ok || !timed.Timeout() {
			t.Error("it is no timeout any more")
		}
	}
	if err := middleware.RedactError(io.EOF, bothSecrets()); err != io.EOF { //nolint:errorlint // this very value
		t.Errorf("an error without a secret became %v", err)
	}
	if err := middleware.RedactError(nil, bothSecrets()); err != nil {
		t.Errorf("no error became %v", err)
	}
	plain := middleware.RedactError(fmt.Errorf("%s: %w", goodKey, context.Canceled), bothSecrets())
	if timed, ok := plain.(interface{ Timeout() bool }); !ok || timed.Timeout() {
		t.Error("it became a timeout")
	}
}

// The colon ends the name of a header, and is a part of some credentials and of some forms.
func TestASecretAcrossTheColonOfAHeaderIsTakenOut(t *testing.T) {
	for _, c := range []struct{ secret, name, value string }{
		{"user-CANARY:pass-0001-word", "User-Canary", "pass-0001-word"},
		{"CANARY-0001", "43", "41:4e:41:52:59:2d:30:30:30:31"},
		{"CANARY-0001", "0x43", "0x41:0x4e:0x41:0x52:0x59:0x2d:0x30:0x30:0x30:0x31"},
	} {
		resp := &http.Response{Status: "200 OK", Header: http.Header{c.name: {c.value}, "Date": {"now"}}}
		middleware.RedactResponse(resp, [2]credential.Secret{credential.NewSecret(c.secret)})
		if _, left := resp.Header[c.name]; left || len(resp.Header) != 1 {
			t.Errorf("%s: the header is %q", c.name, resp.Header)
		}
	}
}
