package parity_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"testing"
	"time"
)

// TestWhatIsWorseIsFound holds the comparison itself to its rule: a table that
// finds nothing proves nothing.
func TestWhatIsWorseIsFound(t *testing.T) {
	ok := result{status: 200, text: "four"}
	refused := result{status: 503, text: "busy"}
	failed := result{err: errors.New("gone")}
	late := result{err: &url.Error{Op: "Post", URL: "u", Err: context.DeadlineExceeded}}
	one := func(r result, sends int, wait time.Duration) outcome {
		return outcome{calls: []result{r}, sends: sends, wait: wait}
	}
	for name, tc := range map[string]struct {
		alone, latchkey outcome
		steady          bool
		slack           int
		want            []kind
	}{
		"the same":                     {alone: one(ok, 1, 0), latchkey: one(ok, 1, 0), steady: true},
		"an error for a success":       {alone: one(ok, 1, 0), latchkey: one(failed, 1, 0), want: []kind{inOutcome}},
		"a refusal for a success":      {alone: one(ok, 2, 1), latchkey: one(refused, 1, 0), want: []kind{inOutcome}},
		"an error for a refusal":       {alone: one(refused, 1, 0), latchkey: one(failed, 1, 0), want: []kind{inOutcome}},
		"another refusal":              {alone: one(refused, 1, 0), latchkey: one(result{status: 502, text: "busy"}, 1, 0), want: []kind{inOutcome}},
		"another text":                 {alone: one(ok, 1, 0), latchkey: one(result{status: 200, text: "five"}, 1, 0), want: []kind{inOutcome}},
		"another note":                 {alone: one(ok, 1, 0), latchkey: one(result{status: 200, text: "four", note: "n"}, 1, 0), want: []kind{inOutcome}},
		"a call fewer":                 {alone: outcome{calls: []result{ok, ok}}, latchkey: outcome{calls: []result{ok}}, want: []kind{inOutcome}},
		"a timeout that is none":       {alone: one(late, 1, 0), latchkey: one(failed, 1, 0), want: []kind{inOutcome}},
		"an error of more kinds":       {alone: one(failed, 1, 0), latchkey: one(late, 1, 0)},
		"one send more":                {alone: one(ok, 1, 0), latchkey: one(ok, 2, 0), want: []kind{inSends}},
		"one send fewer":               {alone: one(ok, 2, 0), latchkey: one(ok, 1, 0)},
		"a longer wait":                {alone: one(ok, 1, time.Second), latchkey: one(ok, 1, 2*time.Second), want: []kind{inWait}},
		"a longer wait, by chance":     {alone: one(ok, 1, 900*time.Millisecond), latchkey: one(ok, 1, time.Second)},
		"a longer wait, by no chance":  {alone: one(ok, 1, 900*time.Millisecond), latchkey: one(ok, 1, time.Second), steady: true, want: []kind{inWait}},
		"a success for an error":       {alone: one(failed, 1, 0), latchkey: one(ok, 3, time.Second), steady: true},
		"a success after a storm":      {alone: one(failed, 1, 0), latchkey: one(ok, 4, time.Second), want: []kind{inSends}},
		"one worse of two, in slack":   {alone: outcome{calls: []result{ok, ok}}, latchkey: outcome{calls: []result{ok, refused}}, slack: 1},
		"two worse of two, over slack": {alone: outcome{calls: []result{ok, ok}}, latchkey: outcome{calls: []result{refused, refused}}, slack: 1, want: []kind{inOutcome}},
	} {
		ways := worse(tc.alone, tc.latchkey, !tc.steady, tc.slack)
		var got []kind
		for _, way := range []kind{inOutcome, inSends, inWait} {
			if _, is := ways[way]; is {
				got = append(got, way)
			}
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: worse in %v, want %v", name, ways, tc.want)
		}
	}
}

// TestTheTraitsOfAnErrorAreFound holds what is asked of errors to what they say.
func TestTheTraitsOfAnErrorAreFound(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want []string
	}{
		{errors.New("gone"), []string{"other"}},
		{context.Canceled, []string{"Canceled"}},
		{fmt.Errorf("%w: %w", context.Canceled, errCause), []string{"Canceled", "cause"}},
		{&url.Error{Err: context.DeadlineExceeded}, []string{"url.Error.Timeout", "net.Error.Timeout", "os.IsTimeout", "DeadlineExceeded"}},
		{fmt.Errorf("wrapped: %w", context.DeadlineExceeded), []string{"net.Error.Timeout", "DeadlineExceeded"}},
	} {
		if got := traits(tc.err); !slices.Equal(got, tc.want) {
			t.Errorf("%v: %v, want %v", tc.err, got, tc.want)
		}
	}
}
