package credential_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
)

func TestErrorTexts(t *testing.T) {
	boom := errors.New("boom")
	inner := &credential.SourceError{Source: "inner", Op: "log in", Err: boom, Hint: "check the role"}
	gone := fmt.Errorf("%w: not set", credential.ErrUnavailable)
	for _, c := range []struct {
		err  error
		want string
	}{
		{&credential.SourceError{Source: "store", Op: `read "a"`, Err: boom, Hint: "try again"}, `credential: store: read "a": boom (try again)`},
		{&credential.SourceError{Source: "store", Op: "read", Err: boom}, "credential: store: read: boom"},
		{&credential.SourceError{Source: "store", Err: boom}, "credential: store: boom"},
		{&credential.SourceError{Source: "store", Op: "read"}, "credential: store: read"},
		{&credential.SourceError{Source: "store", Op: "read", Err: inner}, "credential: store: read: inner: log in: boom (check the role)"},
		{&credential.SourceError{Source: "store", Err: gone}, "credential: store: source unavailable: not set"},
		{&credential.SourceError{Source: "store", Err: credential.ErrNotFound}, "credential: store: not found"},
		{&credential.ChainError{}, "credential: the chain is empty"},
		{&credential.ChainError{Errors: []error{gone}}, "credential: source unavailable: not set"},
		{&credential.ChainError{Errors: []error{inner, gone}}, "credential: none of 2 sources is available:\n\t1. inner: log in: boom (check the role)\n\t2. source unavailable: not set"},
		{credential.ErrRejected, "credential: rejected by the service"},
	} {
		if c.err.Error() != c.want {
			t.Errorf("got  %s\nwant %s", c.err, c.want)
		}
	}
	if err := error(&credential.ChainError{Errors: []error{gone, inner}}); !errors.Is(err, boom) || !errors.Is(err, credential.ErrUnavailable) {
		t.Error("a ChainError does not wrap its attempts")
	}
}

func TestErrorsOfACacheSayWhatFailedAndWhatToDo(t *testing.T) {
	get := func(c *credential.Cache, _ credential.Value) error { _, err := c.Retrieve(background); return err }
	refuse := func(c *credential.Cache, v credential.Value) error {
		_, err := c.Replace(background, reject(v))
		return err
	}
	hurried := func(c *credential.Cache, v credential.Value) error {
		ctx, cancel := context.WithTimeout(background, time.Second)
		defer cancel()
		_, err := c.Replace(ctx, reject(v))
		return err
	}
	for name, c := range map[string]struct {
		fault func(*credentialtest.Store)
		act   func(*credential.Cache, credential.Value) error
		want  string
	}{
		"failed":  {func(s *credentialtest.Store) { s.Fail(errDown) }, get, "credential: store: read: 503 Service Unavailable"},
		"hanging": {func(s *credentialtest.Store) { s.Hang() }, get, "credential: store: retrieve: context deadline exceeded (no answer within 10s; check that the store can be reached from here)"},
		"panicked": {func(s *credentialtest.Store) { s.Panic("CANARY") }, get,
			"credential: store: retrieve: panic with a string (a bug in the source)"},
		"gone": {func(s *credentialtest.Store) { s.Fail(fmt.Errorf("%w: not set", credential.ErrUnavailable)) }, get,
			"credential: store: retrieve: gone, after it was there: source unavailable: not set"},
		"expired": {func(s *credentialtest.Store) { s.SetValue(credential.Value{Expires: time.Unix(0, 0), Source: "sts"}) }, get,
			"credential: sts: check the value: it expired at 1970-01-01T00:00:00Z (check the clock here and at the issuer)"},
		"bad":      {func(s *credentialtest.Store) { s.Rotate("C C") }, get, "credential: store: check the secret: byte 2 of 3 is white space (store the key alone)"},
		"rejected": {func(*credentialtest.Store) {}, refuse, "credential: rejected by the service: store has no other value; publish a valid one"},
		"rejected, failed": {func(s *credentialtest.Store) { s.Fail(errDown) }, refuse,
			"credential: rejected by the service: store gave no other value: store: read: 503 Service Unavailable"},
		"rejected, hurried": {func(*credentialtest.Store) {}, hurried,
			"credential: rejected by the service: store gave no other value: the deadline is too near to wait for a new one"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := credentialtest.NewStore(key(1))
				cache, v := accepted(t, store, &credential.CacheOptions{TTL: time.Minute, StaleIfError: -1})
				pass(time.Minute)
				c.fault(store)
				if err := c.act(cache, v); err == nil || err.Error() != c.want {
					t.Errorf("got  %v\nwant %s", err, c.want)
				}
			})
		})
	}
}

func TestErrorOfACallThatLeavesNamesTheSource(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		defer store.Hang()()
		cache := newCache(t, store, nil)
		ctx, cancel := context.WithCancel(background)
		go func() {
			_, err := cache.Retrieve(ctx)
			if err == nil || err.Error() != "credential: waiting for store: context canceled" {
				t.Errorf("got %v", err)
			}
			wantErr(t, err, context.Canceled)
		}()
		synctest.Wait()
		cancel()
		synctest.Wait()
	})
}

// The name of a version stands in logs and reports. A store that is odd, or
// not the one that was meant, can put there what it was asked with.
func TestAVersionThatMayBeASecretIsDropped(t *testing.T) {
	const secret = "sk-CANARY-version-0001"
	for version, kept := range map[string]bool{
		"7": true, "0123456789abcdef0123456789abcdef": true, strings.Repeat("v", 128): true, strings.Repeat("v", 129): false,
		secret: false, "v-" + secret: false, hex.EncodeToString([]byte(secret)): false,
	} {
		src := credential.SourceFunc(func(context.Context) (credential.Value, error) {
			return credential.Value{Secret: credential.NewSecret(secret), Version: version}, nil
		})
		cache, err := credential.NewCache(src, nil)
		if err != nil {
			t.Fatal(err)
		}
		v, err := cache.Retrieve(t.Context())
		if err != nil || v.Secret.IsZero() || (v.Version == version) != kept || !kept && v.Version != "" {
			t.Errorf("a version of %d bytes: %d bytes of it are left, %v", len(version), len(v.Version), err)
		}
	}
}
