package leaf_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/internal/leaf"
)

func TestASourceHasTimeToSayWhyBeforeTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for given, want := range map[time.Duration]time.Duration{
			time.Second: 900 * time.Millisecond, 10 * time.Second: 9750 * time.Millisecond, time.Hour: time.Hour - 250*time.Millisecond,
		} {
			ctx, cancel := context.WithTimeout(t.Context(), given)
			early, stop := leaf.Early(ctx)
			begin := time.Now()
			<-early.Done()
			if took := time.Since(begin); took != want || ctx.Err() != nil {
				t.Errorf("of %v it leaves %v, want %v", given, took, want)
			}
			stop()
			cancel()
		}
		early, stop := leaf.Early(t.Context())
		if _, ok := early.Deadline(); ok {
			t.Error("a context without a deadline has got one")
		}
		stop()
		if early.Err() == nil {
			t.Error("it cannot be canceled")
		}
	})
}
