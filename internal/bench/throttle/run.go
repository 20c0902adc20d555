package throttle

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A call is one call of a worker. Its transport adds the time of its sends.
type call struct {
	group      *Group
	start, end time.Duration // since the start
	err        error
	underway   atomic.Int64 // nanoseconds between the sends and their answers
}

func (c *call) took() time.Duration { return c.end - c.start }

// waited is the time in which the call was not on the wire.
func (c *call) waited() time.Duration { return c.took() - time.Duration(c.underway.Load()) }

type callKey struct{}

// counted is the network as one process sees it.
type counted struct{ next http.RoundTripper }

// RoundTrip names the client, and adds the time of the send to the call.
func (n counted) RoundTrip(req *http.Request) (*http.Response, error) {
	c, ok := req.Context().Value(callKey{}).(*call)
	if !ok {
		return n.next.RoundTrip(req) //nolint:wrapcheck // as any transport
	}
	req = req.Clone(req.Context())
	req.Header.Set(clientHeader, c.group.client())
	began := time.Now()
	res, err := n.next.RoundTrip(req)
	c.underway.Add(int64(time.Since(began)))
	return res, err //nolint:wrapcheck // as any transport
}

// client is the group's name at the service.
func (g *Group) client() string { return fmt.Sprintf("%s-%d", g.Name, g.Process) }

// prompt returns the text of a worker's nth call.
func (g *Group) prompt(n int) string {
	return strings.Repeat("and ", g.tokens(n))
}

// Run puts a contender through a scenario. It returns when all calls have
// ended.
func Run(ctx context.Context, s Scenario, c Contender, network Network) (Result, error) {
	svc := NewService(s)
	n, err := network(svc)
	if err != nil {
		return Result{}, err
	}
	defer n.close()
	callers := map[int]caller{}
	for _, g := range s.Groups {
		if callers[g.Process] != nil {
			continue
		}
		if callers[g.Process], err = c.make(n.url, counted{n.transport()}); err != nil {
			return Result{}, err
		}
	}
	svc.Begin()
	start := time.Now()
	var workers sync.WaitGroup
	var mu sync.Mutex
	var all []*call
	for i := range s.Groups {
		g := &s.Groups[i]
		for worker := range g.Workers {
			workers.Go(func() {
				made := work(ctx, s, g, worker, start, callers[g.Process])
				mu.Lock()
				defer mu.Unlock()
				all = append(all, made...)
			})
		}
	}
	workers.Wait()
	if ctx.Err() != nil {
		return Result{}, fmt.Errorf("throttle: %w", context.Cause(ctx))
	}
	return summary(s, c.Name, all, svc.Arrivals()), nil
}

// afterFailure keeps a worker without a number of calls from failing as fast as
// the machine can.
const afterFailure = 10 * time.Millisecond

// work is one worker.
func work(ctx context.Context, s Scenario, g *Group, worker int, start time.Time, do caller) []*call {
	var made []*call
	if !pause(ctx.Done(), g.After) {
		return nil
	}
	for n := 0; g.Calls == 0 || n < g.Calls; n++ {
		c := &call{group: g, start: time.Since(start)}
		if g.Calls == 0 && c.start >= s.For {
			break
		}
		one, cancel := context.WithValue(ctx, callKey{}, c), context.CancelFunc(func() {})
		if g.Deadline > 0 {
			one, cancel = context.WithTimeout(one, g.Deadline)
		}
		c.err = do(one, g.Model, g.prompt(worker+n))
		cancel()
		c.end = time.Since(start)
		made = append(made, c)
		rest := g.Every
		if c.err != nil && g.Calls == 0 {
			rest = max(rest, afterFailure)
		}
		if !pause(ctx.Done(), rest) {
			break
		}
	}
	return made
}
