package middleware_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/latchkey-go/latchkey/middleware"
)

// asked returns what a record says of a request with this body, which the
// transport reads in pieces of this size.
func asked(t testing.TB, path, contentType, body string, piece int) (model string, stream bool) {
	t.Helper()
	r := &recorder{}
	got := make([]byte, 0, len(body))
	rt := middleware.Observe(r.done)(tripFunc(func(req *http.Request) (*http.Response, error) {
		for buf := make([]byte, piece); ; {
			n, err := req.Body.Read(buf)
			got = append(got, buf[:n]...)
			if err != nil {
				break
			}
		}
		_ = req.Body.Close()
		return answer(req, 200, ""), nil //nolint:nilerr // the error is the body's end
	}))
	req := post(t, api+path, body)
	req.Body = io.NopCloser(strings.NewReader(body)) // without NoBody for the empty one
	req.Header.Set("Content-Type", contentType)
	resp, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	readBody(t, resp)
	if string(got) != body {
		t.Fatalf("%d bytes of the body arrived, want %d unchanged", len(got), len(body))
	}
	s := r.one(t)
	return s.Model, s.Stream
}

func TestARecordKnowsTheModelAndTheStreamOfTheBody(t *testing.T) {
	long := strings.Repeat("m", 64)
	for name, tc := range map[string]struct {
		body   string
		model  string
		stream bool
	}{
		"model first":          {`{"model":"gpt-4o","stream":true,"messages":[]}`, "gpt-4o", true},
		"model last":           {`{"stream" : true , "messages":[{"a":1},[2]], "model" : "gpt-4o" }`, "gpt-4o", true},
		"no stream":            {`{"model":"gpt-4o"}`, "gpt-4o", false},
		"stream false":         {`{"stream":false,"model":"gpt-4o","n":true}`, "gpt-4o", false},
		"stream of a string":   {`{"stream":"true","model":"gpt-4o"}`, "gpt-4o", false},
		"stream of a list":     {`{"stream":[true],"model":"gpt-4o"}`, "gpt-4o", false},
		"a nested model":       {`{"tools":[{"model":"a","stream":true}],"x":{"model":"b","y":{"model":"c"}}}`, "", false},
		"nested, and own":      {`{"x":{"model":"b","stream":true},"model":"own","y":["model","z"]}`, "own", false},
		"model as a value":     {`{"a":"model","b":"x","c":"stream","d":true}`, "", false},
		"model of a list":      {`{"model":["a"],"x":"b"}`, "", false},
		"model of an object":   {`{"model":{"name":"a"},"x":"b"}`, "", false},
		"model of a number":    {`{"model":4,"x":"b"}`, "", false},
		"model of null":        {`{"model":null,"stream":true}`, "", true},
		"an escaped quote":     {`{"prompt":"say \"model\":\"x\" \\","model":"own"}`, "own", false},
		"braces in a string":   {`{"prompt":"}{][\\\"","model":"own","stream":true}`, "own", true},
		"an escape in it":      {`{"model":"a\u0062c","stream":true}`, "", true},
		"an escape in a key":   {`{"mod\u0065l":"a"}`, "", false},
		"64 bytes":             {`{"model":"` + long + `"}`, long, false},
		"65 bytes":             {`{"model":"` + long + `m"}`, "", false},
		"a key that is longer": {`{"` + long + `model":"a","models":"b","mode":"c"}`, "", false},
		"no object":            {`["model","a"]`, "", false},
		"no JSON":              {`model=a&stream=true`, "", false},
		"cut":                  {`{"model":"a","str`, "a", false},
		"empty":                {"", "", false},
		"after the object":     {`{"a":1} {"model":"b","stream":true}`, "", false},
		"the last one counts":  {`{"model":"a","model":"b"}`, "b", false},
		"unicode":              {`{"model":"модель-ü"}`, "модель-ü", false},
		"a long prompt":        {`{"prompt":"` + strings.Repeat(`x\\`, 5000) + `","model":"own","stream":true}`, "own", true},
	} {
		for _, piece := range []int{1, 2, 7, 64, 1 << 16} {
			model, stream := asked(t, "/v1/chat/completions", "application/json; charset=utf-8", tc.body, piece)
			if model != tc.model || stream != tc.stream {
				t.Errorf("%s, in pieces of %d: model %q, stream %t; want %q, %t", name, piece, model, stream, tc.model, tc.stream)
			}
		}
	}
}

func TestARecordTakesTheDeploymentForTheModelWhereTheBodyHasNone(t *testing.T) {
	const json = "application/json"
	for _, tc := range []struct{ path, contentType, body, want string }{
		{"/openai/deployments/d1/chat/completions", json, `{}`, "d1"},
		{"/openai/deployments/d1", json, `{}`, "d1"},
		{"/openai/deployments/d1/chat/completions", json, `{"model":"m1"}`, "m1"},
		{"/openai/deployments/d1/audio/transcriptions", "multipart/form-data; boundary=x", `{"model":"m1"}`, "d1"},
		{"/openai/deployments/" + strings.Repeat("d", 65) + "/x", json, `{}`, ""},
		{"/v1/audio/transcriptions", "multipart/form-data; boundary=x", `{"model":"m1"}`, ""},
	} {
		if got, _ := asked(t, tc.path, tc.contentType, tc.body, 100); got != tc.want {
			t.Errorf("%s, %s of %s: model %q, want %q", tc.path, tc.body, tc.contentType, got, tc.want)
		}
	}
}

// Names that come in large numbers are not kept for ever, and are still right.
func TestARecordKnowsMoreModelsThanItKeeps(t *testing.T) {
	r := &recorder{}
	rt := middleware.Observe(r.done)(tripFunc(func(req *http.Request) (*http.Response, error) {
		_, _ = io.Copy(io.Discard, req.Body)
		return answer(req, 204, ""), nil
	}))
	for i := range 300 {
		resp, err := rt.RoundTrip(jsonPost(t, `{"model":"m`+strings.Repeat("x", i%60)+string(rune('a'+i/60))+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		readBody(t, resp)
	}
	for i, s := range r.all() {
		if want := "m" + strings.Repeat("x", i%60) + string(rune('a'+i/60)); s.Model != want {
			t.Fatalf("record %d: model %q, want %q", i, s.Model, want)
		}
	}
}

// members returns the raw names and values of a JSON object; not ok for what
// is none.
func members(body []byte) (names []string, values []json.RawMessage, ok bool) {
	if !json.Valid(body) {
		return nil, nil, false
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil, nil, false
	}
	for dec.More() {
		from := dec.InputOffset()
		if _, err := dec.Token(); err != nil {
			return nil, nil, false
		}
		name := body[from:dec.InputOffset()]
		names = append(names, string(name[bytes.IndexByte(name, '"'):]))
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, nil, false
		}
		values = append(values, value)
	}
	return names, values, true
}

// expected returns what encoding/json finds: the model, if it is a string
// without escapes of up to 64 bytes, and the stream. It is not sure of either
// if a member is there twice.
func expected(names []string, values []json.RawMessage) (model string, stream, sure bool) {
	models, streams := 0, 0
	for i, name := range names {
		switch name {
		case `"model"`:
			models++
			raw := values[i]
			if model = ""; raw[0] == '"' && len(raw) <= 66 && !bytes.ContainsRune(raw, '\\') {
				_ = json.Unmarshal(raw, &model) // it is a string
			}
		case `"stream"`:
			streams++
			stream = string(values[i]) == "true"
		}
	}
	return model, stream, models <= 1 && streams <= 1
}

func FuzzRequestScan(f *testing.F) {
	for _, body := range []string{
		`{"model":"gpt-4o","stream":true}`, `{"a":[{"model":"x"}],"model":"y"}`, `{"model":"a\"b","stream":false}`, `{"model":"","stream":null}`,
		`{"x":"\\","model":"m","y":{"stream":true}}`, ` { "stream" : true }`, `[{"model":"x"}]`, `{"model":"a","model":"b","stream":true,"stream":false}`,
		`{"":"","m":{},"stream":[true],"model":1.5e3}`, `{"model"`, `"model"`, `{"model":"` + strings.Repeat("é", 32) + `"}`, `{"stream":true,"model":"a"} x`,
	} {
		f.Add(body, uint8(1))
		f.Add(body, uint8(200))
	}
	f.Fuzz(func(t *testing.T, body string, piece uint8) {
		if !utf8.ValidString(body) || len(body) > 1<<16 {
			return
		}
		model, stream := asked(t, "/v1/x", "application/json", body, int(piece)+1)
		names, values, ok := members([]byte(body))
		if !ok {
			return // it must not fail, and the body must arrive
		}
		wantModel, wantStream, sure := expected(names, values)
		if (sure || wantModel != "") && model != wantModel {
			t.Errorf("%q in pieces of %d: model %q, want %q", body, int(piece)+1, model, wantModel)
		}
		if (sure || wantStream) && stream != wantStream {
			t.Errorf("%q in pieces of %d: stream %t, want %t", body, int(piece)+1, stream, wantStream)
		}
	})
}
