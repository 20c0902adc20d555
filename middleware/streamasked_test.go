package middleware_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/internal/redact"
	"github.com/latchkey-go/latchkey/internal/redact/redacttest"
	"github.com/latchkey-go/latchkey/middleware"
)

// asking sends a request that change makes, and returns what reading the answer
// ends with.
func asking(t testing.TB, path, requestBody, mediaType, body string, change func(*http.Request)) error {
	t.Helper()
	rt := middleware.StreamGuard()(tripFunc(func(req *http.Request) (*http.Response, error) {
		resp := answer(req, 200, body, "Content-Type", mediaType)
		if mediaType == "none" {
			resp.Header.Del("Content-Type")
		}
		if body == "" {
			resp.Body = http.NoBody
		}
		return resp, nil
	}))
	req := post(t, api+path, requestBody)
	if change != nil {
		change(req)
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(resp.Body)
	if string(got) != body {
		t.Errorf("%d bytes of %d came through", len(got), len(body))
	}
	return err
}

const askedFor = `{"model":"m","messages":[{"content":"{\"stream\":false}"}], "stream" : true }`

func TestWhatIsNoStreamIsAnErrorForWhoAskedForOne(t *testing.T) {
	for _, path := range []string{chatPath, responsesPath, "/v1/completions", "/v1/images/generations", "/v1/threads/runs"} {
		for _, tc := range []struct{ mediaType, body, says string }{
			{"text/html", "<html><head><title>Sign in</title></head></html>", `an HTML page ("Sign in")`},
			{"none", "<html><head><title>Sign in</title></head></html>", "an HTML page"},
			{"none", "", "empty"}, {"text/plain", "", "empty"}, {"text/plain", "upstream down", `text ("upstream down")`},
			{"text/plain", `{"error":{"message":"m","code":"c"}}`, `an error in place of an event stream: c, "m"`},
			{"none", `{"object":"chat.completion"}`, `a JSON document ("chat.completion")`},
		} {
			err := asking(t, path, askedFor, tc.mediaType, tc.body, nil)
			if !errors.Is(err, middleware.ErrNotStream) || !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%s, %s, %.20q: got %v, want %q", path, tc.mediaType, tc.body, err, tc.says)
			}
			if err := asking(t, path, `{"model":"m","stream":false,"x":{"stream":true}}`, tc.mediaType, tc.body, nil); err != nil {
				t.Errorf("%s, %s, %.20q: it did not ask for a stream: %v", path, tc.mediaType, tc.body, err)
			}
		}
	}
}

func TestARequestAsksForAStreamInThreeWays(t *testing.T) {
	accept := func(v ...string) func(*http.Request) { return func(r *http.Request) { r.Header["Accept"] = v } }
	const page = "<html></html>"
	for name, tc := range map[string]struct {
		mediaType, request, body string
		change                   func(*http.Request)
		asked                    bool
	}{
		"Accept":                   {"application/json", "{}", `{"a":1}`, accept("text/event-stream"), true},
		"Accept, and JSON":         {"application/json", "{}", `{"a":1}`, accept("application/json, text/event-stream"), false},
		"Accept, and JSON as well": {"text/html", askedFor, page, accept("text/event-stream", "application/json"), false},
		"the query":                {"application/json", "", `{"a":1}`, func(r *http.Request) { r.Method, r.URL.RawQuery = "GET", "a=b&stream=true" }, true},
		"another query":            {"application/json", "", `{"a":1}`, func(r *http.Request) { r.Method, r.URL.RawQuery = "GET", "stream=trueish" }, false},
		"the body":                 {"text/html", askedFor, page, nil, true},
		"the body, JSON comes":     {"application/json", askedFor, `{"a":1}`, nil, false}, // not looked at: most answers are JSON
		"a body that is gone":      {"text/html", askedFor, page, func(r *http.Request) { r.GetBody = nil }, false},
		"a body that is broken":    {"text/html", askedFor[:20], page, nil, false},
		"a body that cannot be had": {"text/html", askedFor, page, func(r *http.Request) {
			r.GetBody = func() (io.ReadCloser, error) { return nil, errors.New("gone") }
		}, false},
		"another method": {"text/html", askedFor, page, func(r *http.Request) { r.Method = "PUT" }, false},
	} {
		if err := asking(t, chatPath, tc.request, tc.mediaType, tc.body, tc.change); errors.Is(err, middleware.ErrNotStream) != tc.asked {
			t.Errorf("%s: got %v; it asks for a stream: %t", name, err, tc.asked)
		}
	}
}

func TestAStreamIsWatchedUnderAnotherMediaType(t *testing.T) {
	const chunk = "data: {}\n\n"
	for _, mediaType := range []string{"none", "text/plain", "application/octet-stream", "text/event-stream, text/event-stream", "text/event-stream;;=", "Text/Event-Stream ;x"} {
		if err := asking(t, chatPath, askedFor, mediaType, chunk+"data: [DONE]\n\n", nil); err != nil {
			t.Errorf("%s: %v", mediaType, err)
		}
		if err := asking(t, chatPath, askedFor, mediaType, chunk, nil); !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, middleware.ErrNotStream) {
			t.Errorf("%s, cut: %v", mediaType, err)
		}
		// Of an unknown path nobody knows how a stream ends.
		if err := asking(t, "/v1/x", askedFor, mediaType, chunk, nil); err != nil {
			t.Errorf("%s, another path: %v", mediaType, err)
		}
	}
	two := func(resp *http.Response) {
		resp.Header["Content-Type"] = []string{"application/json", "text/event-stream"}
	}
	if _, err := io.ReadAll(guarded(t, chatPath, strings.NewReader(chunk), two).Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("two types: %v", err)
	}
}

func TestAnErrorBehindTheLastEventIsTold(t *testing.T) {
	body := "data: {}\n\n" + `{"error":{"message":"the model is overloaded","code":"c"}}`
	_, err := io.ReadAll(guarded(t, chatPath, strings.NewReader(body), nil).Body)
	if !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, middleware.ErrNotStream) || !strings.Contains(err.Error(), `c, "the model is overloaded"`) {
		t.Errorf("got %v", err)
	}
}

func TestAWholeJSONAnswerUnderTheTypeOfAStreamIsNotCalledCut(t *testing.T) {
	for _, body := range []string{`{"object":"chat.completion"}`, "{\n \"object\": \"response\",\n \"output\": []\n}\n"} {
		for _, path := range []string{chatPath, responsesPath} {
			_, err := io.ReadAll(guarded(t, path, strings.NewReader(body), nil).Body)
			if !errors.Is(err, middleware.ErrNotStream) || !strings.Contains(err.Error(), "a JSON document") || strings.Contains(err.Error(), "ended before") {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
}

func TestTheGuardsErrorsDoNotShowTheKey(t *testing.T) {
	for _, header := range []string{"Authorization", "Api-Key", "Ocp-Apim-Subscription-Key", "X-Gateway-Token"} {
		for _, form := range redacttest.Forms(goodKey) {
			for _, body := range []string{form.Printable(), `{"error":{"message":"m","code":"` + form.Printable() + `"}}`, "<html><title>" + form.Printable() + "</title>", "data: {}\n\n{\"error\":\"" + form.Printable() + "\"}"} {
				err := asking(t, chatPath, askedFor, "text/event-stream", body, func(r *http.Request) { r.Header.Set(header, "Bearer "+goodKey) })
				if err == nil {
					continue // the form has a byte that JSON does not take
				}
				if shown := err.Error(); redact.Text(shown+fmt.Sprintf("%+v %#v", err, err), false, goodKey) != shown+fmt.Sprintf("%+v %#v", err, err) {
					t.Errorf("%s, %s: the error shows the key", header, form.Name)
				}
			}
		}
	}
}

func TestTheGuardKeepsLittleOfWhatIsNoStream(t *testing.T) {
	line := []byte("<p>page</p>\n")
	resp := guarded(t, chatPath, &looped{chunk: line}, nil)
	buf := make([]byte, len(line))
	for range 1000 {
		_, _ = resp.Body.Read(buf)
	}
	if got := testing.AllocsPerRun(1000, func() { _, _ = resp.Body.Read(buf) }); got != 0 {
		t.Errorf("%v allocations per chunk, want none", got)
	}
}
