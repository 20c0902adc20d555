package openaiworkload_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/openaiworkload"
	"github.com/latchkey-go/latchkey/internal/platform"
	"github.com/latchkey-go/latchkey/internal/platform/platformtest"
)

var errRefusing = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}

// subject returns the answer of a metadata service with a token.
func subject(from string) *http.Response {
	if from == "gcp" {
		return response(200, jwt(1), "Metadata-Flavor", "Google")
	}
	return response(200, `{"access_token":"`+jwt(1)+`","token_type":"Bearer"}`)
}

// asked is a source of that platform. The n-th question to its service, from 1
// on, gets what answer returns; nil is a token.
func asked(t *testing.T, from string, answer func(n int, r *http.Request) (*http.Response, error)) (src *openaiworkload.Source, n *int) {
	t.Helper()
	n = new(int)
	o := openaiworkload.Options{IdentityProviderID: "idp_1", ServiceAccountID: "sa_1", From: from}
	if from != "gcp" {
		o.Audience = "api://openai"
	}
	o.Transport = memory(func(r *http.Request) (*http.Response, error) {
		if r.URL.Host == "auth.openai.com" {
			return response(200, granted("sk-CANARY-1", "")), nil
		}
		*n++
		if resp, err := answer(*n, r); resp != nil || err != nil {
			return resp, err
		}
		return subject(from), nil
	})
	return newSource(t, o), n
}

var machineOf = map[string]string{"azure-imds": "azure", "gcp": "google"}

func TestAMachineThatIsKnownIsAskedUntilItAnswers(t *testing.T) {
	for from, machine := range machineOf {
		for name, answer := range map[string]func(int, *http.Request) (*http.Response, error){
			"at once": func(int, *http.Request) (*http.Response, error) { return nil, nil },
			"after a refusal": func(n int, _ *http.Request) (*http.Response, error) {
				if n == 1 {
					return nil, errRefusing
				}
				return nil, nil
			},
			"when it is up": func(n int, _ *http.Request) (*http.Response, error) {
				if n < 5 {
					return response(503, "CANARY"), nil
				}
				return nil, nil
			},
			"slowly": func(_ int, _ *http.Request) (*http.Response, error) {
				time.Sleep(4 * time.Second)
				return nil, nil
			},
		} {
			clearEnv(t)
			synctest.Test(t, func(t *testing.T) {
				src, n := asked(t, from, answer)
				ctx, cancel := context.WithTimeout(platform.On(t.Context(), platformtest.Machine(t, machine)), 10*time.Second)
				defer cancel()
				if _, err := src.Retrieve(ctx); err != nil {
					t.Errorf("%s, %s: after %d questions: %v", from, name, *n, err)
				}
			})
		}
	}
}

func TestAKnownMachineThatDoesNotAnswerIsAnErrorInTime(t *testing.T) {
	for from, machine := range machineOf {
		clearEnv(t)
		synctest.Test(t, func(t *testing.T) {
			src, n := asked(t, from, func(int, *http.Request) (*http.Response, error) { return nil, errRefusing })
			ctx, cancel := context.WithTimeout(platform.On(t.Context(), platformtest.Machine(t, machine)), 10*time.Second)
			defer cancel()
			_, err := src.Retrieve(ctx)
			wantFault(t, err, true, "169.254.169.254", "it is asked because")
			if errors.Is(err, credential.ErrUnavailable) || ctx.Err() != nil || *n < 4 {
				t.Errorf("%s: after %d questions: %v", from, *n, err)
			}
		})
	}
}

func TestAMachineOfAnotherKindIsNotAsked(t *testing.T) {
	for from, machine := range machineOf {
		for _, other := range []string{"azure", "google", "ec2", "laptop"} {
			if other == machine {
				continue
			}
			clearEnv(t)
			src, n := asked(t, from, func(int, *http.Request) (*http.Response, error) { return nil, nil })
			_, err := src.Retrieve(platform.On(t.Context(), platformtest.Machine(t, other)))
			if !errors.Is(err, credential.ErrUnavailable) || *n != 0 || guess(err) {
				t.Errorf("%s on %s: after %d questions: %v", from, other, *n, err)
			}
		}
	}
}

// Nobody in a second is a guess; the service of another cloud is none.
func TestWhereNothingIsKnownTheNoIsAGuess(t *testing.T) {
	for from := range machineOf {
		clearEnv(t)
		src, n := asked(t, from, func(int, *http.Request) (*http.Response, error) { return nil, errRefusing })
		if _, err := src.Retrieve(background); !errors.Is(err, credential.ErrUnavailable) || *n != 1 || !guess(err) {
			t.Errorf("%s: after %d questions: %v", from, *n, err)
		}
		src, n = asked(t, from, func(int, *http.Request) (*http.Response, error) { return response(404, "", "Server", "EC2ws"), nil })
		if _, err := src.Retrieve(background); !errors.Is(err, credential.ErrUnavailable) || *n != 1 || guess(err) || !strings.Contains(err.Error(), "AWS") {
			t.Errorf("%s: after %d questions: %v", from, *n, err)
		}
	}
}

func guess(err error) bool {
	se := (*credential.SourceError)(nil)
	return errors.As(err, &se) && se.Guess
}
