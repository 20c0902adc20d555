package throttle

import (
	"container/heap"
	"errors"
	"time"
)

// errNotInTime is why an ideal call fails: its turn is after its deadline.
var errNotInTime = errors.New("throttle: the limit leaves no time for this call")

// Ideal returns what a client reaches that knows the limit in advance and
// serves all callers first come, first served, in all processes. A call whose
// turn would come too late fails at once. The only requests above the limit
// are those that nobody can avoid: what was under way when the first one was
// refused.
func Ideal(s Scenario) Result {
	var all []*call
	var arrivals []Arrival
	for _, model := range s.models() {
		made, seen := ideal(s, model)
		all = append(all, made...)
		arrivals = append(arrivals, seen...)
		arrivals = append(arrivals, unavoidable(s, model)...)
	}
	return summary(s, "the limit", all, arrivals)
}

// models returns the models that are called, in order.
func (s Scenario) models() []string {
	var names []string
	seen := map[string]bool{}
	for _, g := range s.Groups {
		if !seen[g.Model] {
			names = append(names, g.Model)
		}
		seen[g.Model] = true
	}
	return names
}

// A simWorker is a worker of the simulation, ready for its nth call.
type simWorker struct {
	group  *Group
	number int
	n      int
	ready  time.Duration
	order  int // of those that are ready at the same time
}

// A simQueue has the worker that was ready first at the front.
type simQueue []*simWorker

func (q simQueue) Len() int      { return len(q) }
func (q simQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q simQueue) Less(i, j int) bool {
	return q[i].ready < q[j].ready || q[i].ready == q[j].ready && q[i].order < q[j].order
}

// Push is for package heap.
func (q *simQueue) Push(x any) {
	if w, ok := x.(*simWorker); ok {
		*q = append(*q, w)
	}
}

// Pop is for package heap.
func (q *simQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// queue returns the workers of a model.
func (s Scenario) queue(model string) *simQueue {
	q := &simQueue{}
	for i := range s.Groups {
		if g := &s.Groups[i]; g.Model == model {
			for w := range g.Workers {
				*q = append(*q, &simWorker{group: g, number: w, ready: g.After, order: len(*q)})
			}
		}
	}
	heap.Init(q)
	return q
}

// next returns the worker whose turn it is, or nil when all are done.
func (q *simQueue) next(s Scenario) *simWorker {
	for q.Len() > 0 {
		w := (*q)[0]
		if w.group.Calls > 0 && w.n < w.group.Calls || w.group.Calls == 0 && w.ready < s.For {
			return w
		}
		heap.Pop(q)
	}
	return nil
}

// again puts the worker at the front back in line.
func (q *simQueue) again(ready time.Duration, order int) {
	w := (*q)[0]
	w.ready, w.order = ready, order
	heap.Fix(q, 0)
}

func (s Scenario) limits(model string) []meter {
	var all []meter
	for _, l := range s.Limits[model] {
		all = append(all, *newMeter(l))
	}
	return all
}

// turn returns when all meters have the cost, from a time on.
func turn(meters []meter, tokens int, from time.Duration) time.Duration {
	for settled := false; !settled; {
		settled = true
		for i := range meters {
			m := &meters[i]
			if at := m.earliest(m.limit.cost(tokens), from); at > from {
				from, settled = at, false
			}
		}
	}
	return from
}

func take(meters []meter, tokens int) {
	for i := range meters {
		meters[i].take(meters[i].limit.cost(tokens))
	}
}

func ideal(s Scenario, model string) (made []*call, seen []Arrival) {
	q, meters := s.queue(model), s.limits(model)
	order := q.Len()
	var last time.Duration
	for w := q.next(s); w != nil; w = q.next(s) {
		order++
		tokens := w.group.tokens(w.number + w.n)
		w.n++
		c := &call{group: w.group, start: w.ready}
		made = append(made, c)
		ahead := append([]meter(nil), meters...)
		at := turn(ahead, tokens, max(w.ready, last))
		if d := w.group.Deadline; d > 0 && at+s.Answer > w.ready+d {
			c.end, c.err = c.start, errNotInTime
			q.again(c.end+w.group.Every, order)
			continue
		}
		take(ahead, tokens)
		meters, last = ahead, at
		c.end = at + s.Answer
		c.underway.Store(int64(s.Answer))
		seen = append(seen, Arrival{at, model, w.group.client(), tokens, true})
		q.again(c.end+w.group.Every, order)
	}
	return made, seen
}

// unavoidable returns the requests that are refused at the time of the first
// refusal, if everybody sends at once: all of them were under way.
func unavoidable(s Scenario, model string) (seen []Arrival) {
	q, meters := s.queue(model), s.limits(model)
	order, until := q.Len(), forever
	for w := q.next(s); w != nil && w.ready <= until; w = q.next(s) {
		order++
		tokens := w.group.tokens(w.number + w.n)
		w.n++
		ahead := append([]meter(nil), meters...)
		if turn(ahead, tokens, w.ready) == w.ready {
			take(ahead, tokens)
			meters = ahead
		} else {
			seen = append(seen, Arrival{w.ready, model, w.group.client(), tokens, false})
			until = min(until, w.ready)
		}
		q.again(w.ready+s.Answer, order)
	}
	return seen
}

func (g *Group) tokens(n int) int {
	if len(g.Prompts) == 0 {
		return 1
	}
	return g.Prompts[n%len(g.Prompts)]
}
