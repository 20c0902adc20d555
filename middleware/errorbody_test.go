package middleware_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/middleware"
)

const (
	// azureKey has what JSON and URLs escape.
	azureKey = `CANARY+/a&b"c=`
	// trickyKey has what they escape with, too.
	trickyKey = `CANARY+/a"\b<&%25=\\zz`
)

// A trackedBody counts what is read and closed.
type trackedBody struct {
	io.Reader
	read   atomic.Int64
	closed atomic.Int64
}

func (b *trackedBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.read.Add(int64(n))
	return n, err
}

func (b *trackedBody) Close() error {
	b.closed.Add(1)
	if c, ok := b.Reader.(io.Closer); ok {
		_ = c.Close()
	}
	return nil
}

// refusal returns Auth's answer to a request that the service answered with
// status 422 and this body.
func refusal(t testing.TB, key string, method string, body io.ReadCloser, change func(*http.Response)) *http.Response {
	t.Helper()
	rt := newAuth(t, &keys{key: key}, nil, func(req *http.Request) (*http.Response, error) {
		resp := answer(req, 422, "", "Content-Type", "application/json")
		resp.Body, resp.ContentLength = body, -1
		if change != nil {
			change(resp)
		}
		return resp, nil
	})
	req, err := http.NewRequestWithContext(t.Context(), method, chat, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatal("the call failed")
	}
	return resp
}

func jsonText(s string) string { out, _ := json.Marshal(s); return string(out[1 : len(out)-1]) }

// forms returns the key in every form that an echo may have.
func forms(key string) map[string]string {
	std := base64.StdEncoding.EncodeToString
	dotnet := strings.NewReplacer(`\`, `\\`, `+`, `\u002B`, `"`, `\u0022`, `<`, `\u003C`, `&`, `\u0026`).Replace(key)
	return map[string]string{
		"plain": key, "json": jsonText(key), "json of .NET": dotnet, "json with slashes": strings.ReplaceAll(jsonText(key), "/", `\/`),
		"json in json": jsonText(dotnet), "url in url": url.QueryEscape(url.QueryEscape(key)),
		"url query": url.QueryEscape(key), "url path": url.PathEscape(key), "url lower": lowerHex(url.QueryEscape(key)),
		"base64": std([]byte(key)), "base64url": base64.RawURLEncoding.EncodeToString([]byte(key)),
		"base64 of a header": std([]byte("Bearer " + key + "\r\n")), "basic auth": std([]byte("user:" + key)), "basic auth 2": std([]byte("me:" + key + ":")),
	}
}

func lowerHex(s string) string {
	out := []byte(s)
	for i := range out {
		if out[i] == '%' {
			copy(out[i+1:], strings.ToLower(s[i+1:i+3]))
		}
	}
	return string(out)
}

func TestErrorBodyNeverHoldsTheSecretInAnyForm(t *testing.T) {
	for _, key := range []string{goodKey, azureKey, trickyKey} {
		for name, form := range forms(key) {
			if strings.Contains(name, " in ") && key == trickyKey {
				continue // twice only what is not an escape by itself
			}
			body := `{"error":{"message":"Incorrect API key provided: ` + form + `. Again: (` + form + `)"}}`
			got := readBody(t, refusal(t, key, "POST", io.NopCloser(strings.NewReader(body)), nil))
			if !strings.Contains(got, "[redacted]. Again: ([redacted]") && !strings.HasPrefix(name, "bas") ||
				strings.Count(got, "[redacted]") != 2 || !strings.HasSuffix(got, `)"}}`) {
				t.Errorf("%s (%d bytes): it is not replaced twice, and nothing else", name, len(form))
			}
		}
	}
}

func TestErrorBodyWithoutTheSecretIsUntouched(t *testing.T) {
	for _, body := range []string{"", "x", invalidKey, `{"m":"\u00e9 \\ 100% sk-CANARY-go"}`, strings.Repeat("c2stQ0F", 999), strings.Repeat(`\`, 60<<10)} {
		if got := readBody(t, refusal(t, goodKey, "POST", io.NopCloser(strings.NewReader(body)), nil)); got != body {
			t.Errorf("a body of %d bytes became one of %d", len(body), len(got))
		}
	}
	const words, want = `"a/b", \"a\/b\", xa/b, a\/bx`, `"[redacted]", \"[redacted]\", xa/b, a\/bx`
	if got := readBody(t, refusal(t, "a/b", "POST", io.NopCloser(strings.NewReader(words)), nil)); got != want {
		t.Error("a short secret was not replaced as a word, or inside of one")
	}
}

func TestErrorBodyIsCutAtTheCapWithoutHalfASecret(t *testing.T) {
	for name, form := range forms(goodKey) {
		if strings.HasPrefix(name, "base64 of") || strings.HasPrefix(name, "basic") {
			continue // what is before the secret may stay
		}
		for keep := range len(form) {
			head := strings.Repeat(" ", middleware.DefaultMaxErrorBody-keep)
			body := &trackedBody{Reader: strings.NewReader(head + form + strings.Repeat("y", 1<<20))}
			got := readBody(t, refusal(t, goodKey, "POST", body, nil))
			// At most the digits of base64 that hold no whole byte.
			if got = strings.TrimPrefix(strings.TrimLeft(got, " "), "[redacted]"[:min(keep, 10)]); len(got) > 3 {
				t.Errorf("%s: %d bytes of a secret of %d are left at the cut", name, len(got), len(form))
			}
			if body.read.Load() > 500<<10 || body.closed.Load() != 1 {
				t.Errorf("%d bytes were read, and the body closed %d times", body.read.Load(), body.closed.Load())
			}
		}
	}
}

func TestErrorBodyIsDecompressed(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = io.WriteString(z, "your key "+goodKey)
	_ = z.Close()
	for name, tc := range map[string]struct{ body, encoding, want, left string }{
		"gzip":                {packed.String(), "gzip", "your key [redacted]", ""},
		"x-gzip in capitals":  {packed.String(), "X-GZIP", "your key [redacted]", ""},
		"gzip that is none":   {"plain", "gzip", "plain", ""},
		"gzip that is empty":  {"", "gzip", "", ""},
		"another one":         {"zstd", "zstd", "zstd", "zstd"},
		"none, gzip by magic": {packed.String(), "", packed.String(), ""},
	} {
		resp := refusal(t, goodKey, "POST", io.NopCloser(strings.NewReader(tc.body)), func(resp *http.Response) {
			if tc.encoding != "" {
				resp.Header.Set("Content-Encoding", tc.encoding)
			}
			resp.Header.Set("Content-Length", "12345")
		})
		if got := readBody(t, resp); got != tc.want {
			t.Errorf("%s: got %d bytes, want %d", name, len(got), len(tc.want))
		}
		if resp.Header.Get("Content-Encoding") != tc.left || resp.Header.Get("Content-Length") != "" || resp.ContentLength != -1 {
			t.Errorf("%s: the header describes another body than the one that is there", name)
		}
	}
	resp := refusal(t, goodKey, "POST", io.NopCloser(strings.NewReader(packed.String()[:14])), func(resp *http.Response) {
		resp.Header.Set("Content-Encoding", "gzip")
	})
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("a cut gzip body is no error")
	}
}

func TestErrorBodyThatIsNotThereKeepsItsHeader(t *testing.T) {
	length := func(resp *http.Response) { resp.ContentLength = 77; resp.Header.Set("Content-Length", "77") }
	for name, body := range map[string]io.ReadCloser{"nil": nil, "NoBody": http.NoBody, "HEAD": io.NopCloser(strings.NewReader(""))} {
		method := "POST"
		if name == "HEAD" {
			method = name
		}
		resp := refusal(t, goodKey, method, body, length)
		if got := readBody(t, resp); got != "" || resp.ContentLength != 77 || resp.Header.Get("Content-Length") != "77" {
			t.Errorf("%s: body of %d bytes, length %d; want none, 77", name, len(got), resp.ContentLength)
		}
	}
}

func TestErrorBodyThatHangsIsServedAsFarAsItCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		go func() { _, _ = io.WriteString(w, "so far, your key is "+goodKey[:11]) }()
		body := &trackedBody{Reader: r}
		resp, start := refusal(t, goodKey, "POST", body, nil), time.Now()
		if got := readBody(t, resp); got != "so far, your key is [redacted]" {
			t.Errorf("got %d bytes; want the half of the secret replaced", len(got))
		}
		if d := time.Since(start); d != 5*time.Second || body.closed.Load() != 1 {
			t.Errorf("it took %v and %d closes; want 5s and 1", d, body.closed.Load())
		}
	})
}

func TestErrorBodyThatNobodyReadsIsDrainedInBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := io.Pipe()
		for name, tc := range map[string]struct {
			body io.Reader
			most int64
			time time.Duration
		}{
			"short":   {strings.NewReader(strings.Repeat("x", 200<<10)), 200 << 10, 0},
			"endless": {endless{}, 256 << 10, 0},
			"hanging": {r, 0, 250 * time.Millisecond},
		} {
			body := &trackedBody{Reader: tc.body}
			resp, start := refusal(t, goodKey, "POST", body, nil), time.Now()
			_ = resp.Body.Close()
			_ = resp.Body.Close()
			if d := time.Since(start); d != tc.time || body.read.Load() != tc.most || body.closed.Load() != 1 {
				t.Errorf("%s: %v, %d bytes, %d closes; want %v, %d, 1", name, d, body.read.Load(), body.closed.Load(), tc.time, tc.most)
			}
			if _, err := resp.Body.Read(make([]byte, 1)); !errors.Is(err, http.ErrBodyReadAfterClose) {
				t.Errorf("%s: a read after Close gives %v", name, err)
			}
		}
	})
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestErrorBodyCloseEndsARead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := io.Pipe()
		resp, start := refusal(t, goodKey, "POST", &trackedBody{Reader: r}, nil), time.Now()
		done := make(chan error)
		go func() { _, err := io.ReadAll(resp.Body); done <- err }()
		synctest.Wait()
		_ = resp.Body.Close()
		if err := <-done; err == nil || time.Since(start) != 0 {
			t.Errorf("the read ended with %v after %v; want an error at once", err, time.Since(start))
		}
	})
}

func TestErrorBodyThatBreaksShowsIt(t *testing.T) {
	broken := errors.New("broken")
	body := io.MultiReader(strings.NewReader("head"), errReader{broken})
	resp := refusal(t, goodKey, "POST", io.NopCloser(body), nil)
	if got, err := io.ReadAll(resp.Body); string(got) != "head" || !errors.Is(err, broken) {
		t.Errorf("got %d bytes and %v; want 4 and the error", len(got), err)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func FuzzErrorBody(f *testing.F) {
	f.Add([]byte(invalidKey), "sk-CANARY-1", uint8(0))
	f.Add([]byte("\x1f\x8b\x08\x00\x00"), `CANARY"\%2B+`, uint8(1))
	f.Add([]byte(`\\\u0022%25%2525\/`), `CANARY\u`, uint8(2))
	f.Fuzz(func(t *testing.T, data []byte, key string, form uint8) {
		if len(key) < 8 || len(key) > 64 || len(data) > 1<<16 || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return
		}
		key = "k" + key // no source accepts a quote or a brace in front
		echo := [...]string{
			key, jsonText(key), url.QueryEscape(key), base64.StdEncoding.EncodeToString([]byte(key)), base64.URLEncoding.EncodeToString([]byte("x" + key)),
		}[form%5]
		change := func(resp *http.Response) {
			if form&8 != 0 {
				resp.Header.Set("Content-Encoding", "gzip")
			}
		}
		body := string(data) + "\x00" + echo + "\x00" + string(data)
		resp := refusal(t, key, "POST", io.NopCloser(strings.NewReader(body)), change)
		got, _ := io.ReadAll(resp.Body)
		if len(got) > middleware.DefaultMaxErrorBody || strings.Contains(string(got), key) || strings.Contains(string(got), "\x00"+echo+"\x00") {
			t.Error("the body is longer than the cap, or holds the secret")
		}
	})
}
