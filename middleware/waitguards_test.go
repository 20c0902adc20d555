package middleware_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/middleware"
)

// Calls that name no model are of one, whatever their paths are.

func TestCallsThatNameNoModelAreOfOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sites, rt := among(t, 2, 0, nil)
		sites[0].set(says(404, `{"error":{"code":"DeploymentNotFound"}}`))
		for _, url := range []string{chat, api + "/v1/embeddings"} {
			resp, err := rt.RoundTrip(post(t, url, "text"))
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
		}
		only(t, "calls that name no model", sites, nil, 1, 1)
	})
}

// What a body has ended with, it has ended with for every reader: its source is

// not read again.

func TestABodyThatIsKeptEndsOnce(t *testing.T) {
	for name, end := range map[string]error{"in good order": io.EOF, "with an error": errors.New("cable cut")} {
		source := io.MultiReader(strings.NewReader("abc"), &endingOnce{err: end}, strings.NewReader("def"))
		var got [2]string
		rt := middleware.Replay()(tripFunc(func(req *http.Request) (*http.Response, error) {
			again, err := req.GetBody()
			if err != nil {
				t.Fatal(err)
			}
			for i, body := range []io.Reader{req.Body, again} {
				if n, err := body.Read(nil); n != 0 || err != nil {
					t.Errorf("%s: a read of nothing: %d, %v", name, n, err)
				}
				text, err := io.ReadAll(body)
				if got[i] = string(text); err != nil && !errors.Is(err, end) || err == nil && !errors.Is(end, io.EOF) {
					t.Errorf("%s: reader %d: %v", name, i+1, err)
				}
			}
			_ = again.Close()
			_ = req.Body.Close()
			return answer(req, 200, ""), nil
		}))
		req := post(t, chat, "")
		req.Body, req.GetBody, req.ContentLength = io.NopCloser(once{source}), nil, -1
		if _, err := rt.RoundTrip(req); err != nil || got != [2]string{"abc", "abc"} {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// An endingOnce reader has an error, and then nothing.

type endingOnce struct{ err error }

func (e *endingOnce) Read([]byte) (int, error) {
	err := e.err
	if e.err = nil; err == nil {
		return 0, io.EOF
	}
	return 0, errWrap{err}
}

// errWrap keeps io.MultiReader from taking an io.EOF for that of one reader.

type errWrap struct{ error }

func (e errWrap) Unwrap() error { return e.error }

// once gives the error of a reader bare, and then goes on with the next one.

type once struct{ r io.Reader }

func (o once) Read(p []byte) (int, error) {
	n, err := o.r.Read(p)
	if w, ok := err.(errWrap); ok { //nolint:errorlint // made above
		err = w.error
	}
	return n, err
}

// A call that ended with an error, and whose answer is closed only later, takes

// no other call out of the reach of CancelRequest.

func TestAnAnswerThatIsClosedLateHidesNoOtherCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dropped *http.Response
		dropping := func(next http.RoundTripper) http.RoundTripper {
			return tripFunc(func(req *http.Request) (*http.Response, error) {
				resp, err := next.RoundTrip(req)
				if err == nil && req.Header.Get("X-Drop") != "" {
					dropped = resp
					return nil, errors.New("dropped")
				}
				return resp, err
			})
		}
		auth, err := middleware.Auth(newCache(t, &keys{key: goodKey}), api, nil)
		if err != nil {
			t.Fatal(err)
		}
		rt := middleware.Wrap(tripFunc(func(req *http.Request) (*http.Response, error) {
			if req.Header.Get("X-Drop") != "" {
				return answer(req, 200, "{}"), nil
			}
			<-req.Context().Done()
			return nil, req.Context().Err()
		}), middleware.Replay(), dropping, waiting, auth)
		canceler, _ := rt.(interface{ CancelRequest(*http.Request) })
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		start := func() *http.Request {
			req := post(t, chat, "{}").WithContext(ctx)
			wg.Go(func() { _, _ = rt.RoundTrip(req) })
			synctest.Wait()
			return req
		}
		start()
		drop := post(t, chat, "{}")
		drop.Header.Set("X-Drop", "1")
		if _, err := rt.RoundTrip(drop); err == nil {
			t.Fatal("no error")
		}
		last := make(chan error, 1)
		req := post(t, chat, "{}").WithContext(ctx)
		req.Header.Set("X-Wait", "1")
		go func() { _, err := rt.RoundTrip(req); last <- err }()
		synctest.Wait()
		_ = dropped.Body.Close()
		canceler.CancelRequest(req)
		synctest.Wait()
		select {
		case err := <-last:
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		default:
			t.Error("a call is out of the reach of CancelRequest")
		}
		cancel()
		wg.Wait()
	})
}

// waiting is a layer that retries for a minute, for calls that ask for it.

func waiting(next http.RoundTripper) http.RoundTripper {
	retry, err := middleware.Retry(nil)
	if err != nil {
		return next
	}
	wait := retry(says(503, "busy", "Retry-After", "20"))
	return tripFunc(func(req *http.Request) (*http.Response, error) {
		if req.Header.Get("X-Wait") != "" {
			return wait.RoundTrip(req)
		}
		return next.RoundTrip(req)
	})
}

// The error of a call that ended while it waited says why it ended.

func TestTheErrorOfAWaitSaysWhyItEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		retry, err := middleware.Retry(nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(errors.New("the user has left")) })
		_, err = retry(says(503, "busy", "Retry-After", "5")).RoundTrip(post(t, chat, "{}").WithContext(ctx))
		if err == nil || !strings.Contains(err.Error(), "the user has left") || !strings.Contains(err.Error(), "retry 503") || !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}

// An origin has no user information, which its error does not show, and a port

// that is one.

func TestAnOriginHasNoUserAndARealPort(t *testing.T) {
	for _, text := range []string{
		"https://user:CANARY-password@api.example.com", "https://@api.example.com",
		"https://api.example.com:18446744073709552059", "https://api.example.com:65979", "https://api.example.com:0443", "https://api.example.com:0",
	} {
		if mw, err := middleware.Auth(newCache(t, &keys{key: goodKey}), text, nil); mw != nil || err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%d bytes were taken for an origin, or are shown", len(text))
		}
	}
	for _, host := range []string{"[::ffff:127.0.0.1]", "[::1]", "127.8.9.10", "localhost"} {
		if _, err := middleware.Auth(newCache(t, &keys{key: goodKey}), "http://"+host+":"+strconv.Itoa(8080), nil); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
}

// A connection that is there at once was there.

func TestAConnectionThatTakesNoTimeIsRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got *middleware.Send
		auth, err := middleware.Auth(newCache(t, &keys{key: goodKey}), api, nil)
		if err != nil {
			t.Fatal(err)
		}
		rt := middleware.Wrap(tripFunc(func(req *http.Request) (*http.Response, error) {
			httptrace.ContextClientTrace(req.Context()).GotConn(httptrace.GotConnInfo{})
			return answer(req, 200, ""), nil
		}), auth, middleware.Observe(func(_ context.Context, s *middleware.Send) { got = s }))
		resp, err := rt.RoundTrip(post(t, chat, "{}"))
		if err != nil {
			t.Fatal(err)
		}
		if _ = readBody(t, resp); got == nil || got.Connected.IsZero() {
			t.Errorf("the record has no time of its connection: %+v", got)
		}
	})
}
