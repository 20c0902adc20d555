package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/middleware"
)

// beyond are origins of plain http that are no loopback address, by their look.
var beyond = []string{"http://gateway.mesh.internal/v1/", "http://10.0.0.7:8080/v1/", "http://api.example.com", "http://localhost.example.com/", "http://[fd00::1]/v1/"}

func TestPlainHTTPBeyondLoopbackHasToBeWrittenDown(t *testing.T) {
	for _, base := range beyond {
		if _, err := client.New(client.Config{Source: static(), BaseURL: base}); err == nil {
			t.Errorf("%s was accepted without PlainHTTP", base)
		}
		c, err := client.New(client.Config{Source: static(), BaseURL: base, PlainHTTP: true, Transport: tripFunc(func(req *http.Request) (*http.Response, error) {
			if req.URL.Scheme != "http" || req.Header.Get("Authorization") != "Bearer "+key {
				t.Errorf("%s: sent by %s, or without the credential", base, req.URL.Scheme)
			}
			return answer(req, 200, "{}"), nil
		})})
		if err != nil {
			t.Errorf("%s with PlainHTTP: %v", base, err)
			continue
		}
		if _, err := c.Post(t.Context(), "x", nil, nil); err != nil {
			t.Errorf("%s with PlainHTTP: %v", base, err)
		}
	}
	for _, base := range []string{"http://127.0.0.1:1234/v1/", "http://localhost:8080/", "http://[::1]:80/"} {
		if _, err := client.New(client.Config{Source: static(), BaseURL: base}); err != nil {
			t.Errorf("%s: %v; loopback needs nothing written down", base, err)
		}
	}
	if _, err := client.New(client.Config{Source: static(), BaseURL: "https://api.example.com/v1/", PlainHTTP: true}); err != nil {
		t.Errorf("PlainHTTP with https: %v", err)
	}
}

// The environment cannot switch it on.
func TestPlainHTTPOfTheEnvironmentIsRefused(t *testing.T) {
	clearEnv(t)
	t.Setenv("OPENAI_BASE_URL", beyond[0])
	if _, err := client.New(client.Config{Source: static()}); err == nil {
		t.Error("plain http to another machine was accepted")
	}
	if _, err := client.New(client.Config{Source: static(), PlainHTTP: true}); err != nil {
		t.Errorf("with PlainHTTP: %v", err)
	}
}

func TestPlainHTTPReachesAnotherHost(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "gateway.mesh.internal" || r.Header.Get("Authorization") != "Bearer "+key {
			t.Errorf("host %q, or no credential", r.Host)
		}
		_, _ = io.WriteString(w, `{"id":"r1"}`)
	}))
	defer server.Close()
	tr, err := client.NewTransport(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.CloseIdleConnections()
	tr.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) { // as the cluster's DNS
		return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
	}
	c, err := client.New(client.Config{Source: static(), BaseURL: beyond[0], PlainHTTP: true, Transport: tr})
	if err != nil {
		t.Fatal(err)
	}
	var out struct{ ID string }
	if _, err := c.Post(t.Context(), "responses", map[string]string{"model": "m"}, &out); err != nil || out.ID != "r1" {
		t.Errorf("%v, %+v", err, out)
	}
}

// A hop is a redirect, which names the place to go to.
func TestPlainHTTPFollowsNoRedirect(t *testing.T) {
	const base = "http://gateway.mesh.internal/v1/"
	for _, to := range []string{
		"http://other.mesh.internal/v1/x", "http://gateway.mesh.internal:8080/v1/x", "https://gateway.mesh.internal/v1/x", "http://127.0.0.1/v1/x",
		"http://gateway.mesh.internal/v2/x", "/v1/y", "//other.mesh.internal/",
	} {
		for _, code := range []int{301, 302, 303, 307, 308} {
			sends := 0
			c, err := client.New(client.Config{Source: static(), BaseURL: base, PlainHTTP: true, Transport: tripFunc(func(req *http.Request) (*http.Response, error) {
				if sends++; sends > 1 {
					return answer(req, 200, "{}"), nil
				}
				return answer(req, code, "", "Location", to), nil
			})})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Post(t.Context(), "x", map[string]int{"n": 1}, nil); sends != 1 || err == nil {
				t.Errorf("%d to %s: %d sends and %v, want one and an error", code, to, sends, err)
			}
		}
	}
}

func TestARedirectFromHTTPSNeverGoesToPlainHTTP(t *testing.T) {
	for _, plain := range []bool{false, true} {
		sends := 0
		c, err := client.New(client.Config{Source: static(), BaseURL: "https://api.example.com/v1/", PlainHTTP: plain, Transport: tripFunc(func(req *http.Request) (*http.Response, error) {
			if sends++; sends > 1 {
				return answer(req, 200, "{}"), nil
			}
			return answer(req, 307, "", "Location", "http://api.example.com/v1/x"), nil
		})})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Post(t.Context(), "x", nil, nil); sends != 1 || !errors.Is(err, middleware.ErrOrigin) {
			t.Errorf("PlainHTTP %t: %d sends and %v, want one and ErrOrigin", plain, sends, err)
		}
	}
}
