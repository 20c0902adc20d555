package leaf_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/internal/leaf"
)

var errCause = errors.New("the caller's cause")

// bad is work that gives no answer.
func bad() map[string]func(context.Context) (int, error) {
	return map[string]func(context.Context) (int, error){
		"panics":             func(context.Context) (int, error) { panic("CANARY") },
		"ends its goroutine": func(context.Context) (int, error) { runtime.Goexit(); return 0, nil },
	}
}

func TestACallerLeavesWorkThatIsDeafToItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errCause)
		defer cancel()
		deaf := make(chan struct{})
		start := time.Now()
		_, err := leaf.Detached(ctx, func(context.Context) (int, error) { <-deaf; return 1, nil })
		if !errors.Is(err, errCause) || time.Since(start) != time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		close(deaf) // the bubble ends only if the goroutine does
		if n, err := leaf.Detached(t.Context(), func(context.Context) (int, error) { return 2, errCause }); n != 2 || !errors.Is(err, errCause) {
			t.Errorf("got %d, %v", n, err)
		}
	})
}

func TestWorkThatPanicsIsAnErrorThatDoesNotSayWithWhat(t *testing.T) {
	for name, work := range bad() {
		var g leaf.Group[int]
		_, detached := leaf.Detached(t.Context(), work)
		_, grouped := g.Do(t.Context(), time.Now(), time.Minute, work)
		for _, err := range []error{detached, grouped} {
			if !errors.Is(err, leaf.ErrEnded) || strings.Contains(err.Error(), "CANARY") {
				t.Errorf("%s: not ErrEnded (%T)", name, err)
			}
		}
		if n, err := g.Do(t.Context(), time.Now(), time.Minute, func(context.Context) (int, error) { return 3, nil }); n != 3 || err != nil {
			t.Errorf("%s, and then: %d, %v", name, n, err)
		}
	}
}

func TestOneWorksForAllAndEachLeavesByItsOwnContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g leaf.Group[int]
		started := 0
		work := func(ctx context.Context) (int, error) {
			started++
			select {
			case <-time.After(10 * time.Second):
				return started, nil
			case <-ctx.Done():
				return 0, context.Cause(ctx)
			}
		}
		first, cancel := context.WithTimeoutCause(t.Context(), time.Second, errCause)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := g.Do(first, time.Now(), time.Minute, work); !errors.Is(err, errCause) {
				t.Errorf("who began it: %v", err)
			}
		})
		synctest.Wait()
		for range 8 {
			wg.Go(func() {
				if n, err := g.Do(t.Context(), time.Now(), time.Minute, work); n != 1 || err != nil {
					t.Errorf("who joined it: %d, %v", n, err)
				}
			})
		}
		wg.Wait()
		if n, err := g.Do(t.Context(), time.Now(), time.Second, work); n != 0 || !errors.Is(err, context.DeadlineExceeded) || started != 2 {
			t.Errorf("work of 10 s with a limit of 1 s: %d, %v, started %d times", n, err, started)
		}
	})
}

// The process was frozen with work under way that will never end.
func TestWorkThatIsPastItsLimitIsNotJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g leaf.Group[int]
		hung := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, _ = g.Do(ctx, time.Now(), time.Second, func(context.Context) (int, error) { <-hung; return 0, nil })
		next := func(context.Context) (int, error) { return 5, nil }
		short, stop := context.WithTimeout(t.Context(), time.Millisecond)
		defer stop()
		if _, err := g.Do(short, time.Now(), time.Second, next); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("within the limit it is joined: %v", err)
		}
		if n, err := g.Do(t.Context(), time.Now().Add(time.Minute), time.Second, next); n != 5 || err != nil {
			t.Errorf("past the limit: %d, %v", n, err)
		}
		close(hung)
	})
}
