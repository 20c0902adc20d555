package awsextension_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/testing/awstest"
)

// wantError checks an error and that it shows no secret.
func wantError(t *testing.T, err, target error, transient bool, parts ...string) {
	t.Helper()
	if err == nil {
		t.Error("no error")
		return
	}
	text := fmt.Sprintf("%v %+v %#v", err, err, err)
	if strings.Contains(text, "CANARY") {
		t.Error("the error shows what it must not")
		return
	}
	for _, e := range []error{credential.ErrUnavailable, credential.ErrNotFound} {
		if errors.Is(err, e) != (e == target) { //nolint:errorlint // the very one
			t.Errorf("%v: wraps %v: %t", err, e, errors.Is(err, e))
		}
	}
	if se := (*credential.SourceError)(nil); !errors.As(err, &se) || se.Transient != transient {
		t.Errorf("%v: not a SourceError with Transient %t", err, transient)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v: does not say %q", err, part)
		}
	}
}

func TestErrorsAreClassifiedAndSayWhatToDo(t *testing.T) {
	const sdk = "operation error Secrets Manager: GetSecretValue, https response error StatusCode: 400, RequestID: CANARY, "
	for _, c := range []struct {
		status    int
		body      string
		target    error
		transient bool
		says      string
	}{
		{400, sdk + "ResourceNotFoundException: Secrets Manager can't find the specified secret.", credential.ErrNotFound, false, "check the name"},
		{404, `{"__type":"ResourceNotFoundException","message":"CANARY"}`, credential.ErrNotFound, false, "check the name"},
		{400, sdk + "InvalidRequestException: marked for deletion", credential.ErrNotFound, false, "restore-secret"},
		{400, sdk + "api error AccessDeniedException: CANARY is not authorized", nil, false, "allow secretsmanager:GetSecretValue on arn:aws:secretsmanager:eu-west-1:ACCOUNT:secret:prod/openai-??????"},
		{400, `{"__type":"AccessDeniedException","message":"Access to KMS is not allowed"}`, nil, false, "kms:Decrypt"},
		{400, sdk + "DecryptionFailure", nil, false, "kms:Decrypt"},
		{400, sdk + "ThrottlingException: Rate exceeded", nil, true, "throttles"},
		{400, sdk + "ExpiredTokenException", nil, true, "expired"},
		{400, sdk + "UnrecognizedClientException", nil, false, "credentials"},
		{403, "Bad Token", nil, false, "token file"},
		{401, "", nil, false, "AWS_SESSION_TOKEN"},
		{429, "Connection limit exceeded", nil, true, "MAX_CONNECTIONS"},
		{500, `{"__type":"InternalFailure"}`, nil, true, "status 500"},
		{400, "CANARY", nil, false, "status 400"},
		{307, "CANARY", nil, true, "a redirect (status 307)"},
		{200, "<html>CANARY", nil, true, "not one of the extension"},
		{200, `{}`, nil, false, "neither text nor bytes"},
		{200, `{"SecretString":"` + strings.Repeat("CANARY", 1<<18) + `"}`, nil, true, "more than 1048576 bytes"},
	} {
		t.Run(fmt.Sprint(c.status, c.says), func(t *testing.T) {
			ext := start(t)
			t.Setenv("AWS_REGION", "eu-west-1")
			ext.Fail(awstest.Fault{Status: c.status, Body: c.body, Header: http.Header{"Location": {"/elsewhere"}}})
			_, err := newSource(t, nil).Retrieve(t.Context())
			wantError(t, err, c.target, c.transient, c.says)
			if n := len(ext.Queries()); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
		})
	}
}

func TestNobodyListening(t *testing.T) {
	ext := start(t)
	closed := httptest.NewServer(ext)
	at, err := url.Parse(closed.URL)
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	t.Setenv("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", at.Port())
	_, err = newSource(t, nil).Retrieve(t.Context())
	wantError(t, err, nil, true, "no connection to localhost: connection refused", "layer")
	t.Setenv("AWS_LAMBDA_FUNCTION_NAME", "f")
	_, err = newSource(t, nil).Retrieve(t.Context())
	wantError(t, err, nil, true, "no connection to localhost: connection refused", "layer")
	for _, port := range []string{"0", "65536", "CANARY", "1/x"} {
		t.Setenv("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", port)
		_, err = newSource(t, nil).Retrieve(t.Context())
		wantError(t, err, nil, false, "not a port")
	}
}
