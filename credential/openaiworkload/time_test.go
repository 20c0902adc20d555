package openaiworkload_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/platform"
	"github.com/latchkey-go/latchkey/internal/platform/platformtest"
)

// bubble runs f in fake time, and lets the reads that f left behind end.
func bubble(t *testing.T, f func(*testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		defer pass(time.Hour)
		f(t)
	})
}

func TestATokenOfFifteenMinutesCostsAnExchangeInSeven(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var exchanges atomic.Int32
		cache := newCache(t, newSource(t, options(memory(func(*http.Request) (*http.Response, error) {
			exchanges.Add(1)
			return response(200, granted("sk-CANARY-1", `,"expires_in":900`)), nil
		}))))
		last, seen := time.Now(), int32(0)
		for range 3600 {
			if _, err := cache.Retrieve(background); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if n := exchanges.Load(); n > seen {
				gap := time.Since(last)
				if seen > 0 && (gap < 6*time.Minute+44*time.Second || gap > 7*time.Minute+31*time.Second) {
					t.Errorf("exchange %d came %v after the one before it", n, gap)
				}
				last, seen = time.Now(), n
			}
			pass(time.Second)
		}
		if seen < 8 || seen > 9 {
			t.Errorf("%d exchanges in an hour of calls, want 8 or 9", seen)
		}
	})
}

func TestAnOutageOfTheIssuerIsBackedOff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var exchanges atomic.Int32
		var down atomic.Bool
		cache := newCache(t, newSource(t, options(memory(func(*http.Request) (*http.Response, error) {
			exchanges.Add(1)
			if down.Load() {
				return response(503, "CANARY"), nil
			}
			return response(200, granted("sk-CANARY-1", `,"expires_in":900`)), nil
		}))))
		if _, err := cache.Retrieve(background); err != nil {
			t.Fatal(err)
		}
		down.Store(true)
		start := time.Now()
		for time.Since(start) < time.Hour {
			_, err := cache.Retrieve(background)
			if left := 15*time.Minute - time.Since(start); left > 0 && err != nil {
				t.Fatalf("a call failed while the token was good for %v more: %v", left, err)
			} else if left < 0 && err == nil {
				t.Fatal("a token was served past its end")
			}
			pass(100 * time.Millisecond)
		}
		if n := exchanges.Load(); n < 10 || n > 70 {
			t.Errorf("%d exchanges in an hour's outage, want 10 to 70", n)
		}
		down.Store(false)
		pass(73 * time.Second) // the last back-off
		if _, err := cache.Retrieve(background); err != nil {
			t.Errorf("after the outage: %v", err)
		}
	})
}

func TestACancelledLeaderFailsNoOtherCaller(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var exchanges atomic.Int32
		cache := newCache(t, newSource(t, options(memory(func(r *http.Request) (*http.Response, error) {
			exchanges.Add(1)
			select {
			case <-time.After(time.Second):
				return response(200, granted("sk-CANARY-1", "")), nil
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		}))))
		leader, cancel := context.WithCancel(background)
		led := make(chan error, 1)
		go func() {
			_, err := cache.Retrieve(leader)
			led <- err
		}()
		synctest.Wait()
		var failed atomic.Int32
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if _, err := cache.Retrieve(background); err != nil {
					failed.Add(1)
				}
			})
		}
		synctest.Wait()
		cancel()
		if err := <-led; !errors.Is(err, context.Canceled) {
			t.Errorf("the leader got %v", err)
		}
		wg.Wait()
		if failed.Load() != 0 || exchanges.Load() != 1 {
			t.Errorf("%d of 20 other callers failed, want 0; %d exchanges, want 1", failed.Load(), exchanges.Load())
		}
	})
}

func TestNothingIsWaitedForWithoutEnd(t *testing.T) {
	hang := memory(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
	clearEnv(t)
	for name, c := range map[string]struct {
		from, machine string
		want          time.Duration
		is            error
	}{
		"the exchange":                        {"", "silent", 10 * time.Second, context.DeadlineExceeded},
		"a metadata service":                  {"gcp", "google", 97 * time.Second, context.DeadlineExceeded},
		"a metadata service, if there is one": {"gcp", "silent", time.Second, credential.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := options(hang)
				if c.from != "" {
					o.From, o.Token, o.Transport = c.from, nil, hang
				}
				src, start := newSource(t, o), time.Now()
				_, err := src.Retrieve(platform.On(t.Context(), platformtest.Machine(t, c.machine)))
				wantFault(t, err, c.is == context.DeadlineExceeded) //nolint:errorlint // the very one
				if !errors.Is(err, c.is) || time.Since(start) != c.want {
					t.Errorf("after %v, want %v: %v", time.Since(start), c.want, err)
				}
			})
		})
	}
}

func TestARejectedTokenIsExchangedAnew(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var exchanges atomic.Int32
		cache := newCache(t, newSource(t, options(memory(func(*http.Request) (*http.Response, error) {
			if exchanges.Add(1) == 1 {
				return response(200, granted("sk-CANARY-1", "")), nil
			}
			return response(200, granted("sk-CANARY-2", "")), nil
		}))))
		v, err := cache.Retrieve(background)
		if err != nil {
			t.Fatal(err)
		}
		next, err := cache.Replace(background, credential.Rejection{Value: v, StatusCode: 401})
		if err != nil || next.Secret.Equal(v.Secret) || exchanges.Load() != 2 {
			t.Errorf("the same token again: %v; %d exchanges, want 2; %v", next.Secret.Equal(v.Secret), exchanges.Load(), err)
		}
	})
}
