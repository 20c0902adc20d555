package credential_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
)

func TestColdStartOfTenThousandCallersCostsOneRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		store.Delay(time.Second)
		cache := newCache(t, store, nil)
		var wg sync.WaitGroup
		for range 10_000 {
			wg.Go(func() { retrieve(t, cache, 1) })
		}
		wg.Wait()
		wantReads(t, store, 1)
	})
}

func TestCancelledLeaderFailsNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := credentialtest.NewStore(key(1))
		store.Delay(time.Second)
		cache := newCache(t, store, nil)
		ctx, cancel := context.WithCancel(background)
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := cache.Retrieve(ctx)
			wantErr(t, err, context.Canceled)
		})
		synctest.Wait()
		for range 99 {
			wg.Go(func() { retrieve(t, cache, 1) })
		}
		synctest.Wait()
		if d := took(func() { cancel(); synctest.Wait() }); d != 0 {
			t.Errorf("the leader left after %v", d)
		}
		wg.Wait()
		wantReads(t, store, 1)
	})
}

// Promise P4.
func TestWaitersLeaveAtTheirOwnDeadline(t *testing.T) {
	for name, hang := range map[string]func(*credentialtest.Store) func(){
		"a store that hangs":                      (*credentialtest.Store).Hang,
		"a store that hangs, deaf to its context": (*credentialtest.Store).HangDeaf,
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := credentialtest.NewStore(key(1))
				defer hang(store)()
				cache := newCache(t, store, nil)
				var wg sync.WaitGroup
				for i := range 1000 {
					wg.Go(func() {
						deadline := time.Duration(i+1) * 9 * time.Millisecond
						ctx, cancel := context.WithTimeout(background, deadline)
						defer cancel()
						d := took(func() {
							_, err := cache.Retrieve(ctx)
							wantErr(t, err, context.DeadlineExceeded)
						})
						if d > deadline+10*time.Millisecond {
							t.Errorf("left after %v, the deadline was %v", d, deadline)
						}
					})
				}
				wg.Go(func() { // nobody waits without a bound
					if d := took(func() {
						_, err := cache.Retrieve(background)
						wantErr(t, err, context.DeadlineExceeded)
					}); d > credential.DefaultTimeout {
						t.Errorf("without a deadline: left after %v", d)
					}
				})
				wg.Wait()
				wantReads(t, store, 1)
			})
		})
	}
}

func TestReplaceLeavesBeforeTheDeadlineWhateverTheStoreDoes(t *testing.T) {
	for name, hang := range map[string]func(*credentialtest.Store) func(){
		"a store that hangs":                       (*credentialtest.Store).Hang,
		"a store that hangs, deaf to its context":  (*credentialtest.Store).HangDeaf,
		"a store that has only the rejected value": func(*credentialtest.Store) func() { return func() {} },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := credentialtest.NewStore(key(1))
				cache := newCache(t, store, nil)
				v := retrieve(t, cache, 1)
				cache.Accept(v)
				defer hang(store)()
				var wg sync.WaitGroup
				for i := range 1000 {
					wg.Go(func() {
						deadline := time.Duration(i+1) * 5 * time.Millisecond
						ctx, cancel := context.WithTimeout(background, deadline)
						defer cancel()
						d := took(func() {
							_, err := cache.Replace(ctx, reject(v))
							wantErr(t, err, credential.ErrRejected)
						})
						// The rest is for the use of the saved 401.
						if latest := max(0, deadline-max(100*time.Millisecond, deadline/10)); d > latest {
							t.Errorf("left after %v of %v", d, deadline)
						}
					})
				}
				wg.Wait()
			})
		})
	}
}

type pretender struct{ text string }

func (p pretender) Error() string { return p.text }
func (pretender) RuntimeError()   {}

func TestPanickingSourceIsAnErrorWithoutItsText(t *testing.T) {
	for name, c := range map[string]struct {
		fault func()
		says  string
	}{
		"a string":             {func() { panic("CANARY") }, "panic with a string"},
		"an error":             {func() { panic(errors.New("CANARY")) }, "panic with a *errors.errorString"},
		"a value":              {func() { panic(struct{ s string }{"CANARY"}) }, "panic with a struct"},
		"a nil":                {func() { panic(nil) }, "panic called with nil argument"},
		"an error in disguise": {func() { panic(pretender{"CANARY"}) }, "panic with a credential_test.pretender"},
		"a bad index":          {func() { _ = []int{}[len(name(nil))] }, "index out of range"},
		"a bad conversion":     {func() { _ = any("CANARY").(int) }, "interface conversion"},
		"a nil map":            {func() { noMap()["CANARY"] = 1 }, "assignment to entry in nil map"},
		"the goroutine's end":  {runtime.Goexit, "ended its goroutine"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := steps(func(context.Context) (credential.Value, error) {
					c.fault()
					return apiKey(1), nil
				}, gives(apiKey(2)))
				cache := newCache(t, store, nil)
				_, err := cache.Retrieve(background)
				se := (*credential.SourceError)(nil)
				if !errors.As(err, &se) || !se.Transient || se.Source != "script" {
					t.Errorf("got %T, want a transient *SourceError of the source", err)
				}
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("the error does not say %q", c.says)
				}
				if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), "CANARY") {
					t.Error("the error shows the panic's value")
				}
				pass(2 * time.Second)
				retrieve(t, cache, 2)
			})
		})
	}
}

// name keeps the compiler from seeing an index that is out of range.
func name(b []byte) string { return string(b) }

func TestPanickingSourceDoesNotBreakReplace(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := steps(gives(apiKey(1)),
			func(context.Context) (credential.Value, error) { panic("CANARY") },
			func(context.Context) (credential.Value, error) { runtime.Goexit(); panic("unreachable") },
			gives(apiKey(2)))
		cache := newCache(t, store, nil)
		v := retrieve(t, cache, 1)
		cache.Accept(v)
		replace(t, cache, v, 2)
	})
}

// A Stringer on a nil pointer panics when it is named in an error.
type unnamed struct{ name string }

func (u *unnamed) String() string { return u.name }
func (u *unnamed) Retrieve(context.Context) (credential.Value, error) {
	return credential.Value{}, fmt.Errorf("%w here", credential.ErrUnavailable)
}

func TestSourceWithABadNameIsNamedByItsType(t *testing.T) {
	cache := newCache(t, (*unnamed)(nil), nil)
	_, err := cache.Retrieve(background)
	wantErr(t, err, credential.ErrUnavailable)
	if s := cache.String(); s != "cache(*credential_test.unnamed)" {
		t.Errorf("String: %q", s)
	}
}

func TestAReadSeesNothingOfTheCallButItsTrace(t *testing.T) {
	type traceKey struct{}
	type accountKey struct{}
	bubble(t, func(t *testing.T) {
		read := 0
		cache := newCache(t, credential.SourceFunc(func(ctx context.Context) (credential.Value, error) {
			read++
			if ctx.Value(traceKey{}) != "trace" {
				t.Error("the trace is lost")
			}
			if ctx.Value(accountKey{}) != nil {
				t.Error("one caller's context decides another's credential")
			}
			if end, ok := ctx.Deadline(); !ok || time.Until(end) != 3*time.Second {
				t.Errorf("the read has %v, want the Timeout", time.Until(end))
			}
			return apiKey(read), nil
		}), &credential.CacheOptions{Timeout: 3 * time.Second, ReadContext: func(call context.Context) context.Context {
			ctx, cancel := context.WithCancel(context.WithValue(background, traceKey{}, call.Value(traceKey{})))
			cancel()
			return ctx // a read does not end with a call
		}})
		ctx := context.WithValue(context.WithValue(background, traceKey{}, "trace"), accountKey{}, "mine")
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		v, err := cache.Retrieve(ctx)
		want(t, 1, v, err)
		v, err = cache.Replace(ctx, reject(v))
		want(t, 2, v, err)
	})
}

func TestAReadContextThatFailsIsTheBackground(t *testing.T) {
	for name, f := range map[string]func(context.Context) context.Context{
		"panics":      func(context.Context) context.Context { panic("CANARY") },
		"returns nil": func(context.Context) context.Context { return nil },
	} {
		cache := newCache(t, credentialtest.NewStore(key(1)), &credential.CacheOptions{ReadContext: f})
		if v, err := cache.Retrieve(background); err != nil || nth(v) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEachSourceOfAChainHasItsOwnTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		slow := func(n int, err error) credential.Source {
			return credential.SourceFunc(func(context.Context) (credential.Value, error) {
				pass(8 * time.Second)
				return apiKey(n), err
			})
		}
		chain, err := credential.NewChain(slow(0, credential.ErrUnavailable), slow(0, credential.ErrUnavailable), slow(1, nil))
		if err != nil {
			t.Fatal(err)
		}
		cache := newCache(t, chain, nil)
		var wg sync.WaitGroup
		for i := range 30 { // a later caller joins, and does not abandon
			wg.Go(func() { pass(time.Duration(i) * 750 * time.Millisecond); retrieve(t, cache, 1) })
		}
		wg.Wait()
	})
}

func noMap() map[string]int { return nil }
