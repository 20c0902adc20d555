package client_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/middleware"
)

func renamings(t *testing.T) map[string]renaming {
	t.Helper()
	const quoted = `form-data; name="model"`
	rows := map[string]renaming{
		"JSON":                          {`{"a":[{"model":"m"}], "model" : "m" ,"b":"m"}`, "application/json", `{"a":[{"model":"m"}], "model" : "own \"m\"" ,"b":"m"}`},
		"a shorter name":                {`{"model":"longer-name"}`, "application/json", `{"model":"l"}`},
		"an escaped name":               {`{"model":"\u006d"}`, "application/json", `{"model":"own \"m\""}`},
		"a model that is in no map":     {`{"model":"other"}`, "application/json", ""},
		"a model of the same name":      {`{"model":"same"}`, "application/json", ""},
		"a body without a model":        {`{"input":"m"}`, "application/json", ""},
		"a body that is no JSON":        {`m`, "application/json", ""},
		"a body that is no JSON object": {`["model","m"]`, "application/json", ""},
	}
	add := func(name string, parts []string, want []string) {
		body, contentType := formOf(t, parts...)
		r := renaming{body, contentType, ""}
		if want != nil {
			r.want, _ = formOf(t, want...)
			_, params, _ := strings.Cut(contentType, "boundary=")
			i := strings.Index(r.want, "\r\n")
			r.want = strings.ReplaceAll(r.want, r.want[2:i], params)
		}
		rows[name] = r
	}
	file := `form-data; name="file"; filename="model"`
	trap := "RIFF\r\nContent-Disposition: " + quoted + "\r\n\r\nm\r\nend\x00"
	add("a form", []string{`form-data; name="x"`, "m", quoted, "m"}, []string{`form-data; name="x"`, "m", quoted, `own "m"`})
	add("a form without quotes", []string{`form-data; name=model`, "m"}, []string{`form-data; name=model`, `own "m"`})
	add("a form with a file that is called model", []string{file, "m", quoted, "m"}, []string{file, "m", quoted, `own "m"`})
	add("a form with a file that looks like one", []string{file, trap, quoted, "longer-name"}, []string{file, trap, quoted, "l"})
	add("a form with an empty part", []string{`form-data; name="x"`, "", quoted, "m"}, []string{`form-data; name="x"`, "", quoted, `own "m"`})
	add("a form without a model", []string{file, trap}, nil)
	text := rows["a form"]
	rows["a form with a preamble"] = renaming{"hello\r\n" + text.body, text.contentType, "hello\r\n" + text.want}
	return rows
}

func newPost(t *testing.T, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// A model is sent under the endpoint's own name for it, and nothing else of the

// body is changed: its length is right, however often it is sent.

func TestAModelHasTheEndpointsOwnName(t *testing.T) {
	models, rows := map[string]string{"m": `own "m"`, "same": "same", "longer-name": "l"}, renamings(t)
	for i, name := range slices.Repeat(slices.Collect(maps.Keys(rows)), 2) {
		r, first := rows[name], 503 // then it is moved anew, and after a 401 sent by Auth
		if i >= len(rows) {
			first = 401
		}
		if r.want == "" {
			r.want = r.body
		}
		var bodies []string
		closed := 0
		c := inMemory(t, client.Config{
			Models: models, Source: rotating{key, nextCanary},
			Retry: &middleware.RetryOptions{BaseDelay: 1},
		}, func(req *http.Request) (*http.Response, error) {
			text, err := io.ReadAll(req.Body)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			_ = req.Body.Close()
			if bodies = append(bodies, string(text)); len(bodies) == 1 {
				return answer(req, first, "busy"), nil
			}
			if want := int64(len(r.want)); req.ContentLength != want && (req.ContentLength != -1 || req.Header.Get("X-Length") != "") {
				t.Errorf("%s: Content-Length %d, want %d", name, req.ContentLength, want)
			}
			return answer(req, 200, "{}"), nil
		})
		for _, known := range []bool{true, false} {
			bodies, closed = nil, 0
			req, opened := newPost(t, c.BaseURL()+"audio/transcriptions"), 1
			req.Body = &closeCounter{Reader: strings.NewReader(r.body), closed: &closed}
			req.GetBody = func() (io.ReadCloser, error) {
				opened++
				return &closeCounter{Reader: strings.NewReader(r.body), closed: &closed}, nil
			}
			req.ContentLength = -1
			if known {
				req.ContentLength = int64(len(r.body))
				req.Header.Set("X-Length", "known")
			}
			req.Header.Set("Content-Type", r.contentType)
			resp, err := c.HTTPClient().Do(req)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			_ = resp.Body.Close()
			if !slices.Equal(bodies, []string{r.want, r.want}) {
				t.Errorf("%s: sent %q, want twice %q", name, bodies, r.want)
			}
			if closed != opened {
				t.Errorf("%s: %d bodies were opened, and %d closed", name, opened, closed)
			}
		}
	}
}

// A call that cannot be sent under the endpoint's name of its model is not sent

// under another, and closes its body. One without a body has no model.

func TestAModelThatCannotBeRenamedIsNotSent(t *testing.T) {
	sends := 0
	c := inMemory(t, client.Config{Models: map[string]string{"m": "own"}}, func(req *http.Request) (*http.Response, error) {
		sends++
		return answer(req, 200, "{}"), nil
	})
	rt := c.HTTPClient().Transport
	broken := func() (io.ReadCloser, error) { return io.NopCloser(failingReader{errors.New("gone")}), nil }
	once := false
	for name, again := range map[string]func() (io.ReadCloser, error){
		"no copy":            func() (io.ReadCloser, error) { return nil, errors.New("gone") },
		"a copy that breaks": broken,
		"a second copy that is": func() (io.ReadCloser, error) {
			if once = !once; once {
				return io.NopCloser(strings.NewReader(`{"model":"m"}`)), nil
			}
			return nil, errors.New("gone")
		},
	} {
		closed := 0
		req, err := http.NewRequestWithContext(t.Context(), "POST", c.BaseURL()+"chat/completions", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Body, req.GetBody, req.ContentLength = &closeCounter{Reader: strings.NewReader(`{"model":"m"}`), closed: &closed}, again, 13
		req.Header.Set("Content-Type", "application/json")
		if _, err := rt.RoundTrip(req); err == nil || !strings.Contains(err.Error(), "Models of api.example.com") || sends != 0 || closed == 0 {
			t.Errorf("%s: %v, %d sends, closed %d times", name, err, sends, closed)
		}
	}
	for name, body := range map[string]string{
		"a form of bare line feeds":        "--x\nContent-Disposition: form-data; name=\"model\"\n\nm\n--x--\n",
		"one of both line ends":            "--x\r\nContent-Disposition: form-data; name=\"model\"\n\nm\r\n--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n--x--\r\n",
		"one with blank lines in its file": "--x\nContent-Disposition: form-data; name=\"file\"\n\na\r\n\r\nb\n--x\nContent-Disposition: form-data; name=\"model\"\n\nm\n--x--\n",
	} {
		err := send(t, c, "POST", c.BaseURL()+"audio/transcriptions", strings.NewReader(body), "Content-Type", "multipart/form-data; boundary=x")
		if err == nil || !strings.Contains(err.Error(), "Models of api.example.com") || sends != 0 {
			t.Errorf("%s: %v, %d sends", name, err, sends)
		}
	}
	if err := send(t, c, "GET", c.BaseURL()+"models", nil); err != nil || sends != 1 {
		t.Errorf("a call without a body: %v, %d sends", err, sends)
	}
}

// A body that cannot be had again for a replay is sent once, under the

// endpoint's name of its model.

func TestARenamedBodyThatCannotBeHadAgainIsSentOnce(t *testing.T) {
	var bodies []string
	c := inMemory(t, client.Config{Models: map[string]string{"m": "own"}, Source: rotating{key, nextCanary}}, func(req *http.Request) (*http.Response, error) {
		text, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		bodies = append(bodies, string(text))
		return answer(req, 401, "no"), nil
	})
	req, err := http.NewRequestWithContext(t.Context(), "POST", c.BaseURL()+"chat/completions", strings.NewReader(`{"model":"m"}`))
	if err != nil {
		t.Fatal(err)
	}
	copies, again := 0, req.GetBody
	req.GetBody = func() (io.ReadCloser, error) {
		if copies++; copies > 2 { // the look for the model, and for its place
			return nil, errors.New("gone")
		}
		return again()
	}
	resp, err := c.HTTPClient().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 401 || fmt.Sprintf("%q", bodies) != `["{\"model\":\"own\"}"]` {
		t.Errorf("status %d, sent %q", resp.StatusCode, bodies)
	}
}

// The header of the caller's request is the caller's, and a request that cannot

// be made into one of Azure closes its body.

func TestTheCallersRequestIsNotChanged(t *testing.T) {
	c := inMemory(t, client.Config{Organization: "org", Project: "proj"}, func(req *http.Request) (*http.Response, error) {
		if req.Header.Get("OpenAI-Organization") != "org" || req.Header.Get("OpenAI-Project") != "proj" || req.Header.Get("X-Other") != "1" {
			t.Error("a header is missing")
		}
		return answer(req, 200, "{}"), nil
	})
	req, err := http.NewRequestWithContext(t.Context(), "POST", c.BaseURL()+"chat/completions", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Other", "1")
	resp, err := c.HTTPClient().Transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if len(req.Header) != 1 {
		t.Errorf("the caller's header has become %d fields, want the one", len(req.Header))
	}
	c = inMemory(t, client.Config{BaseURL: "https://" + east, APIVersion: "2024-10-21"}, nil)
	body := &closeCounter{Reader: strings.NewReader("{}"), closed: new(int)}
	req.URL, req.Body, req.GetBody = req.URL.ResolveReference(&url.URL{Scheme: "https", Host: east, Path: "/openai/chat/completions"}), body, nil
	req.ContentLength = 2 << 20
	if _, err := c.HTTPClient().Transport.RoundTrip(req); err == nil || !strings.Contains(err.Error(), "no Azure deployment") || *body.closed == 0 {
		t.Errorf("%v, closed %d times", err, *body.closed)
	}
}
