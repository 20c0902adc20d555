package middleware_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

// A provider whose Replace waits for as long as it may.
type slowProvider struct{ credential.Value }

func (p slowProvider) Retrieve(context.Context) (credential.Value, error) { return p.Value, nil }
func (slowProvider) Accept(credential.Value)                              {}
func (slowProvider) Replace(ctx context.Context, _ credential.Rejection) (credential.Value, error) {
	<-ctx.Done()
	return credential.Value{}, ctx.Err()
}

func TestACallThatCannotBeSentAgainWaitsLittleForAnotherKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth, err := middleware.Auth(slowProvider{credential.Value{Secret: credential.NewSecret(deadKey)}}, api, nil)
		if err != nil {
			t.Fatal(err)
		}
		rt := auth(tripFunc(func(req *http.Request) (*http.Response, error) { return answer(req, 401, ""), nil }))
		for name, tc := range map[string]struct {
			again bool
			want  time.Duration
		}{"a body that is gone": {false, 300 * time.Millisecond}, "a body that can be had again": {true, time.Minute}} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			req := post(t, chat, "prompt").WithContext(ctx)
			if !tc.again {
				req.GetBody = nil
			}
			began := time.Now()
			resp, err := rt.RoundTrip(req)
			if took := time.Since(began); err != nil || resp.StatusCode != 401 || took != tc.want {
				t.Errorf("%s: %v after %v, want the refusal after %v", name, err, took, tc.want)
			}
			cancel()
		}
	})
}

// A provider that keeps the context of Replace, and has no other key.
type hastyProvider struct {
	slowProvider
	ctx *context.Context
}

func (p hastyProvider) Replace(ctx context.Context, _ credential.Rejection) (credential.Value, error) {
	*p.ctx = ctx
	return credential.Value{}, errors.New("no other key")
}

func TestTheWaitOfACallThatCannotBeSentAgainIsGivenBack(t *testing.T) {
	var ctx context.Context
	auth, err := middleware.Auth(hastyProvider{slowProvider{credential.Value{Secret: credential.NewSecret(deadKey)}}, &ctx}, api, nil)
	if err != nil {
		t.Fatal(err)
	}
	req := post(t, chat, "prompt")
	req.GetBody = nil
	resp, err := auth(tripFunc(func(req *http.Request) (*http.Response, error) { return answer(req, 401, ""), nil })).RoundTrip(req)
	if err != nil || resp.StatusCode != 401 || !errors.Is(ctx.Err(), context.Canceled) {
		t.Errorf("%v; the context of Replace: %v, want canceled", err, ctx.Err())
	}
}

// A closeCounted body counts how often it is closed.
type closeCounted struct {
	io.Reader
	closed *int
}

func (b *closeCounted) Close() error { *b.closed++; return nil }

// The connection of a refusal is free, and its send has ended, before the
// request goes out again: also where the body breaks off or nobody has read it.
func TestARefusalIsClosedBeforeItsReplay(t *testing.T) {
	for name, body := range map[string]io.Reader{
		"read": strings.NewReader(`{"error":{"message":"no"}}`), "empty": strings.NewReader(""),
		"broken": io.MultiReader(strings.NewReader("{"), brokenBody{errors.New("reset")}), "long": io.LimitReader(forever{}, 10<<20),
	} {
		src := &keys{key: deadKey}
		closed, sends, ended := 0, 0, 0
		auth, err := middleware.Auth(newCache(t, src), api, nil)
		if err != nil {
			t.Fatal(err)
		}
		rt := middleware.Wrap(tripFunc(func(req *http.Request) (*http.Response, error) {
			if sends++; sends == 1 {
				src.set(goodKey)
				resp := answer(req, 401, "")
				resp.Body, resp.ContentLength = &closeCounted{body, &closed}, -1
				return resp, nil
			}
			if closed != 1 || ended != 1 {
				t.Errorf("%s: closed %d times, %d sends told of, before the replay; want 1 and 1", name, closed, ended)
			}
			return answer(req, 200, ""), nil
		}), auth, middleware.Observe(func(context.Context, *middleware.Send) { ended++ }))
		resp, err := rt.RoundTrip(post(t, chat, "prompt"))
		if err != nil || resp.StatusCode != 200 || sends != 2 {
			t.Errorf("%s: %d sends, %v", name, sends, err)
		}
	}
}

// forever is a body without end.
type forever struct{}

func (forever) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}
