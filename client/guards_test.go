package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

func TestNewRefusesNilCachesAndNegativeNumbers(t *testing.T) {
	none := (*credential.Cache)(nil)
	for name, tc := range map[string]struct {
		cfg  client.Config
		says string
	}{
		"a nil Cache for a Source":          {client.Config{Source: none}, "Source is a nil"},
		"a nil Cache for a SubscriptionKey": {client.Config{Source: static(), SubscriptionKey: none}, "SubscriptionKey is a nil"},
		"options of no Cache":               {client.Config{Source: static(), Cache: &credential.CacheOptions{Timeout: -1}}, ""},
		"options of no retry":               {client.Config{Source: static(), Retry: &middleware.RetryOptions{BaseDelay: -1}}, "retry"},
		"MaxEvent":                          {client.Config{Source: static(), MaxEvent: -1}, "MaxEvent"},
	} {
		tc.cfg.BaseURL = "https://api.example.com/v1/"
		if c, err := client.New(tc.cfg); c != nil || err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
}

func TestDoClosesTheAnswer(t *testing.T) {
	for _, status := range []int{200, 204, 400, 500} {
		closed := 0
		c := inMemory(t, client.Config{Retry: &middleware.RetryOptions{MaxRetries: -1}}, func(req *http.Request) (*http.Response, error) {
			resp := answer(req, status, "")
			resp.Body = &closeCounter{Reader: strings.NewReader("{"), closed: &closed}
			return resp, nil
		})
		var out map[string]any
		if _, err := c.Post(t.Context(), "x", nil, &out); err == nil || closed != 1 {
			t.Errorf("%d: %v, closed %d times, want an error and once", status, err, closed)
		}
	}
}

// A transport that is broken must not be read for ever, nor hide why.
func TestPostReturnsTheErrorOfReading(t *testing.T) {
	broken := errors.New("cable cut")
	c := inMemory(t, client.Config{}, func(req *http.Request) (*http.Response, error) {
		resp := answer(req, 200, "")
		resp.Body, resp.ContentLength = io.NopCloser(io.MultiReader(strings.NewReader(`{"a":1}`), failingReader{broken})), -1
		return resp, nil
	})
	for name, out := range map[string]any{"discarded": nil, "decoded": &map[string]any{}} {
		if _, err := c.Post(t.Context(), "x", nil, out); !errors.Is(err, broken) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

func TestPostOfAnErrorWithTheStatus200IsAnError(t *testing.T) {
	c := inMemory(t, client.Config{}, func(req *http.Request) (*http.Response, error) {
		return answer(req, 200, `{"error":{"message":"m","code":"c"}}`), nil
	})
	var out struct{ Error any }
	_, err := c.Post(t.Context(), "x", nil, &out)
	if e := (*client.Error)(nil); !errors.As(err, &e) || e.Code != "c" || e.StatusCode != 200 || out.Error != nil {
		t.Errorf("got %v", err)
	}
}

func TestAnErrorIsOneLine(t *testing.T) {
	err := &client.Error{StatusCode: 400, Code: "a\nb\x00\x7f\u2028c\u2029", Type: "t\r\nt", RequestID: "r\tr", Message: "m\nm"}
	if text := err.Error(); strings.ContainsAny(text, "\n\r\t\x00\x7f\u2028\u2029") || !strings.Contains(text, "a?b???c?") {
		t.Errorf("%q", text)
	}
}

// The hint for a connection is for that to the service, not for the source's.
func TestAnErrorOfTheSourceGetsNoHintForTheService(t *testing.T) {
	lost := &credential.SourceError{Source: "store", Op: "read", Err: &net.DNSError{Err: "no such host", Name: "vault.example"}, Hint: "look at the store"}
	src := credential.SourceFunc(func(context.Context) (credential.Value, error) { return credential.Value{}, lost })
	c := inMemory(t, client.Config{Source: src, BaseURL: "https://res.openai.azure.com"}, nil)
	_, err := c.Post(t.Context(), "x", nil, nil)
	if err == nil || strings.Contains(err.Error(), "privatelink") || !strings.Contains(err.Error(), "look at the store") {
		t.Errorf("got %v", err)
	}
}

func TestTheHintForARoleIsFoundByCodeAndByMessage(t *testing.T) {
	for _, e := range []*client.Error{
		{StatusCode: 401, Code: "PermissionDenied"}, {StatusCode: 401, Message: "Principal does not have access to API/Operation."},
	} {
		if !strings.Contains(e.Hint(), "Cognitive Services OpenAI User") {
			t.Errorf("%+v: the hint is %q", *e, e.Hint())
		}
	}
}

// A slow copy of the body does not keep a call beyond its end, and what cannot
// be read names no deployment.
func TestADeploymentIsNotTakenFromABodyThatFails(t *testing.T) {
	c := inMemory(t, client.Config{BaseURL: "https://res.openai.azure.com", APIVersion: "2024-10-21"}, func(req *http.Request) (*http.Response, error) {
		t.Errorf("sent to %s", req.URL.Path)
		return answer(req, 200, "{}"), nil
	})
	form := func(model string) string {
		return "--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n" + model + "\r\n--x--\r\n"
	}
	for name, tc := range map[string]struct {
		body, contentType string
		again             func() (io.ReadCloser, error)
	}{
		"no GetBody that works":   {`{"model":"m"}`, "application/json", func() (io.ReadCloser, error) { return nil, errors.New("gone") }},
		"a copy that breaks":      {`{"model":"m"}`, "application/json", func() (io.ReadCloser, error) { return io.NopCloser(failingReader{errors.New("gone")}), nil }},
		"a name that is cut":      {`{"mod`, "application/json", nil},
		"a model that is no text": {`{"model":7}`, "application/json", nil},
		"a name that is too long": {`{"model":"` + strings.Repeat("m", 257) + `"}`, "application/json", nil},
		"a form without a model":  {"--x--\r\n", "multipart/form-data; boundary=x", nil},
		"a form that is cut":      {form("m")[:40], "multipart/form-data; boundary=x", nil},
		"a form's long name":      {form(strings.Repeat("m", 257)), "multipart/form-data; boundary=x", nil},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.BaseURL()+"chat/completions", strings.NewReader(tc.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", tc.contentType)
		if tc.again != nil {
			req.GetBody = tc.again
		}
		resp, err := c.HTTPClient().Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "Config.Deployment") {
			t.Errorf("%s: got %v, want that there is no deployment", name, err)
		}
	}
}

// The copy of the body in which a stream is looked for is closed.
func TestTheCopyOfABodyIsClosed(t *testing.T) {
	closed := 0
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.example.com/v1/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.GetBody = func() (io.ReadCloser, error) {
		return &closeCounter{Reader: strings.NewReader(`{"stream":true}`), closed: &closed}, nil
	}
	if _, err := client.MarkStream(req, func(*http.Request) (*http.Response, error) { return nil, io.EOF }); !errors.Is(err, io.EOF) || closed != 1 {
		t.Errorf("%v, closed %d times, want once", err, closed)
	}
}

// Warm leaves nothing that runs on: the time that it has is given back.
func TestWarmGivesItsTimeBack(t *testing.T) {
	var ctx context.Context
	c := inMemory(t, client.Config{}, func(req *http.Request) (*http.Response, error) {
		ctx = req.Context()
		return answer(req, 200, ""), nil
	})
	if err := c.Warm(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ctx.Done():
	case <-time.After(time.Minute):
		t.Error("the context of the HEAD is still open")
	}
}

// AsError finds a refusal wherever it is wrapped, and nothing where there is none.
func TestAsErrorFindsARefusalWhereverItIs(t *testing.T) {
	refusal := &client.Error{StatusCode: 400, Code: "c"}
	wrapped := &url.Error{Op: "Post", URL: "x", Err: refusal}
	for name, err := range map[string]error{"itself": refusal, "wrapped": wrapped, "joined": errors.Join(errors.New("a"), wrapped), "twice": errors.Join(errors.Join(wrapped))} {
		if e, ok := client.AsError(err); !ok || e != refusal {
			t.Errorf("%s: not found", name)
		}
	}
	for name, err := range map[string]error{"nil": nil, "another": io.EOF, "joined": errors.Join(io.EOF, io.ErrNoProgress), "wrapped": &url.Error{Err: io.EOF}} {
		if e, ok := client.AsError(err); ok || e != nil {
			t.Errorf("%s: found %v", name, e)
		}
	}
}
