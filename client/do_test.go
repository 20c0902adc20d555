package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
	"testing/synctest"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/middleware"
)

func TestDoSendsTheMethodAndABodyOnlyIfThereIsOne(t *testing.T) {
	for _, tc := range []struct {
		method, want string
		in           any
	}{
		{http.MethodGet, "GET", nil}, {http.MethodDelete, "DELETE", nil}, {"", "GET", nil},
		{http.MethodPost, "POST", map[string]int{"n": 1}}, {http.MethodDelete, "DELETE", map[string]int{"n": 1}}, {"PATCH", "PATCH", json.RawMessage(`{"n":1}`)},
	} {
		c := inMemory(t, client.Config{}, func(req *http.Request) (*http.Response, error) {
			body := ""
			if req.Body != nil {
				data, _ := io.ReadAll(req.Body)
				body = string(data)
			}
			wantBody, wantType := `{"n":1}`, "application/json"
			if tc.in == nil {
				wantBody, wantType = "", ""
			}
			if req.Method != tc.want || body != wantBody || req.Header.Get("Content-Type") != wantType || req.URL.Path != "/v1/models/m1" {
				t.Errorf("%q sent %s %s with %q of type %q", tc.method, req.Method, req.URL.Path, body, req.Header.Get("Content-Type"))
			}
			if tc.in == nil && (req.Body != nil && req.Body != http.NoBody || req.ContentLength != 0) {
				t.Errorf("%q sent a body", tc.method)
			}
			if req.Header.Get("Authorization") != "Bearer "+key || req.Header.Get("Accept") != "application/json" {
				t.Error("the credential or Accept is missing")
			}
			return answer(req, 200, `{"deleted":true}`, "X-Request-Id", "req-1"), nil
		})
		var out struct{ Deleted bool }
		res, err := c.Do(t.Context(), tc.method, "models/m1", tc.in, &out)
		if err != nil || !out.Deleted || res.StatusCode != 200 || res.RequestID != "req-1" {
			t.Errorf("%q: %v, %+v", tc.method, err, res)
		}
	}
}

func TestDoRefusesAMethodThatIsNone(t *testing.T) {
	c := inMemory(t, client.Config{}, func(*http.Request) (*http.Response, error) {
		t.Error("it was sent")
		return nil, io.EOF
	})
	if res, err := c.Do(t.Context(), "GET /x", "models", nil, nil); err == nil || res != nil {
		t.Errorf("%v, %+v; want an error and no Response", err, res)
	}
}

func TestDoReturnsTheServicesRefusalOfAnyMethod(t *testing.T) {
	const body = `{"error":{"message":"no such model","code":"model_not_found"}}`
	for _, method := range []string{http.MethodGet, http.MethodDelete, http.MethodPost} {
		c := inMemory(t, client.Config{}, func(req *http.Request) (*http.Response, error) { return answer(req, 404, body), nil })
		res, err := c.Do(t.Context(), method, "models/m1", nil, nil)
		refusal := (*client.Error)(nil)
		if !errors.As(err, &refusal) || refusal.Code != "model_not_found" || res == nil || res.StatusCode != 404 {
			t.Errorf("%s: %v, %+v", method, err, res)
		}
	}
}

func TestDoIsRetriedAsPostIs(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodDelete, http.MethodPost} {
		synctest.Test(t, func(t *testing.T) {
			sends := 0
			c := inMemory(t, client.Config{}, func(req *http.Request) (*http.Response, error) {
				if sends++; sends < 3 {
					return answer(req, 503, ""), nil
				}
				return answer(req, 200, "{}"), nil
			})
			if _, err := c.Do(t.Context(), method, "models", nil, nil); err != nil || sends != 3 {
				t.Errorf("%s: %v after %d sends, want an answer to the third", method, err, sends)
			}
		})
	}
}

func TestObserveOfAConfigSeesEachSendOfDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []middleware.Send
		sends := 0
		c := inMemory(t, client.Config{Observe: func(_ context.Context, s *middleware.Send) { seen = append(seen, *s) }},
			func(req *http.Request) (*http.Response, error) {
				if req.Body != nil {
					_, _ = io.Copy(io.Discard, req.Body)
				}
				if sends++; sends == 1 {
					return answer(req, 503, ""), nil
				}
				return answer(req, 200, "{}"), nil
			})
		if _, err := c.Post(t.Context(), "responses", map[string]any{"model": "m1", "stream": false}, nil); err != nil {
			t.Fatal(err)
		}
		if len(seen) != 2 || seen[0].Number != 1 || seen[1].Number != 2 || seen[1].Reason != "retry 503" || seen[1].Model != "m1" || seen[1].Credential.Source == "" {
			t.Errorf("%d records: %+v", len(seen), seen)
		}
	})
}

func TestBaseURLIsWherePathsArePut(t *testing.T) {
	clearEnv(t)
	for in, want := range map[string]string{
		"":                                  client.DefaultBaseURL,
		"https://api.example.com":           "https://api.example.com/",
		"https://api.example.com/v1":        "https://api.example.com/v1/",
		"https://api.example.com:8443/a/":   "https://api.example.com:8443/a/",
		"http://127.0.0.1:1234/v1":          "http://127.0.0.1:1234/v1/",
		"https://r.openai.azure.com":        "https://r.openai.azure.com/openai/v1/",
		"https://gw.example.com/v1/?tier=x": "https://gw.example.com/v1/?tier=x",
	} {
		c, err := client.New(client.Config{Source: static(), BaseURL: in})
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		if got := c.BaseURL(); got != want {
			t.Errorf("%q: BaseURL is %q, want %q", in, got, want)
		}
	}
}

func TestATransportThatIsSharedIsNotChanged(t *testing.T) {
	var conns int
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }))
	defer server.Close()
	shared, err := client.NewTransport(nil)
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := client.NewTransport(nil)
	if err != nil {
		t.Fatal(err)
	}
	wrapped := tripFunc(func(req *http.Request) (*http.Response, error) { conns++; return shared.RoundTrip(req) })
	for range 2 { // two Clients
		c, err := client.New(client.Config{Source: static(), BaseURL: server.URL, Transport: wrapped})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Do(t.Context(), http.MethodGet, "models", nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if conns != 2 {
		t.Errorf("%d round trips of the transport that was given, want 2", conns)
	}
	settings := func(tr *http.Transport) []any {
		return []any{tr.TLSClientConfig.MinVersion, tr.TLSHandshakeTimeout, tr.ForceAttemptHTTP2, tr.MaxIdleConns, tr.MaxIdleConnsPerHost,
			tr.IdleConnTimeout, tr.ResponseHeaderTimeout, tr.ExpectContinueTimeout, tr.MaxResponseHeaderBytes, tr.DisableKeepAlives, tr.DisableCompression}
	}
	if got, want := settings(shared), settings(fresh); !reflect.DeepEqual(got, want) {
		t.Errorf("the settings are %v after use, want %v", got, want)
	}
	shared.CloseIdleConnections()
}

func TestNewTransportHasTheSettingsThatItNames(t *testing.T) {
	tr, err := client.NewTransport(nil)
	if err != nil {
		t.Fatal(err)
	}
	if tr.TLSClientConfig.MinVersion != 0x0303 || tr.TLSClientConfig.InsecureSkipVerify || !tr.ForceAttemptHTTP2 || tr.HTTP2 == nil || tr.Proxy == nil ||
		tr.TLSHandshakeTimeout <= 0 || tr.ResponseHeaderTimeout <= 0 || tr.MaxResponseHeaderBytes <= 0 || tr.ExpectContinueTimeout <= 0 ||
		tr.MaxIdleConnsPerHost != 100 || tr.IdleConnTimeout.Seconds() != 50 {
		t.Errorf("a setting is missing: %+v", tr.TLSClientConfig.MinVersion)
	}
	if other, _ := client.NewTransport(nil); other == tr || other.TLSClientConfig == tr.TLSClientConfig {
		t.Error("two transports share their settings")
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }))
	defer server.Close()
	trusted, err := client.NewTransport(pemOf(server))
	if err != nil {
		t.Fatal(err)
	}
	defer trusted.CloseIdleConnections()
	c, err := client.New(client.Config{Source: static(), BaseURL: server.URL, Transport: trusted})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Do(t.Context(), "", "models", nil, nil); err != nil {
		t.Errorf("with the server's certificate as an authority: %v", err)
	}
	if tr, err := client.NewTransport([]byte("no PEM")); err == nil || tr != nil {
		t.Error("authorities without a certificate were accepted")
	}
}
