package azureidentity_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/azureidentity"
	"github.com/latchkey-go/latchkey/internal/testing/azuretest"
)

// An endpoint is that of the identity of a virtual machine, in memory.
type endpoint struct {
	asked int
	// answer is what the n-th request gets, from 1 on.
	answer func(n int, req *http.Request) (status int, body string, err error)
}

func (e *endpoint) options() *azureidentity.Options {
	return &azureidentity.Options{Transport: trip(func(req *http.Request) (*http.Response, error) {
		e.asked++
		status, body, err := e.answer(e.asked, req)
		if err != nil {
			return nil, err
		}
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: req}, nil
	})}
}

func issued() string {
	return fmt.Sprintf(`{"access_token":%q,"expires_in":3600,"expires_on":"%d","token_type":"Bearer","resource":"r"}`, token1, time.Now().Add(time.Hour).Unix())
}

var errRefusing = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}

// How a machine, or somebody who names the identity, configures it.
var configured = map[string]struct {
	machine  string
	env, why string
}{
	"a machine of Azure's":    {machine: "azure", why: "chassis_asset_tag"},
	"AZURE_CLIENT_ID":         {machine: "silent", env: "AZURE_CLIENT_ID=" + clientID, why: "AZURE_CLIENT_ID names one"},
	"AZURE_TOKEN_CREDENTIALS": {machine: "silent", env: "AZURE_TOKEN_CREDENTIALS=ManagedIdentityCredential", why: "AZURE_TOKEN_CREDENTIALS asks for one"},
	"prod":                    {machine: "silent", env: "AZURE_TOKEN_CREDENTIALS=prod", why: "AZURE_TOKEN_CREDENTIALS asks for one"},
}

// whereConfigured runs f for each of them, in fake time, with az logged in.
func whereConfigured(t *testing.T, f func(t *testing.T, machine, why string)) {
	t.Helper()
	for name, c := range configured {
		t.Run(name, func(t *testing.T) {
			azuretest.ClearEnv(t)
			az := azuretest.NewAz(t, token2)
			if name, value, ok := strings.Cut(c.env, "="); ok {
				t.Setenv(name, value)
			}
			synctest.Test(t, func(t *testing.T) { f(t, c.machine, c.why) })
			if az.Runs() != 0 {
				t.Error("the developer's identity was asked")
			}
		})
	}
}

func TestAConfiguredMachineIsWaitedFor(t *testing.T) {
	whereConfigured(t, func(t *testing.T, machine, _ string) {
		for name, e := range map[string]*endpoint{
			"healthy": {answer: func(int, *http.Request) (int, string, error) { return http.StatusOK, issued(), nil }},
			"slow": {answer: func(int, *http.Request) (int, string, error) {
				time.Sleep(8 * time.Second)
				return http.StatusOK, issued(), nil
			}},
			"refuses once": {answer: func(n int, _ *http.Request) (int, string, error) {
				if n == 1 {
					return 0, "", errRefusing
				}
				return http.StatusOK, issued(), nil
			}},
			"is updated for a minute": {answer: func(n int, _ *http.Request) (int, string, error) {
				if n <= 7 {
					return http.StatusGone, "", nil
				}
				return http.StatusOK, issued(), nil
			}},
		} {
			v, err := newSource(t, e.options()).Retrieve(on(t, machine))
			if err != nil || v.Source != "azureidentity:managed-identity" {
				t.Errorf("%s: got %q after %d requests: %v", name, v.Source, e.asked, err)
			}
		}
	})
}

func TestAConfiguredMachineThatFailsIsAnErrorThatSaysWhatToDo(t *testing.T) {
	whereConfigured(t, func(t *testing.T, machine, why string) {
		for says, e := range map[string]*endpoint{
			"no connection": {answer: func(int, *http.Request) (int, string, error) { return 0, "", errRefusing }},
			"did not answer in time": {answer: func(_ int, req *http.Request) (int, string, error) {
				<-req.Context().Done()
				return 0, "", req.Context().Err()
			}},
			"is not the identity endpoint": {answer: func(int, *http.Request) (int, string, error) { return http.StatusOK, "<html>CANARY", nil }},
			"a proxy answers":              {answer: func(int, *http.Request) (int, string, error) { return http.StatusForbidden, "CANARY unreachable", nil }},
			"answered 503":                 {answer: func(int, *http.Request) (int, string, error) { return http.StatusServiceUnavailable, "CANARY", nil }},
			"with 400 is not":              {answer: func(int, *http.Request) (int, string, error) { return http.StatusBadRequest, "<html>CANARY", nil }},
		} {
			ctx, cancel := context.WithTimeout(on(t, machine), 10*time.Second)
			begin := time.Now()
			_, err := newSource(t, e.options()).Retrieve(ctx)
			refusal{wants: []string{says, why, "169.254.169.254", "AZURE_TOKEN_CREDENTIALS"}, transient: true}.check(t, err)
			if errors.Is(err, credential.ErrUnavailable) || ctx.Err() != nil {
				t.Errorf("%s: after %v: %v", says, time.Since(begin), err)
			}
			cancel()
		}
	})
}

func TestAMachineWithoutAnIdentityLeavesTheDevelopers(t *testing.T) {
	azuretest.ClearEnv(t)
	azuretest.NewAz(t, token2)
	e := &endpoint{answer: func(int, *http.Request) (int, string, error) {
		return http.StatusBadRequest, `{"error":"invalid_request","error_description":"Identity not found"}`, nil
	}}
	v, err := newSource(t, e.options()).Retrieve(on(t, "azure"))
	if err != nil || v.Source != "azureidentity:az" || e.asked != 1 {
		t.Errorf("got %q after %d requests: %v", v.Source, e.asked, err)
	}
	azuretest.ClearEnv(t)
	_, err = newSource(t, e.options()).Retrieve(on(t, "azure"))
	refusal{is: credential.ErrUnavailable, wants: []string{"no system-assigned identity"}}.check(t, err)
	if guess(err) {
		t.Error("what the endpoint says of itself is no guess")
	}
}

func TestAnotherMachineIsNotAsked(t *testing.T) {
	for _, machine := range []string{"laptop", "ec2", "google"} {
		for _, env := range []string{"", "AZURE_CLIENT_ID=" + clientID, "AZURE_TOKEN_CREDENTIALS=ManagedIdentityCredential"} {
			azuretest.ClearEnv(t)
			if name, value, ok := strings.Cut(env, "="); ok {
				t.Setenv(name, value)
			}
			e := &endpoint{answer: func(int, *http.Request) (int, string, error) { return http.StatusOK, issued(), nil }}
			_, err := newSource(t, e.options()).Retrieve(on(t, machine))
			if !errors.Is(err, credential.ErrUnavailable) || guess(err) || e.asked != 0 {
				t.Errorf("%s, %q: after %d requests: %v", machine, env, e.asked, err)
			}
		}
	}
}

// Where nothing is known a probe may be wrong, and a Chain has to know that.
func TestTheNoOfAProbeIsAGuess(t *testing.T) {
	for name, tc := range map[string]struct {
		answer func(int, *http.Request) (int, string, error)
		guess  bool
	}{
		"refused": {func(int, *http.Request) (int, string, error) { return 0, "", errRefusing }, true},
		"silent": {func(_ int, req *http.Request) (int, string, error) {
			<-req.Context().Done()
			return 0, "", req.Context().Err()
		}, true},
		"a page of a proxy": {func(int, *http.Request) (int, string, error) { return http.StatusBadGateway, "<html>", nil }, true},
	} {
		azuretest.ClearEnv(t)
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			_, err := newSource(t, (&endpoint{answer: tc.answer}).options()).Retrieve(on(t, "silent"))
			if !errors.Is(err, credential.ErrUnavailable) || guess(err) != tc.guess || time.Since(begin) > time.Second {
				t.Errorf("%s: after %v: %v", name, time.Since(begin), err)
			}
		})
	}
}

func TestTheAnswerOfAnotherCloudIsNoGuess(t *testing.T) {
	for name, value := range map[string]string{"Metadata-Flavor": "Google", "Server": "EC2ws"} {
		azuretest.ClearEnv(t)
		other := &http.Client{Transport: trip(func(req *http.Request) (*http.Response, error) {
			h := http.Header{}
			h.Set(name, value)
			return &http.Response{StatusCode: http.StatusNotFound, Header: h, Body: http.NoBody, Request: req}, nil
		})}
		_, err := newSource(t, &azureidentity.Options{Transport: other.Transport, ClientOptions: quick()}).Retrieve(on(t, "silent"))
		if !errors.Is(err, credential.ErrUnavailable) || guess(err) {
			t.Errorf("%s: %v", value, err)
		}
	}
}

func guess(err error) bool {
	se := (*credential.SourceError)(nil)
	return errors.As(err, &se) && se.Guess
}
