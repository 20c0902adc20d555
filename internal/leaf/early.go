package leaf

import (
	"context"
	"time"
)

// mostEarly is enough for a source to say why it has no answer yet.
const mostEarly = 250 * time.Millisecond

// Early returns a context that ends a little before the deadline of ctx: a
// tenth of the time that is left, at most 250 ms. A source that waits with it
// tells what it has seen; the caller, whose own time is up, could only tell that.
func Early(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-min(mostEarly, time.Until(deadline)/10)))
}
