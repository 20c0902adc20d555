package interop_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	goopenai "github.com/sashabaranov/go-openai"

	openai "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential"
)

// each runs f for both schemes, with a rig of its own.
func each(t *testing.T, f func(t *testing.T, r *rig), edit ...func(*client.Config)) {
	t.Helper()
	for _, scheme := range schemes {
		t.Run(scheme, func(t *testing.T) { f(t, newRig(t, scheme, edit...)) })
	}
}

func TestBothSDKsWorkThroughTheClient(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		for _, s := range r.sdks() {
			for _, c := range s.all() {
				if err := c.run(t.Context()); err != nil {
					t.Errorf("%s: %s: %s", s.name, c.name, shown(err))
				}
			}
		}
		if n := r.store.Reads(); n != 1 {
			t.Errorf("%d reads of the store, want 1", n)
		}
		if n := r.srv.Stats().Unauthorized; n != 0 {
			t.Errorf("%d requests without the right key", n)
		}
	})
}

func TestEveryCallOutlivesARotationForOneReadOfTheStore(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		for _, s := range r.sdks() {
			for _, c := range s.all() {
				if err := c.run(t.Context()); err != nil {
					t.Fatalf("%s: %s: before the rotation: %s", s.name, c.name, shown(err))
				}
				reads, refused := r.store.Reads(), r.srv.Stats().Unauthorized
				r.rotate()
				if err := c.run(t.Context()); err != nil {
					t.Errorf("%s: %s: %s", s.name, c.name, shown(err))
				}
				if n := r.store.Reads() - reads; n != 1 {
					t.Errorf("%s: %s: %d reads of the store, want 1", s.name, c.name, n)
				}
				if n := r.srv.Stats().Unauthorized - refused; n != 1 {
					t.Errorf("%s: %s: %d refusals, want 1", s.name, c.name, n)
				}
			}
		}
	})
}

func TestManyCallsInFlightShareOneReadOfTheStore(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		calls := append(r.sdks()[0].all(), r.sdks()[1].all()...)
		if err := calls[0].run(t.Context()); err != nil {
			t.Fatal(shown(err))
		}
		reads := r.store.Reads()
		r.rotate()
		errs := make(chan error, 4*len(calls))
		for range 4 {
			for _, c := range calls {
				go func() { errs <- c.run(t.Context()) }()
			}
		}
		for range cap(errs) {
			if err := <-errs; err != nil {
				t.Error(shown(err))
			}
		}
		if n := r.store.Reads() - reads; n != 1 {
			t.Errorf("%d reads of the store for %d calls, want 1", n, cap(errs))
		}
	})
}

func TestTheServicesErrorsArriveAsTheSDKsOwn(t *testing.T) {
	cases := []struct {
		name    string
		kind    refusal
		fault   *clienttest.Fault
		status  int
		message string
	}{
		{"404", unknownModel, nil, 404, "does not exist"},
		{"400", noMessages, nil, 400, "messages"},
		{"429 quota", ordinary, fault(clienttest.QuotaExceeded), 429, "exceeded your current quota"},
		{"401 of another kind", ordinary, fault(clienttest.NotMember), 401, "must be a member"},
		{"503 asking for an hour", ordinary, &clienttest.Fault{
			Status: 503, Body: `{"error":{"message":"later"}}`, Header: http.Header{"Retry-After": {"3600"}},
		}, 503, "later"},
	}
	each(t, func(t *testing.T, r *rig) {
		for _, s := range r.sdks() {
			for _, tc := range cases {
				if tc.fault != nil {
					r.srv.Inject(*tc.fault)
				}
				before := r.srv.Stats().Requests
				checkRefusal(t, s, tc.name, s.refused(t.Context(), tc.kind), tc.status, tc.message)
				if n := r.srv.Stats().Requests - before; n != 1 {
					t.Errorf("%s: %s: sent %d times, want once", s.name, tc.name, n)
				}
			}
		}
	})
}

func fault(kind clienttest.ErrorKind) *clienttest.Fault {
	f := kind.Fault()
	return &f
}

func checkRefusal(t *testing.T, s sdk, name string, err error, status int, message string) {
	t.Helper()
	code, text, ok := s.status(err)
	switch {
	case err == nil:
		t.Errorf("%s: %s: no error", s.name, name)
	case !ok:
		t.Errorf("%s: %s: a %T, not the SDK's type", s.name, name, err)
	case code != status || !strings.Contains(text, message):
		t.Errorf("%s: %s: status %d, want %d, or the message is not the service's", s.name, name, code, status)
	}
}

func TestAWrongKeyIsTheServicesOwn401(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.srv.Rotate(fakeKey(99)) // and the store never learns of it
		for _, s := range r.sdks() {
			err := s.refused(t.Context(), ordinary)
			checkRefusal(t, s, "wrong key", err, 401, "Incorrect API key")
			if err != nil && holdsKey(err.Error()) {
				t.Errorf("%s: the error shows the key", s.name)
			}
		}
	}, func(cfg *client.Config) { cfg.Cache = &credential.CacheOptions{Grace: -1} })
}

// half cuts a stream in good order after two events.
func half(path string) clienttest.Fault { return clienttest.Fault{Path: path, CutAfter: 2} }

func TestAStreamCutShortIsAnErrorInBothSDKs(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		for _, s := range r.sdks() {
			for _, c := range s.streams {
				r.srv.Inject(half(c.path))
				if err := c.run(t.Context()); !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("%s: %s: got %s, want io.ErrUnexpectedEOF", s.name, c.name, shown(err))
				}
				r.srv.Inject(clienttest.Fault{Path: c.path, ResetAfter: 2})
				if err := c.run(t.Context()); err == nil || errors.Is(err, errHalf) {
					t.Errorf("%s: %s: a stream that was reset: got %s, want an error", s.name, c.name, shown(err))
				}
			}
		}
	})
}

// The other half of the promise above: without the guard nobody notices.
func TestWithoutTheGuardAStreamCutShortIsNoError(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		bare := bareSDKs(r.srv, fakeKey(0))
		for _, s := range append(bare, r.sdks()...) {
			for _, c := range s.streams {
				r.srv.Inject(half(c.path))
				if err := c.run(t.Context()); !errors.Is(err, errHalf) {
					t.Errorf("%s: %s: got %s; then the guard is not what makes it an error", s.name, c.name, shown(err))
				}
			}
		}
	}, func(cfg *client.Config) { cfg.DisableStreamGuard = true })
}

// bareSDKs are the SDKs as they come, with a key that stays what it is.
func bareSDKs(srv *clienttest.Server, key string) []sdk {
	official := openai.NewClient(option.WithBaseURL(srv.URL), option.WithAPIKey(key), option.WithHTTPClient(srv.Client()))
	cfg := goopenai.DefaultConfig(key)
	cfg.BaseURL, cfg.HTTPClient = strings.TrimSuffix(srv.URL, "/"), srv.Client()
	return []sdk{openaiGo(official), goOpenAI(goopenai.NewClientWithConfig(cfg))}
}

func TestTheSDKsAloneFailAfterARotation(t *testing.T) {
	srv := newServer(t, "http", fakeKey(0))
	bare := bareSDKs(srv, fakeKey(0))
	srv.Rotate(fakeKey(1))
	for _, s := range bare {
		failed := 0
		for _, c := range s.all() {
			if code, _, ok := s.status(c.run(t.Context())); ok && code == http.StatusUnauthorized {
				failed++
			}
		}
		if failed != len(s.all()) {
			t.Errorf("%s: %d of %d calls failed; the comparison does not hold any more", s.name, failed, len(s.all()))
		}
		t.Logf("%s with a static key: %d of %d calls fail with 401 after a rotation", s.name, failed, len(s.all()))
	}
}

func TestACallReturnsWithinItsOwnDeadline(t *testing.T) {
	r := newRig(t, "http")
	release := r.store.Hang()
	defer release()
	for _, s := range r.sdks() {
		for _, c := range s.all() {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			if err := c.run(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %s: got %s, want the deadline", s.name, c.name, shown(err))
			}
			cancel()
		}
	}
}
