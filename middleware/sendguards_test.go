package middleware_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/middleware"
)

// A stuck body brings text, and nothing more until it is closed.

type stuck struct {
	io.Reader
	closed chan struct{}
	once   sync.Once
}

func newStuck(text string) *stuck {
	return &stuck{Reader: strings.NewReader(text), closed: make(chan struct{})}
}

func (b *stuck) Read(p []byte) (int, error) {
	if n, _ := b.Reader.Read(p); n > 0 {
		return n, nil
	}
	<-b.closed
	return 0, errors.New("closed")
}

func (b *stuck) Close() error { b.once.Do(func() { close(b.closed) }); return nil }

func withBody(req *http.Request, status int, body io.ReadCloser, header ...string) *http.Response {
	resp := answer(req, status, "", header...)
	resp.Body, resp.ContentLength = body, -1
	return resp
}

// The look into a refusal takes a second at most, and a quarter of what is left

// of the call's time; a call without a deadline has no less.

func TestTheLookIntoARefusalIsShort(t *testing.T) {
	const code = `{"error":{"code":"insufficient_quota"}}`
	for name, tc := range map[string]struct {
		timeout, answers, want time.Duration
	}{
		"no deadline":         {0, 0, time.Second},
		"an hour":             {time.Hour, 0, time.Second},
		"two seconds":         {2 * time.Second, 0, 500 * time.Millisecond},
		"the end of its time": {2 * time.Second, 2 * time.Second, time.Millisecond},
		"just before the end": {2 * time.Second, 2*time.Second - 2, time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			auth := newAuth(t, &keys{key: deadKey}, nil, func(req *http.Request) (*http.Response, error) {
				time.Sleep(tc.answers)
				return withBody(req, 400, newStuck(code), "Content-Type", "application/json"), nil
			})
			ctx := t.Context()
			if tc.timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, tc.timeout)
				defer cancel()
			}
			begin := time.Now()
			resp, err := auth.RoundTrip(post(t, chat, "{}").WithContext(ctx))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if took := time.Since(begin) - tc.answers; took != tc.want {
				t.Errorf("%s: it took %v, want %v", name, took, tc.want)
			}
			_ = resp.Body.Close()
		})
	}
	// What comes within it is seen.
	synctest.Test(t, func(t *testing.T) {
		sends := 0
		retry, err := middleware.Retry(nil)
		if err != nil {
			t.Fatal(err)
		}
		rt := retry(tripFunc(func(req *http.Request) (*http.Response, error) {
			sends++
			return withBody(req, 429, io.NopCloser(io.MultiReader(sleeping(500*time.Millisecond), strings.NewReader(code)))), nil
		}))
		if resp, err := rt.RoundTrip(post(t, chat, "{}")); err != nil || resp.StatusCode != 429 || sends != 1 {
			t.Errorf("%v, %v after %d sends, want the spent quota after one", resp, err, sends)
		}
	})
}

// A sleeping reader takes its time to bring nothing.

type sleeping time.Duration

func (d sleeping) Read([]byte) (int, error) { time.Sleep(time.Duration(d)); return 0, io.EOF }

// A refusal that is longer than what is looked into reaches the caller whole.

func TestALookIntoARefusalLosesNothing(t *testing.T) {
	for _, size := range []int{1, 2<<10 - 1, 2 << 10, 2<<10 + 1, 10 << 10, 60 << 10} {
		text := strings.Repeat("a", size)
		auth := newAuth(t, &keys{key: deadKey}, nil, func(req *http.Request) (*http.Response, error) {
			return withBody(req, 400, io.NopCloser(iotest.OneByteReader(strings.NewReader(text))), "Content-Type", "application/json"), nil
		})
		resp, err := auth.RoundTrip(post(t, chat, "{}"))
		if err != nil {
			t.Fatal(err)
		}
		if got := readBody(t, resp); got != text {
			t.Errorf("%d bytes of %d reach the caller", len(got), size)
		}
	}
}

// The header of a refusal without a body tells of the body that it would have.

func TestALookIntoNoBodyKeepsItsLength(t *testing.T) {
	auth := newAuth(t, &keys{key: deadKey}, &middleware.AuthOptions{Refused: func(*http.Response, []byte) bool { return false }}, func(req *http.Request) (*http.Response, error) {
		resp := answer(req, 400, "", "Content-Length", "99", "Content-Type", "application/json")
		resp.ContentLength = 99
		return resp, nil
	})
	req := post(t, chat, "")
	req.Method = http.MethodHead
	resp, err := auth.RoundTrip(req)
	if err != nil || resp.ContentLength != 99 || resp.Header.Get("Content-Length") != "99" {
		t.Errorf("%v, %v, want the length of the answer to a GET", resp, err)
	}
}

// A gzip body that is broken where it begins is an error, and not what is in it.

func TestAGzipBodyThatIsNoneIsAnError(t *testing.T) {
	auth := newAuth(t, &keys{key: deadKey}, nil, func(req *http.Request) (*http.Response, error) {
		return answer(req, 400, "\x1f\x8b\x00 no gzip at all", "Content-Encoding", "gzip"), nil
	})
	resp, err := auth.RoundTrip(post(t, chat, "{}"))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(resp.Body); err == nil || len(text) != 0 {
		t.Errorf("%q, %v", text, err)
	}
	_ = resp.Body.Close()
}

// A body that goes on after it was closed is read no further.

func TestARefusalThatNeverEndsIsReadFor5Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newAuth(t, &keys{key: deadKey}, nil, func(req *http.Request) (*http.Response, error) {
			return withBody(req, 500, io.NopCloser(dripping(100*time.Millisecond))), nil
		})
		resp, err := auth.RoundTrip(post(t, chat, "{}"))
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		text, err := io.ReadAll(resp.Body)
		if took := time.Since(begin); err != nil || len(text) < 49 || len(text) > 51 || took > 5100*time.Millisecond {
			t.Errorf("%d bytes in %v, %v", len(text), took, err)
		}
	})
}

// A dripping reader brings a byte at a time, for ever.

type dripping time.Duration

func (d dripping) Read(p []byte) (int, error) {
	time.Sleep(time.Duration(d))
	p[0] = 'a'
	return 1, nil
}

// A body is a JSON object or names no model, and blanks do not hide one.

func TestTheModelOfABodyIsThatOfItsObject(t *testing.T) {
	for body, want := range map[string]string{
		" \t\r\n{ \t\r\n\"model\" \t\r\n: \t\r\n\"m\"}": "m",
		`x{"model":"m"}`:                  "",
		`"model":"m"`:                     "",
		`["model","m"]`:                   "",
		`{"a":{"model":"x"},"model":"m"}`: "m",
		`{"a":["model","x"],"b":1}`:       "",
		`{"model":{"model":"x"}}`:         "",
		`{"model":["x"]}`:                 "",
		`{"` + strings.Repeat("a", 1000) + `":1,"model":"m"}`: "m",
		`{"model":"` + strings.Repeat("m", 65) + `"}`:         "",
	} {
		var got string
		observe := middleware.Observe(func(_ context.Context, s *middleware.Send) { got = s.Model })
		rt := observe(tripFunc(func(req *http.Request) (*http.Response, error) {
			_, _ = io.Copy(io.Discard, req.Body)
			return answer(req, 200, ""), nil
		}))
		resp, err := rt.RoundTrip(jsonPost(t, body))
		if err != nil {
			t.Fatal(err)
		}
		if _ = readBody(t, resp); got != want {
			t.Errorf("%.60q: the model is %q, want %q", body, got, want)
		}
	}
}

// The copy of a body in which a model is looked for is closed; where there is

// none, or it breaks or ends before its model, the deployment in the path counts.

func TestTheModelOfAThrottledCallIsLookedForInACopy(t *testing.T) {
	const dated = api + "/openai/deployments/d/chat/completions"
	body := func(r io.Reader) func() (io.ReadCloser, error) {
		return func() (io.ReadCloser, error) { return &closingBody{Reader: r, closed: make(chan struct{})}, nil }
	}
	for name, tc := range map[string]struct {
		again func() (io.ReadCloser, error)
		want  string
	}{
		"a model":                     {body(strings.NewReader(`{"model":"m"}`)), "m"},
		"with the end of its copy":    {body(iotest.DataErrReader(strings.NewReader(`{"model":"m"}`))), "m"},
		"no model":                    {body(strings.NewReader(`{"a":1}`)), "d"},
		"a body that is cut":          {body(strings.NewReader(`{"a`)), "d"},
		"a copy that breaks":          {body(iotest.ErrReader(errors.New("gone"))), "d"},
		"a copy that cannot be had":   {func() (io.ReadCloser, error) { return nil, errors.New("gone") }, "d"},
		"a body that comes only once": {nil, "d"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var opened []*closingBody
			var model string
			first := &site{}
			first.set(says(404, `{"error":{"code":"DeploymentNotFound"}}`))
			failover, err := middleware.Failover([]middleware.Route{{Layers: []middleware.Middleware{first.layer}}}, &middleware.FailoverOptions{OnEvent: func(e middleware.RouteEvent) { model = e.Model }})
			if err != nil {
				t.Fatal(err)
			}
			req := post(t, dated, "")
			req.Header.Set("Content-Type", "application/json")
			req.Body, req.GetBody = io.NopCloser(strings.NewReader("sent")), nil
			if tc.again != nil {
				req.GetBody = func() (io.ReadCloser, error) {
					b, err := tc.again()
					if b, ok := b.(*closingBody); ok {
						opened = append(opened, b)
					}
					return b, err
				}
			}
			resp, err := failover(nil).RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if model != tc.want {
				t.Errorf("%s: the model is %q, want %q", name, model, tc.want)
			}
			for _, b := range opened {
				if !b.isClosed() {
					t.Errorf("%s: a copy is open", name)
				}
			}
		})
	}
}
