package openaiworkload_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// raw answers with bytes that need not be HTTP.
func raw(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, text)
	}
}

func TestAHostileIssuerGetsOneRequestAndGivesNoToken(t *testing.T) {
	// The issuer has the subject token, and repeats it wherever it can.
	echo := jwt(1)
	for name, c := range map[string]struct {
		handler   http.HandlerFunc
		transient bool
		part      string
	}{
		"a redirect without a place": {says(307, echo), true, "redirect"},
		"not modified":               {says(304, ""), true, "redirect"},
		"a huge body":                {says(200, granted("sk-CANARY-1", `,"x":"`+strings.Repeat("CANARY", 11<<10)+`"`)), true, "more than 65536"},
		"a huge refusal":             {says(401, strings.Repeat("CANARY", 11<<10)), true, "more than 65536"},
		"a page":                     {says(200, "<html>"+echo), true, "not a JSON object"},
		"nothing":                    {says(200, ""), true, "not a JSON object"},
		"null":                       {says(200, "null"), true, "not a JSON object"},
		"a list":                     {says(200, `["`+echo+`"]`), true, "not a JSON object"},
		"two documents":              {says(200, granted("sk-CANARY-1", "")+granted("sk-CANARY-2", "")), true, "not a JSON object"},
		"no token":                   {says(200, `{"token_type":"Bearer"}`), true, "access_token"},
		"an empty token":             {says(200, granted("", "")), true, "access_token"},
		"a token that is a number":   {says(200, `{"access_token":1}`), true, "access_token"},
		"a token that is an object":  {says(200, `{"access_token":{"a":"CANARY"}}`), true, "access_token"},
		"another type of token":      {says(200, `{"access_token":"sk-CANARY-1","token_type":"CANARY"}`), true, "token_type is not Bearer"},
		"a type that is a list":      {says(200, `{"access_token":"sk-CANARY-1","token_type":["Bearer"]}`), true, "token_type"},
		"an expiry in the past":      {says(200, granted("sk-CANARY-1", `,"expires_in":-1`)), true, "future"},
		"an expiry now":              {says(200, granted("sk-CANARY-1", `,"expires_in":0`)), true, "future"},
		"an expiry of text":          {says(200, granted("sk-CANARY-1", `,"expires_in":"900"`)), true, "whole number"},
		"an expiry of NaN":           {says(200, granted("sk-CANARY-1", `,"expires_in":NaN`)), true, "not a JSON object"},
		"an expiry beyond int64":     {says(200, granted("sk-CANARY-1", `,"expires_in":1e30`)), true, "whole number"},
		"half a second":              {says(200, granted("sk-CANARY-1", `,"expires_in":0.5`)), true, "whole number"},
		"an echo in the code":        {says(400, `{"error":"`+echo+`"}`), false, "HTTP status 400"},
		"an echo beside the code":    {says(400, `{"error":"invalid_grant","error_description":"`+echo+`","error_uri":"`+echo+`"}`), false, "invalid_grant"},
		"an echo for a status":       {raw("HTTP/1.1 2" + echo + "\r\n\r\n"), true, "not HTTP"},
		"an echo for HTTP":           {raw(echo + "\r\n\r\n"), true, "not HTTP"},
		"an echo for a header":       {raw("HTTP/1.1 200 OK\r\n" + echo + "\r\n\r\n"), true, "not HTTP"},
		"an echo for a chunk":        {raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + echo + "\r\n"), true, "not HTTP"},
		"half an answer":             {raw("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" + echo), true, "closed the connection"},
		"no answer":                  {raw(""), true, "closed the connection"},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t, c.handler)
			_, err := newSource(t, options(i.transport)).Retrieve(background)
			wantFault(t, err, c.transient, c.part)
			if n := len(i.seen()); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
		})
	}
}

func TestARedirectTakesTheSubjectTokenNowhere(t *testing.T) {
	var reached atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(elsewhere.Close)
	for _, status := range []int{300, 301, 302, 303, 307, 308} {
		for _, to := range []string{elsewhere.URL + "/CANARY", "https://auth.openai.com/oauth/token2", "::CANARY"} {
			i := newIssuer(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", to)
				w.WriteHeader(status)
			})
			_, err := newSource(t, options(i.transport)).Retrieve(background)
			if to != "::CANARY" {
				wantFault(t, err, true, "redirect")
			} else {
				wantFault(t, err, true)
			}
			if n := len(i.seen()); n != 1 || reached.Load() != 0 {
				t.Errorf("status %d: %d requests to the issuer, want 1; %d elsewhere, want 0", status, n, reached.Load())
			}
		}
	}
}
