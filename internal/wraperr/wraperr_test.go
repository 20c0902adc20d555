package wraperr_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/internal/wraperr"
)

func TestAWrappedTimeoutIsATimeoutForEveryWayToAsk(t *testing.T) {
	dns := &net.DNSError{IsTimeout: true}
	for name, tc := range map[string]struct {
		err  error
		want bool
	}{
		"deadline":          {wraperr.New("x", context.DeadlineExceeded), true},
		"second":            {wraperr.New("x", errors.New("y"), context.DeadlineExceeded), true},
		"under fmt":         {wraperr.New("x", fmt.Errorf("y: %w", dns)), true},
		"wrapped twice":     {wraperr.New("x", wraperr.New("y", os.ErrDeadlineExceeded)), true},
		"canceled":          {wraperr.New("x", context.Canceled), false},
		"nothing":           {wraperr.New("x"), false},
		"a refused connect": {wraperr.New("x", &net.OpError{Op: "dial", Err: errors.New("refused")}), false},
	} {
		if got := os.IsTimeout(tc.err); got != tc.want {
			t.Errorf("%s: os.IsTimeout %t", name, got)
		}
		if got := (&url.Error{Err: tc.err}).Timeout(); got != tc.want {
			t.Errorf("%s: url.Error.Timeout %t", name, got)
		}
		var asNet net.Error
		if !errors.As(tc.err, &asNet) || asNet.Timeout() != tc.want {
			t.Errorf("%s: as a net.Error it is not a timeout: %t", name, !tc.want)
		}
	}
}

func TestTheEndOfAContextIsFoundBesideItsCause(t *testing.T) {
	cause := errors.New("shutting down")
	ctx, cancel := context.WithCancelCause(t.Context())
	broken := errors.New("broken")
	if err := wraperr.Context(ctx, broken); err != broken { //nolint:errorlint // the very error
		t.Error("an error was changed though the context has not ended")
	}
	cancel(cause)
	err := wraperr.Context(ctx, broken)
	for _, want := range []error{broken, cause, context.Canceled} {
		if !errors.Is(err, want) {
			t.Errorf("%v is not found", want)
		}
	}
	if wraperr.Context(ctx, err) != err { //nolint:errorlint // the very error
		t.Error("wrapped twice")
	}
	late, stop := context.WithDeadlineCause(t.Context(), time.Unix(0, 0), cause)
	defer stop()
	if err := wraperr.Context(late, cause); !os.IsTimeout(err) {
		t.Error("the end of a deadline with a cause is no timeout")
	}
}
