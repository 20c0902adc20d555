package middleware_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

func jsonLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewJSONHandler(w, nil)) }

func logLines(t testing.TB, out *bytes.Buffer) (lines []map[string]any) {
	t.Helper()
	for dec := json.NewDecoder(out); ; {
		var line map[string]any
		if err := dec.Decode(&line); err == io.EOF {
			return lines
		} else if err != nil {
			t.Fatal("a record is not JSON")
		}
		lines = append(lines, line)
	}
}

func TestLogWritesOneRecordPerSend(t *testing.T) { synctest.Test(t, testLogWritesOneRecordPerSend) }

func testLogWritesOneRecordPerSend(t *testing.T) {
	src := credential.SourceFunc(func(context.Context) (credential.Value, error) {
		return credential.Value{Secret: credential.NewSecret(goodKey), Source: "vault", Version: "v7"}, nil
	})
	var out bytes.Buffer
	log := middleware.Log(jsonLogger(&out), &middleware.LogOptions{Headers: []string{"openai-processing-ms"}})
	auth, err := middleware.Auth(newCache(t, src), api, nil)
	if err != nil {
		t.Fatal(err)
	}
	rt := middleware.Wrap(tripFunc(func(req *http.Request) (*http.Response, error) {
		time.Sleep(time.Second)
		return answer(req, 200, "hello", "x-request-id", "req_1", "Openai-Processing-Ms", "12", "Set-Cookie", "c",
			"x-ratelimit-remaining-requests", "59", "x-ratelimit-remaining-tokens", "1000"), nil
	}), auth, log)
	resp, err := rt.RoundTrip(post(t, chat+"?api-version=1&sig=x", "prompt"))
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	if out.Len() != 0 {
		t.Error("the record was written before the body had ended")
	}
	readBody(t, resp)
	_, _ = resp.Body.Read(make([]byte, 1))
	lines := logLines(t, &out)
	if len(lines) != 1 {
		t.Fatalf("%d records, want 1", len(lines))
	}
	want := map[string]any{
		"time": lines[0]["time"], "level": "INFO", "msg": "openai request", "method": "POST", "host": "api.example.com",
		"path": "/v1/chat/completions", "status": 200.0, "attempt": 1.0, "request_id": "req_1",
		"credential_source": "vault", "credential_version": "v7", "openai-processing-ms": "12",
		"ratelimit_remaining_requests": "59", "ratelimit_remaining_tokens": "1000", "duration": 2e9, "ttfb": 1e9,
	}
	if !reflect.DeepEqual(lines[0], want) {
		t.Errorf("the record has %v, want %v", slices.Sorted(maps.Keys(lines[0])), slices.Sorted(maps.Keys(want)))
	}
}

func TestLogWritesAtTheEndWhateverItIs(t *testing.T) {
	broken := errors.New("broken")
	type outcome struct {
		step  func(*http.Request) (*http.Response, error)
		use   func(io.ReadCloser)
		level string
		err   any
	}
	readAll := func(b io.ReadCloser) { _, _ = io.ReadAll(b) }
	closeIt := func(b io.ReadCloser) { _ = b.Close() }
	nothing := func(io.ReadCloser) {}
	body := func(b io.ReadCloser) func(*http.Request) (*http.Response, error) {
		return func(req *http.Request) (*http.Response, error) {
			resp := answer(req, 200, "")
			resp.Body = b
			return resp, nil
		}
	}
	for name, tc := range map[string]outcome{
		"read":       {status(200, "hello"), readAll, "INFO", nil},
		"closed":     {status(200, "hello"), closeIt, "INFO", nil},
		"refused":    {status(429, "hello"), readAll, "INFO", nil},
		"failed":     {status(503, "hello"), readAll, "WARN", nil},
		"no answer":  {failure(broken), nothing, "WARN", "broken"},
		"body broke": {body(io.NopCloser(errReader{broken})), readAll, "WARN", "broken"},
		"nil body":   {body(nil), nothing, "INFO", nil},
		"no body":    {body(http.NoBody), nothing, "INFO", nil},
		"switched":   {status(101, "x"), nothing, "INFO", nil},
	} {
		var out bytes.Buffer
		resp, err := middleware.Log(jsonLogger(&out), nil)(tripFunc(tc.step)).RoundTrip(post(t, chat, ""))
		if err == nil {
			tc.use(resp.Body)
		}
		lines := logLines(t, &out)
		if len(lines) != 1 || lines[0]["level"] != tc.level || lines[0]["error"] != tc.err {
			t.Errorf("%s: %d records, %v; want one at %s with error %v", name, len(lines), lines, tc.level, tc.err)
		}
		if err == nil && resp.Body != nil {
			readAll(resp.Body)
			closeIt(resp.Body)
		}
		if len(logLines(t, &out)) != 0 {
			t.Errorf("%s: a second record", name)
		}
	}
}

type duplex struct{ io.ReadWriteCloser }

func TestLogLeavesTheBodyOf101AReadWriteCloser(t *testing.T) {
	body := &duplex{}
	rt := middleware.Log(jsonLogger(io.Discard), nil)(tripFunc(func(req *http.Request) (*http.Response, error) {
		resp := answer(req, http.StatusSwitchingProtocols, "")
		resp.Body = body
		return resp, nil
	}))
	if resp, err := rt.RoundTrip(post(t, chat, "")); err != nil || resp.Body != body {
		t.Errorf("the body of a 101 was wrapped, or failed: %v", err)
	}
}

func TestLogThatIsSwitchedOffCostsNothing(t *testing.T) {
	quiet := slog.New(slog.NewJSONHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelError}))
	req := post(t, chat, "")
	resp := answer(req, 200, "hello")
	base := tripFunc(func(*http.Request) (*http.Response, error) { return resp, nil })
	for name, l := range map[string]*slog.Logger{"nil": nil, "level": quiet, "discard": slog.New(slog.DiscardHandler)} {
		own, rt := resp.Body, middleware.Log(l, nil)(base)
		if got := testing.AllocsPerRun(100, func() { _, _ = rt.RoundTrip(req) }); got != 0 || resp.Body != own {
			t.Errorf("%s: %v allocations, or a wrapped body", name, got)
		}
	}
	// A level that only failures reach.
	for status, want := range map[int]int{200: 0, 500: 1} {
		var out bytes.Buffer
		l := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn}))
		resp := answer(req, status, "x")
		rt := middleware.Log(l, nil)(tripFunc(func(*http.Request) (*http.Response, error) { return resp, nil }))
		if _, err := rt.RoundTrip(req); err != nil {
			t.Fatal(err)
		}
		readBody(t, resp)
		if got := len(logLines(t, &out)); got != want {
			t.Errorf("status %d at level Warn: %d records, want %d", status, got, want)
		}
	}
}

func TestLogRefusesHeadersThatHoldCredentials(t *testing.T) {
	names := []string{
		"Authorization", "authorization", "Api-Key", "X-API-Key", "Ocp-Apim-Subscription-Key", "Cookie", "Set-Cookie", "X-Vault-Token",
		"X-Amz-Security-Token", "Proxy-Authorization", "Www-Authenticate", "X-Client-Secret", "X-Password", "Location", "X-Session-Id", "",
	}
	var out bytes.Buffer
	log := middleware.Log(jsonLogger(&out), &middleware.LogOptions{Headers: append(names, "X-Good", "x-good", "x-ratelimit-reset-tokens")})
	rt := log(tripFunc(func(req *http.Request) (*http.Response, error) {
		resp := answer(req, 204, "", "X-Good", strings.Repeat("\n", 1000), "x-good", "2", "X-Ratelimit-Reset-Tokens", "6ms")
		for _, name := range names {
			resp.Header.Set(name, "CANARY")
		}
		resp.Body = http.NoBody
		return resp, nil
	}))
	if _, err := rt.RoundTrip(post(t, chat, "")); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(out.Bytes(), []byte("CANARY")) || bytes.Count(out.Bytes(), []byte("\n")) != 1 {
		t.Error("a refused header was logged, or a value broke the line")
	}
	line := logLines(t, &out)[0]
	if v, _ := line["x-good"].(string); len(v) != 512 || line["x-ratelimit-reset-tokens"] != "6ms" {
		t.Errorf("an allowed header is missing, or not cut: %d bytes", len(v))
	}
}

func TestLogBelowAuthHidesWhatAuthSent(t *testing.T) {
	for _, step := range []func(*http.Request) (*http.Response, error){
		failure(errors.New("dial " + goodKey)), status(400, "", "X-Request-Id", goodKey), status(200, "", "Apim-Request-Id", url.QueryEscape(goodKey)),
	} {
		auth, err := middleware.Auth(newCache(t, &keys{key: goodKey}), api, &middleware.AuthOptions{KeyHeader: "X-Gateway"})
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		resp, err := middleware.Wrap(tripFunc(step), auth, middleware.Log(jsonLogger(&out), nil)).RoundTrip(post(t, chat, ""))
		if err == nil {
			readBody(t, resp)
		}
		if text := out.String(); strings.Contains(text, goodKey) || strings.Count(text, "[redacted]") != 1 {
			t.Error("the record has the secret, or nothing in its place")
		}
	}
}

func FuzzLogRedaction(f *testing.F) {
	for where := range uint8(10) {
		f.Add(goodKey, "x", where)
	}
	f.Fuzz(func(t *testing.T, key, text string, where uint8) {
		notKey := func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`[]"{}\`, r) }
		key = "CANARY-1" + key // or the escapes that slog adds could make one
		if len(key) > 64 || len(text) > 100 || strings.ContainsFunc(key, notKey) || strings.Contains(text, key) {
			return
		}
		echo := text + [...]string{key, url.QueryEscape(key)}[where/8%2] + text
		var out bytes.Buffer
		log := middleware.Log(jsonLogger(&out), &middleware.LogOptions{Headers: []string{"X-Echo"}})
		rt := log(tripFunc(func(req *http.Request) (*http.Response, error) {
			if where%4 == 0 {
				return nil, errors.New(echo)
			}
			resp := answer(req, 500, "")
			resp.Header["X-Request-Id"], resp.Header["X-Echo"], resp.Header["X-Ratelimit-Remaining-Tokens"] = []string{echo}, []string{echo}, []string{echo}
			if where%4 == 1 {
				resp.Body = io.NopCloser(errReader{errors.New(echo)})
			}
			return resp, nil
		}))
		req := post(t, chat, "")
		req.URL.Path, req.URL.Host, req.Method = echo, echo, echo
		if where%4 == 2 {
			req.Header.Set("Api-Key", key) // without Auth, what the caller sent
		} else {
			req.Header.Set("Authorization", "Bearer "+key)
		}
		if resp, err := rt.RoundTrip(req); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
		}
		if strings.Contains(out.String(), key) || strings.Contains(out.String(), jsonText(key)) || strings.Contains(out.String(), url.QueryEscape(key)) || out.Len() == 0 {
			t.Error("the record holds the secret, or there is none")
		}
	})
}

func TestLogTellsOfAStreamAndOfAWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		retry, err := middleware.Retry(nil)
		if err != nil {
			t.Fatal(err)
		}
		base := &script{steps: []step{status(503, "", "Retry-After", "2"), status(200, "")}}
		rt := middleware.Wrap(base, retry, middleware.Log(jsonLogger(&out), nil))
		resp, err := rt.RoundTrip(jsonPost(t, `{"model":"m","stream":true}`))
		if err != nil {
			t.Fatal(err)
		}
		readBody(t, resp)
		lines := logLines(t, &out)
		if len(lines) != 2 {
			t.Fatalf("%d records, want 2", len(lines))
		}
		if waited, _ := lines[1]["waited"].(float64); lines[0]["waited"] != nil || waited < float64(2*time.Second) {
			t.Errorf("waited %v, and then %v, want the 2 s before the second alone", lines[0]["waited"], lines[1]["waited"])
		}
		for i, line := range lines {
			if line["stream"] != true || line["model"] != "m" {
				t.Errorf("send %d: stream %v of the model %v", i+1, line["stream"], line["model"])
			}
		}
	})
}
