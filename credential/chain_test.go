package credential_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
)

func newChain(t testing.TB, sources ...credential.Source) *credential.Chain {
	t.Helper()
	chain, err := credential.NewChain(sources...)
	if err != nil {
		t.Fatalf("NewChain: %v", err)
	}
	return chain
}

func absent() *credentialtest.Store {
	store := credentialtest.NewStore("")
	store.Fail(fmt.Errorf("%w: nothing here", credential.ErrUnavailable))
	return store
}

func TestFirstAvailableSourceWinsAndStays(t *testing.T) {
	bubble(t, func(t *testing.T) {
		first, second, third := absent(), credentialtest.NewStore(key(2)), credentialtest.NewStore(key(3))
		chain := newChain(t, first, second, third)
		cache := newCache(t, chain, &credential.CacheOptions{TTL: time.Minute})
		retrieve(t, cache, 2)
		first.Fail(nil)
		first.Rotate(key(1)) // too late: another account may be behind it
		for range 10 {
			pass(time.Minute)
			retrieve(t, cache, 2)
		}
		wantReads(t, first, 1)
		wantReads(t, third, 0)
		v, err := chain.Retrieve(background) // by itself it has no memory
		want(t, 1, v, err)
	})
}

func TestWinnerThatGoesAwayIsBridgedAndNotReplaced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		first, second := credentialtest.NewStore(key(1)), credentialtest.NewStore(key(2))
		cache := newCache(t, newChain(t, first, second), &credential.CacheOptions{TTL: time.Minute, StaleIfError: time.Hour})
		retrieve(t, cache, 1)
		first.Fail(credential.ErrUnavailable)
		for range 60 {
			pass(time.Minute)
			retrieve(t, cache, 1)
		}
		pass(time.Minute)
		if _, err := cache.Retrieve(background); err == nil || !strings.Contains(err.Error(), "gone, after it was there") {
			t.Errorf("got %v", err)
		}
		wantReads(t, second, 0)
	})
}

func TestConfiguredSourceThatFailsNeverFallsThrough(t *testing.T) {
	for name, fault := range map[string]error{
		"an outage":      errDown,
		"not found":      credential.ErrNotFound,
		"access denied":  errors.New("403"),
		"its own cancel": context.Canceled,
	} {
		t.Run(name, func(t *testing.T) {
			first, second := credentialtest.NewStore(key(1)), credentialtest.NewStore(key(2))
			first.Fail(fault)
			chain := newChain(t, absent(), first, second)
			for _, src := range []credential.Source{chain, newCache(t, chain, nil), newChain(t, chain, second)} {
				_, err := src.Retrieve(background)
				wantErr(t, err, fault)
			}
			wantReads(t, second, 0)
		})
	}
}

func TestSourceWithABadSecretNeverFallsThrough(t *testing.T) {
	second := credentialtest.NewStore(key(2))
	t.Setenv("LATCHKEY_TEST_KEY", "sk CANARY")
	_, err := newCache(t, newChain(t, credential.Env("LATCHKEY_TEST_KEY"), second), nil).Retrieve(background)
	if err == nil || strings.Contains(err.Error(), "CANARY") {
		t.Error("no error, or one with the secret")
	}
	wantReads(t, second, 0)
}

func TestHangingSourceNeverFallsThrough(t *testing.T) {
	bubble(t, func(t *testing.T) {
		first, second := credentialtest.NewStore(key(1)), credentialtest.NewStore(key(2))
		defer first.Hang()()
		_, err := newCache(t, newChain(t, first, second), nil).Retrieve(background)
		wantErr(t, err, context.DeadlineExceeded)
		ctx, cancel := context.WithTimeout(background, time.Second)
		defer cancel()
		_, err = newChain(t, first, second).Retrieve(ctx)
		wantErr(t, err, context.DeadlineExceeded)
		wantReads(t, second, 0)
	})
}

func TestCallersContextIsNeverUnavailable(t *testing.T) {
	src := credential.SourceFunc(func(ctx context.Context) (credential.Value, error) {
		return credential.Value{}, fmt.Errorf("%w: %w", credential.ErrUnavailable, ctx.Err())
	})
	second := credentialtest.NewStore(key(2))
	_, err := newChain(t, src, second).Retrieve(canceled())
	if !errors.Is(err, context.Canceled) || errors.Is(err, credential.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	wantReads(t, second, 0)
}

func TestChainErrorListsEveryAttempt(t *testing.T) {
	chain := newChain(t, credential.Env("LATCHKEY_TEST_UNSET"), newChain(t, absent(), credential.File("/nonexistent/key")), absent())
	for _, src := range []credential.Source{chain, newCache(t, chain, nil)} {
		_, err := src.Retrieve(background)
		wantErr(t, err, credential.ErrUnavailable)
		ce := (*credential.ChainError)(nil)
		if !errors.As(err, &ce) || len(ce.Errors) != 3 {
			t.Fatalf("got %T", err)
		}
		const golden = `credential: none of 3 sources is available:
	1. env:LATCHKEY_TEST_UNSET: source unavailable: the variable is unset or empty (set it)
	2. none of 2 sources is available:
		1. source unavailable: nothing here
		2. file:/nonexistent/key: source unavailable: there is no such file (mount or write it)
	3. source unavailable: nothing here`
		if err.Error() != golden {
			t.Errorf("got\n%v\nwant\n%s", err, golden)
		}
	}
}

func TestNewChainRefusesNonsense(t *testing.T) {
	store := credentialtest.NewStore(key(1))
	for name, c := range map[string]struct {
		sources []credential.Source
		says    string
	}{
		"none":           {nil, "credential: a chain needs at least one source"},
		"a nil":          {[]credential.Source{store, nil}, "credential: source 2 of the chain: nil source"},
		"a cache":        {[]credential.Source{newCache(t, store, nil)}, "credential: source 1 of the chain: a Cache has to be outermost: put the source itself here and one Cache around the whole"},
		"an empty chain": {[]credential.Source{&credential.Chain{}}, "credential: source 1 of the chain: an empty chain"},
		"half a standby": {[]credential.Source{credential.Standby(store, nil)}, "credential: source 1 of the chain: standby: retrieve: nil source (pass two sources)"},
	} {
		if _, err := credential.NewChain(c.sources...); err == nil || err.Error() != c.says {
			t.Errorf("%s:\ngot  %v\nwant %s", name, err, c.says)
		}
	}
}

func TestZeroChainIsUnavailable(t *testing.T) {
	for _, chain := range []*credential.Chain{nil, {}} {
		_, err := chain.Retrieve(background)
		wantErr(t, err, credential.ErrUnavailable)
		if s := chain.String(); s != "chain()" {
			t.Errorf("String: %q", s)
		}
	}
}

func TestChainDoesNotSeeChangesOfItsArguments(t *testing.T) {
	sources := []credential.Source{credentialtest.NewStore(key(1))}
	chain := newChain(t, sources...)
	sources[0] = nil
	v, err := chain.Retrieve(background)
	want(t, 1, v, err)
}

func TestSourcesNameThemselves(t *testing.T) {
	store := credentialtest.NewStore(key(1))
	src := newChain(t, credential.Env("KEY"), credential.Standby(store, credential.File("/run/key")),
		credential.SourceFunc(nil), credential.Static(credential.NewSecret(key(1)), credential.APIKey))
	const golden = "cache(chain(env:KEY, standby(store, file:/run/key), credential.SourceFunc, static))"
	if s := newCache(t, src, nil).String(); s != golden {
		t.Errorf("got %s", s)
	}
	if _, err := credential.SourceFunc(nil).Retrieve(background); err == nil {
		t.Error("a nil SourceFunc gave a value")
	}
}
