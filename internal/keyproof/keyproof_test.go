package keyproof_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/keyproof"
	"github.com/latchkey-go/latchkey/rotation"
)

const key = "sk-CANARY-1"

var errForbidden = errors.New("forbidden")

func ask(t *testing.T, forbidden error, send func(*http.Request) (*http.Response, error)) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.example.com/models", nil)
	if err != nil {
		t.Fatal(err)
	}
	return keyproof.Ask(send, req, credential.NewSecret(key), forbidden)
}

func TestTheStatusOfAnAnswerProvesAKeyOrRefusesIt(t *testing.T) {
	for _, tc := range []struct {
		status          int
		forbidden, want error
		other           bool
	}{
		{status: 200},
		{status: 204},
		{status: 429},
		{status: 401, want: rotation.ErrNotAccepted},
		{status: 403},
		{status: 403, forbidden: errForbidden, want: errForbidden},
		{status: 302, other: true},
		{status: 404, other: true},
		{status: 500, other: true},
	} {
		closed := &body{Reader: strings.NewReader("{}")}
		err := ask(t, tc.forbidden, func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: tc.status, Body: closed}, nil
		})
		if tc.other {
			if err == nil || errors.Is(err, rotation.ErrNotAccepted) {
				t.Errorf("%d: %v, want another error", tc.status, err)
			}
		} else if !errors.Is(err, tc.want) {
			t.Errorf("%d: %v, want %v", tc.status, err, tc.want)
		}
		if closed.Len() != 0 || !closed.closed {
			t.Errorf("%d: the body is not read to its end and closed", tc.status)
		}
	}
}

type body struct {
	*strings.Reader
	closed bool
}

func (b *body) Close() error { b.closed = true; return nil }

func TestAnErrorThatHoldsTheKeyIsNotPassedOn(t *testing.T) {
	for _, text := range []string{"malformed header " + key, "connection refused"} {
		cause := errors.New(text)
		err := ask(t, nil, func(*http.Request) (*http.Response, error) { return nil, cause })
		if err == nil || strings.Contains(err.Error(), key) {
			t.Error("no error, or one that holds the key")
		}
		if errors.Is(err, cause) == strings.Contains(text, key) {
			t.Errorf("the cause is passed on: %t", errors.Is(err, cause))
		}
	}
}
