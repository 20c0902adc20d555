package middleware_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/middleware"
)

// A script answers each send with the next step, and the last one for ever.
type script struct {
	steps  []func(*http.Request) (*http.Response, error)
	sent   []*http.Request
	bodies []string
	at     []time.Time
	given  []*trackedBody // the bodies of the answers
}

func (s *script) RoundTrip(req *http.Request) (*http.Response, error) {
	body := ""
	if req.Body != nil {
		data, _ := io.ReadAll(req.Body)
		_ = req.Body.Close()
		body = string(data)
	}
	s.sent, s.bodies, s.at = append(s.sent, req), append(s.bodies, body), append(s.at, time.Now())
	resp, err := s.steps[min(len(s.sent), len(s.steps))-1](req)
	if resp != nil {
		b := &trackedBody{Reader: resp.Body}
		resp.Body, s.given = b, append(s.given, b)
	}
	return resp, err
}

func status(code int, body string, header ...string) func(*http.Request) (*http.Response, error) {
	return func(req *http.Request) (*http.Response, error) { return answer(req, code, body, header...), nil }
}

func failure(err error) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

func newRetry(t testing.TB, opts *middleware.RetryOptions, base http.RoundTripper) http.RoundTripper {
	t.Helper()
	mw, err := middleware.Retry(opts)
	if err != nil {
		t.Fatal(err)
	}
	return mw(base)
}

func TestRetrySendsAgainWhatMayBeBetterNextTime(t *testing.T) {
	quota := func(field, code string) string { return `{"error":{"message":"m","` + field + `":"` + code + `"}}` }
	for name, tc := range map[string]struct {
		step  func(*http.Request) (*http.Response, error)
		sends int
	}{
		"200": {status(200, ""), 1}, "301": {status(301, ""), 1}, "400": {status(400, ""), 1}, "401": {status(401, ""), 1},
		"403": {status(403, ""), 1}, "404": {status(404, ""), 1}, "413": {status(413, ""), 1}, "422": {status(422, ""), 1},
		"408": {status(408, ""), 3}, "409": {status(409, ""), 3}, "429": {status(429, ""), 3}, "500": {status(500, ""), 3},
		"501": {status(501, ""), 1}, "502": {status(502, ""), 3}, "503": {status(503, ""), 3}, "504": {status(504, ""), 3},
		"505": {status(505, ""), 1},

		"told to, 400":     {status(400, "", "x-should-retry", "true"), 3},
		"told to, 200":     {status(200, "", "x-should-retry", "true"), 1},
		"told not to, 500": {status(500, "", "x-should-retry", "false"), 1},
		"told nonsense":    {status(500, "", "x-should-retry", "maybe"), 3},

		"quota, old":          {status(429, quota("code", "insufficient_quota")), 1},
		"quota, by type":      {status(429, quota("type", "insufficient_quota")), 1},
		"quota, credit":       {status(429, quota("code", "credit_balance_exhausted")), 1},
		"quota, organization": {status(429, quota("code", "organization_spend_limit_exceeded")), 1},
		"quota, project":      {status(429, quota("code", "project_spend_limit_exceeded")), 1},
		"quota, usage":        {status(429, quota("code", "organization_usage_limit_exceeded")), 1},
		"quota, hard limit":   {status(429, quota("code", "billing_hard_limit_reached")), 1},
		"quota, told to":      {status(429, quota("code", "insufficient_quota"), "x-should-retry", "true"), 1},
		"rate limit":          {status(429, quota("code", "rate_limit_exceeded")), 3},
		"quota in a message":  {status(429, quota("message", "insufficient_quota")), 3},
		"quota of another":    {status(503, quota("code", "insufficient_quota")), 3},
		"429 that is long":    {status(429, quota("code", strings.Repeat("x", 100<<10))), 3},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{steps: []func(*http.Request) (*http.Response, error){tc.step}}
			req := post(t, chat, "prompt")
			resp, err := newRetry(t, nil, s).RoundTrip(req)
			if err != nil || len(s.sent) != tc.sends {
				t.Fatalf("%s: %d sends, error %v; want %d, none", name, len(s.sent), err, tc.sends)
			}
			want, _ := tc.step(req)
			whole, _ := io.ReadAll(want.Body)
			if got := readBody(t, resp); resp.StatusCode != want.StatusCode || got != string(whole) {
				t.Errorf("%s: the last answer is not the service's own: %d, %d bytes", name, resp.StatusCode, len(got))
			}
			for i, body := range s.bodies {
				if body != "prompt" || s.given[i].closed.Load() == 0 {
					t.Errorf("%s: send %d had half a body, or its answer was not closed", name, i+1)
				}
			}
			if resp.Request != req {
				t.Errorf("%s: the answer is not to the caller's own request", name)
			}
		})
	}
}

func TestRetryWaitsAsTheServiceAsks(t *testing.T) {
	date := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	backoff := [2]time.Duration{375 * time.Millisecond, 500 * time.Millisecond}
	exactly := func(d time.Duration) [2]time.Duration { return [2]time.Duration{d, d} }
	returned := exactly(-1)
	synctest.Test(t, func(t *testing.T) {
		for _, tc := range []struct {
			header []string
			want   [2]time.Duration
		}{
			{nil, backoff},
			{[]string{"Retry-After", "7"}, exactly(7 * time.Second)},
			{[]string{"Retry-After", "1.5"}, exactly(1500 * time.Millisecond)},
			{[]string{"Retry-After", "0"}, exactly(0)},
			{[]string{"Retry-After", "120"}, exactly(2 * time.Minute)},
			{[]string{"Retry-After", "120.001"}, returned},
			{[]string{"Retry-After", "86400"}, returned},
			{[]string{"Retry-After", "99999999999999999999999"}, returned},
			{[]string{"Retry-After", "9223372036854775807"}, returned},
			{[]string{"Retry-After", "in 30 s"}, [2]time.Duration{29 * time.Second, 30 * time.Second}},
			{[]string{"Retry-After", "30 s ago"}, exactly(0)},
			{[]string{"Retry-After", "in 30 s", "Date", "in 25 s"}, exactly(5 * time.Second)},
			{[]string{"Retry-After", "in 30 s", "Date", "in 35 s"}, exactly(0)},
			{[]string{"Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT"}, returned},
			{[]string{"Retry-After", "-1"}, backoff}, {[]string{"Retry-After", "NaN"}, backoff},
			{[]string{"Retry-After", "Inf"}, backoff}, {[]string{"Retry-After", "1e300"}, backoff},
			{[]string{"Retry-After", "0x10"}, backoff}, {[]string{"Retry-After", "5,"}, backoff},
			{[]string{"Retry-After", strings.Repeat("9", 1024)}, backoff}, {[]string{"Retry-After", ""}, backoff},
			{[]string{"Retry-After", "5", "X-Ms-Retry-After-Ms", "40", "Retry-After-Ms", "30"}, exactly(30 * time.Millisecond)},
			{[]string{"Retry-After", "5", "X-Ms-Retry-After-Ms", "40", "Retry-After-Ms", "soon"}, exactly(40 * time.Millisecond)},
			{[]string{"Retry-After", "5", "Retry-After", "6"}, exactly(5 * time.Second)},
		} {
			for i, h := range tc.header {
				tc.header[i] = strings.NewReplacer("in 30 s", date(30*time.Second), "30 s ago", date(-30*time.Second),
					"in 25 s", date(25*time.Second), "in 35 s", date(35*time.Second)).Replace(h)
			}
			s := &script{steps: []func(*http.Request) (*http.Response, error){status(503, "busy", tc.header...), status(200, "")}}
			resp, err := newRetry(t, nil, s).RoundTrip(post(t, chat, "prompt"))
			if err != nil {
				t.Fatalf("%v: %v", tc.header, err)
			}
			waited := time.Duration(-1)
			if len(s.at) == 2 {
				waited = s.at[1].Sub(s.at[0])
			} else if readBody(t, resp) != "busy" {
				t.Errorf("%v: the answer has lost its body", tc.header)
			}
			if waited < tc.want[0] || waited > tc.want[1] {
				t.Errorf("%v: waited %v (-1ns: not at all), want %v", tc.header, waited, tc.want)
			}
		}
	})
}

func TestRetryBacksOffExponentiallyToTheCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []func(*http.Request) (*http.Response, error){status(500, "")}}
		rt := newRetry(t, &middleware.RetryOptions{MaxRetries: 100, Budget: -1}, s)
		if _, err := rt.RoundTrip(post(t, chat, "")); err != nil || len(s.at) != 101 {
			t.Fatalf("%d sends, error %v; want 101, none", len(s.at), err)
		}
		jittered := false
		for i, want := 0, 500*time.Millisecond; i < 100; i, want = i+1, min(2*want, 8*time.Second) {
			got := s.at[i+1].Sub(s.at[i])
			if got < want*3/4 || got > want {
				t.Errorf("wait %d is %v, want %v less a quarter at most", i+1, got, want)
			}
			jittered = jittered || got != want
		}
		if !jittered {
			t.Error("no wait has jitter")
		}
	})
}

func TestRetryReturnsTheAnswerWhenItCannotSendAgain(t *testing.T) {
	broken := errors.New("gone")
	for name, change := range map[string]func(*testing.T, *http.Request) *http.Request{
		"a body without GetBody": func(t *testing.T, r *http.Request) *http.Request { r.GetBody = nil; return r },
		"a GetBody that fails": func(t *testing.T, r *http.Request) *http.Request {
			r.GetBody = func() (io.ReadCloser, error) { return nil, broken }
			return r
		},
		"a deadline before the end of the wait": func(t *testing.T, r *http.Request) *http.Request {
			ctx, cancel := context.WithTimeout(r.Context(), 374*time.Millisecond)
			t.Cleanup(cancel)
			return r.WithContext(ctx)
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{steps: []func(*http.Request) (*http.Response, error){status(429, "slow down")}}
			start := time.Now()
			resp, err := newRetry(t, nil, s).RoundTrip(change(t, post(t, chat, "prompt")))
			if err != nil || len(s.sent) != 1 || readBody(t, resp) != "slow down" || time.Since(start) != 0 {
				t.Errorf("%s: %d sends, error %v, after %v; want the answer of the first at once", name, len(s.sent), err, time.Since(start))
			}
		})
	}
	s := &script{steps: []func(*http.Request) (*http.Response, error){status(429, "")}}
	if _, err := newRetry(t, &middleware.RetryOptions{MaxRetries: -1}, s).RoundTrip(post(t, chat, "prompt")); err != nil || len(s.sent) != 1 {
		t.Errorf("MaxRetries -1: %d sends, error %v; want 1, none", len(s.sent), err)
	}
}

func TestRetryEndsItsWaitWithTheContext(t *testing.T) {
	why := errors.New("the user left")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		s := &script{steps: []func(*http.Request) (*http.Response, error){status(429, "", "Retry-After", "50")}}
		opened := &trackedBody{Reader: strings.NewReader("prompt")}
		req := post(t, chat, "prompt").WithContext(ctx)
		req.GetBody = func() (io.ReadCloser, error) { return opened, nil }
		start := time.Now()
		time.AfterFunc(time.Second, func() { cancel(why) })
		_, err := newRetry(t, nil, s).RoundTrip(req)
		if !errors.Is(err, context.Canceled) || !errors.Is(err, why) || time.Since(start) != time.Second {
			t.Errorf("got %v after %v; want canceled and its cause after 1s", err, time.Since(start))
		}
		if len(s.sent) != 1 || opened.closed.Load() != 1 || s.given[0].closed.Load() != 1 {
			t.Error("something was sent, or a body was left open")
		}
	})
}

func TestRetryKeepsToItsBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []func(*http.Request) (*http.Response, error){status(503, "busy")}}
		rt := newRetry(t, nil, s)
		calls := func(n int) (retries int) {
			before := len(s.sent)
			for range n {
				req := post(t, chat, "prompt")
				var opened []*trackedBody
				req.GetBody = func() (io.ReadCloser, error) {
					opened = append(opened, &trackedBody{Reader: strings.NewReader("prompt")})
					return opened[len(opened)-1], nil
				}
				if _, err := rt.RoundTrip(req); err != nil {
					t.Fatal(err)
				}
				for _, b := range opened {
					if b.closed.Load() != 1 {
						t.Fatal("a body that was not sent was left open")
					}
				}
			}
			return len(s.sent) - before - n
		}
		if got := calls(1000); got < 10 || got > 100 {
			t.Errorf("an outage over 1000 calls added %d sends, want 10 to 100", got)
		}
		s.steps[0] = status(404, "") // the service works again
		calls(5)
		s.steps[0] = status(503, "busy")
		if got := calls(4); got < 5 || got > 6 {
			t.Errorf("after 5 answers %d retries, want 5, or 6 with what was left", got)
		}
		s.steps[0] = status(200, "")
		calls(1000)
		s.steps[0] = status(503, "busy")
		if got := calls(10); got != 10 {
			t.Errorf("after 1000 answers %d retries, want 10: it has a ceiling", got)
		}
		s.steps[0], rt = status(503, "busy"), newRetry(t, &middleware.RetryOptions{Budget: -1}, s)
		if got := calls(100); got != 200 {
			t.Errorf("without a budget %d retries, want 200", got)
		}
	})
}

func TestRetryRefusesNonsense(t *testing.T) {
	for name, opts := range map[string]middleware.RetryOptions{
		"base": {BaseDelay: -1}, "max": {MaxDelay: -1}, "count": {MaxRetries: 101}, "budget": {Budget: 1 << 31},
	} {
		if _, err := middleware.Retry(&opts); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestRetryTellsTheLayersBelowWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []func(*http.Request) (*http.Response, error){status(429, ""), failure(io.EOF), status(200, "")}}
		var out bytes.Buffer
		rt := newRetry(t, nil, middleware.Log(jsonLogger(&out), nil)(s))
		resp, err := rt.RoundTrip(post(t, chat, "prompt"))
		if err != nil {
			t.Fatal(err)
		}
		readBody(t, resp)
		for i, line := range logLines(t, &out) {
			reason := []any{nil, "retry 429", "retry connection error"}[i]
			if line["attempt"] != float64(i+1) || line["reason"] != reason {
				t.Errorf("record %s: attempt %v, reason %v; want %v", strconv.Itoa(i+1), line["attempt"], line["reason"], reason)
			}
		}
	})
}
