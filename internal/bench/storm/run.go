package storm

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Plan is one run of one contender through one mode.
type Plan struct {
	Mode      Mode
	Contender Contender
	Callers   int           // goroutines that call without a pause
	Duration  time.Duration // from the start until no new call begins
	Times     Times
}

// A Result is what a run has cost.
type Result struct {
	Calls, Failed int
	// LastFailure is when the last failed call ended, from the rotation on.
	LastFailure time.Duration
	// FirstError is the first failure's text.
	FirstError string
	// Reads of the store before the rotation, after it, and in the first three
	// seconds after it; MostReads is how many there were at the same time.
	ReadsBefore, ReadsAfter, ReadsIn3s, MostReads int
	Sends, Denied                                 int
	MostSends                                     int // of one call
	// NewConns are the connections opened after the first call.
	NewConns      int
	P50, P99, Max time.Duration
	// Late are the calls that began when the grace was over.
	Late Late
}

// Late is what calls cost once nothing waits for a new key any more.
type Late struct {
	Calls, Sends, MostSends int
	P50, P99, Max           time.Duration
}

// A record is one call.
type record struct {
	number     int
	start, end time.Time
	err        error
}

// settle is how long after the grace the calls of the grace may still be
// under way.
const settle = 500 * time.Millisecond

// Run runs a plan. It takes plan.Duration and the time of the last calls.
func Run(ctx context.Context, plan Plan) (Result, error) {
	svc, st := newService(plan.Times), newStore(plan.Times)
	defer svc.close()
	call, err := plan.Contender.make(svc, st, plan.Times)
	if err != nil {
		return Result{}, err
	}
	// The first call opens the connection that all may share.
	if err := call(ctx, 0); err != nil {
		return Result{}, fmt.Errorf("storm: the first call: %w", err)
	}
	conns, sends := svc.conns.Load(), svc.sends.Load()
	start := time.Now()
	rotated := start.Add(plan.Times.Rotate)
	stop := make(chan struct{})
	var steps sync.WaitGroup
	steps.Go(func() { rotate(plan, svc, st, rotated, stop) })
	records := load(ctx, plan, start.Add(plan.Duration), call)
	close(stop)
	steps.Wait()

	r := summary(records, svc, rotated)
	r.Sends, r.Denied = int(svc.sends.Load()-sends), int(svc.denied.Load())
	r.NewConns = int(svc.conns.Load() - conns)
	r.ReadsBefore = st.readsIn(time.Time{}, rotated)
	r.ReadsAfter = st.readsIn(rotated, time.Now())
	r.ReadsIn3s = st.readsIn(rotated, rotated.Add(3*time.Second))
	r.MostReads = st.most
	r.Late = late(records, svc, rotated.Add(plan.Times.Grace+settle))
	return r, nil
}

// rotate does the mode's steps in time.
func rotate(plan Plan, svc *service, st *store, rotated time.Time, stop <-chan struct{}) {
	for _, s := range plan.Mode.steps(plan.Times) {
		if !pause(stop, time.Until(rotated.Add(s.at))) {
			return
		}
		s.do(svc, st)
	}
}

// load calls until the end, and waits for the calls under way.
func load(ctx context.Context, plan Plan, end time.Time, call func(context.Context, int) error) []record {
	var number atomic.Int64
	each := make([][]record, plan.Callers)
	var callers sync.WaitGroup
	for i := range plan.Callers {
		callers.Go(func() {
			for {
				r := record{start: time.Now()}
				if !r.start.Before(end) || ctx.Err() != nil {
					return
				}
				r.number = int(number.Add(1))
				r.err = call(ctx, r.number)
				r.end = time.Now()
				each[i] = append(each[i], r)
			}
		})
	}
	callers.Wait()
	return slices.Concat(each...)
}

func summary(records []record, svc *service, rotated time.Time) Result {
	r := Result{Calls: len(records)}
	var first time.Time
	for _, c := range records {
		r.MostSends = max(r.MostSends, svc.sent(c.number))
		if c.err == nil {
			continue
		}
		r.Failed++
		r.LastFailure = max(r.LastFailure, c.end.Sub(rotated))
		if first.IsZero() || c.end.Before(first) {
			first, r.FirstError = c.end, c.err.Error()
		}
	}
	r.P50, r.P99, r.Max = latencies(records)
	return r
}

func late(records []record, svc *service, from time.Time) Late {
	records = slices.DeleteFunc(slices.Clone(records), func(c record) bool { return c.start.Before(from) })
	l := Late{Calls: len(records)}
	for _, c := range records {
		n := svc.sent(c.number)
		l.Sends += n
		l.MostSends = max(l.MostSends, n)
	}
	l.P50, l.P99, l.Max = latencies(records)
	return l
}

// latencies returns the median, the 99th percentile and the longest.
func latencies(records []record) (p50, p99, longest time.Duration) {
	if len(records) == 0 {
		return 0, 0, 0
	}
	all := make([]time.Duration, len(records))
	for i, c := range records {
		all[i] = c.end.Sub(c.start)
	}
	slices.Sort(all)
	return all[len(all)/2], all[len(all)*99/100], all[len(all)-1]
}
