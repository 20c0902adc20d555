package middleware

import (
	"bytes"
	"io"
	"math"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey/credential"
)

// The pace keeps the calls of a throttled service in line. It knows nothing of
// the service's limit but its answers, and rests on one observation: whatever
// the service counts, at a refusal its allowance is used up. What it took
// between two refusals, divided by the time between them, is the rate that it
// gives, however large the burst that it allows.
//
// So a gate alternates between two modes. Paced, it sends at the measured rate.
// Probing, it sends more than that, a few at a time, until one is refused; that
// is the next measurement. A refusal of a probe was to be expected, and costs
// one send. A refusal of anything else says that the limit is another one by
// now: the gate closes for as long as the service asks, and probes from the
// beginning.
const (
	// paceMargin is how much of the measured rate is used. What it leaves is
	// taken by the next probes.
	paceMargin = 0.98
	// turnMargin is the part of the measured rate that a call's turn is foretold
	// by: one that is told to wait should not wait in vain.
	turnMargin = 0.93
	// probeCost is how many calls go out at least between two probes, unless the
	// rate has fallen. Processes that share a limit would else spend it on probes.
	probeCost = 30
	// fullWeight is how many sends make a measurement that counts for itself, and
	// not as a part of the one before.
	fullWeight = 40
	// mostCounts is how many measurements are kept, to be looked at together.
	mostCounts = 8
	// lastTokens are what a call needs whose refusal would be final.
	lastTokens = 3
	// firstWindow is how many probes go out together when nothing is known yet.
	firstWindow = 2
	// windowPart is the part of the probes that were taken which may be undecided
	// at a time, and so the part that the next refusal costs.
	windowPart = 10
	// doubling is the time in which the window at least doubles, for a network
	// on which an answer takes long.
	doubling = 2 * time.Second
	// A probe begins so long after the last measurement: soonProbe after one
	// that shows a rising rate, lowProbe while the rate is well below what it
	// was, longProbe while all show the same.
	soonProbe  = 250 * time.Millisecond
	lowProbe   = 1500 * time.Millisecond
	usualProbe = time.Second
	longProbe  = 5 * time.Second
	// shortClose is the wait that a refused probe may ask for without closing
	// the gate for the others.
	shortClose = 2 * time.Second
	// longestRoom is how much longer a call whose refusal would be final waits for
	// what the service has told others.
	longestRoom = 2 * shortClose
	// A send that is not refused within its time counts as taken, for answers
	// may take long and refusals come soon.
	leastRefusalTime = 30 * time.Millisecond
	mostRefusalTime  = time.Second
	// idleGate is how long a gate is kept after the last refusal.
	idleGate = time.Minute
	maxGates = 1000
)

// A pacer holds the gates of one Retry: one for each host, model and tenant
// that is throttled.
type pacer struct {
	maxDelay time.Duration
	some     atomic.Bool // there is a gate: what every call looks at
	tenants  atomic.Bool // the credentials are those of tenants, with a limit each
	mu       sync.Mutex
	gates    map[paceKey]*gate
}

type paceKey struct{ host, model, tenant string }

func newPacer(maxDelay time.Duration) *pacer {
	return &pacer{maxDelay: maxDelay, gates: map[paceKey]*gate{}}
}

// begun reports whether anything is throttled.
func (p *pacer) begun() bool { return p != nil && p.some.Load() }

func (p *pacer) keyOf(req *http.Request, c *call) (key paceKey) {
	if c.tenant.Load() != nil {
		p.tenants.Store(true)
	}
	if p.tenants.Load() {
		key.tenant = credential.TenantFrom(req.Context())
	}
	if key.model = c.modelFor(req); req.URL != nil {
		key.host = req.URL.Host
	}
	return key
}

// modelFor returns the model of the call, of which req is a request.
func (c *call) modelFor(req *http.Request) string {
	model := c.model.Load()
	if model == nil {
		m := modelOf(req)
		model = &m
		c.model.Store(model)
	}
	return *model
}

// gate returns the gate that req has to pass, or nil.
func (p *pacer) gate(req *http.Request, c *call) *gate {
	key := p.keyOf(req, c)
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.gates[key]
	if g != nil && g.idle(time.Now()) {
		p.remove(key)
		return nil
	}
	return g
}

// gateOf is gate, but makes one. It is nil if there are too many.
func (p *pacer) gateOf(req *http.Request, c *call) *gate {
	if p == nil {
		return nil
	}
	key := p.keyOf(req, c)
	p.mu.Lock()
	defer p.mu.Unlock()
	if g := p.gates[key]; g != nil {
		return g
	}
	if len(p.gates) >= maxGates {
		now := time.Now()
		for k, g := range p.gates {
			if g.idle(now) {
				p.remove(k)
			}
		}
		if len(p.gates) >= maxGates {
			return nil
		}
	}
	g := &gate{maxDelay: p.maxDelay, made: time.Now()}
	p.gates[key] = g
	p.some.Store(true)
	return g
}

func (p *pacer) remove(key paceKey) {
	delete(p.gates, key)
	p.some.Store(len(p.gates) > 0)
}

// A gate is one limit of the service, as far as it is known, and the line of
// calls in front of it.
type gate struct {
	maxDelay time.Duration
	made     time.Time // the refusal that it was made for may not have come to it yet

	mu     sync.Mutex
	line   []*place // in the order in which the calls came
	calls  uint64
	timer  *time.Timer
	closed time.Time // nothing is sent before
	answer *storedAnswer

	// What was measured.
	rate      float64   // a second; 0 is unknown
	sure      bool      // rate rests on more than one send
	peak      float64   // the highest rate of late
	emptyAt   time.Time // when the last measurement was made
	taken     int       // sends since then that were not refused
	counts    []count   // the last measurements, the newest last
	refusedAt time.Time // when the last measurement was understood
	roomAt    time.Time // when there is room again, as the service said at its last refusal
	nothing   int       // measurements in a row of which nothing was taken
	unnamed   int       // refusals in a row that name no wait

	// Paced.
	tokens   float64
	refilled time.Time

	// Probing.
	probing  bool
	began    time.Time // when probing began
	from     int       // the window that probing began with
	window   int       // probes that may be undecided
	probed   int       // that were taken
	out      []*place  // undecided probes, the oldest first
	probeAt  time.Time // when the next probing begins
	interval time.Duration
	latency  time.Duration // how long refusals take
}

// A count is what the service took between two refusals.
type count struct {
	taken int
	from  time.Time // of the first refusal
	over  float64   // seconds
}

// A place is the place of one call in a gate's line.
type place struct {
	g         *gate
	number    uint64
	arrived   time.Time // in the line; each wait is judged by itself
	deadline  time.Time // the zero time is none
	notBefore time.Time // what the service has asked of this call
	last      bool      // another refusal would be final

	ready chan struct{} // closed when decided
	state placeState

	started time.Time
	probe   bool
}

type placeState uint8

const (
	inLine placeState = iota
	admitted
	turnedAway // it cannot be served in time
)

func (g *gate) idle(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.line) == 0 && now.Sub(g.made) > idleGate && now.Sub(g.refusedAt) > idleGate && !now.Before(g.closed)
}

// newPlace returns a place for a call that arrives.
func (g *gate) newPlace(deadline time.Time) *place {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls++
	return &place{g: g, number: g.calls, deadline: deadline}
}

// join puts pl into the line, at the place that its call has by its arrival.
func (pl *place) join(notBefore time.Time) {
	g := pl.g
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	pl.arrived, pl.notBefore, pl.state, pl.ready = now, notBefore, inLine, make(chan struct{})
	at, _ := slices.BinarySearchFunc(g.line, pl.number, func(p *place, n uint64) int {
		return int(int64(p.number - n)) //nolint:gosec // the difference is small
	})
	if g.hopeless(pl, at, now, 0) {
		pl.decide(turnedAway)
		return
	}
	g.line = slices.Insert(g.line, at, pl)
	g.dispatch(now)
}

// leave gives the place up. The others move up.
func (pl *place) leave() {
	g := pl.g
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.line, pl); i >= 0 {
		g.line = slices.Delete(g.line, i, i+1)
		return
	}
	if pl.state == admitted { // and not sent: the next one goes in its place
		g.unsend(pl)
		if !pl.probe {
			g.tokens++
		}
		g.dispatch(time.Now())
	}
}

// enter reports whether the call is admitted, and takes it out of the line if
// nothing was decided in time.
func (pl *place) enter() bool {
	g := pl.g
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.line, pl); i >= 0 {
		g.line = slices.Delete(g.line, i, i+1)
		pl.decide(turnedAway)
	}
	return pl.state == admitted
}

// decided reports whether the call need not wait.
func (pl *place) decided() bool {
	select {
	case <-pl.ready:
		return true
	default:
		return false
	}
}

func (pl *place) decide(s placeState) {
	pl.state = s
	close(pl.ready)
}

// turn returns when a call that has not joined the line yet would have its turn.
func (pl *place) turn() time.Time {
	g := pl.g
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.turn(len(g.line), time.Now(), 0)
}

// turn returns when a call with i others before it has its turn, at the rate
// that was measured, or at least if that is higher. A guess counts for nothing.
func (g *gate) turn(i int, now time.Time, least float64) time.Time {
	turn := now
	if g.shut(now) {
		turn = g.closed
	}
	if g.sure {
		rate := max(g.rate, least)
		if since := now.Sub(g.emptyAt).Seconds(); since > 0 {
			rate = max(rate, float64(g.taken)/since) // it takes more than it did
		}
		turn = later(turn, g.emptyAt.Add(seconds(float64(i+1+g.taken)/(rate*turnMargin))))
	}
	return turn
}

// hopeless reports whether a call with i others before it cannot be served in
// time.
func (g *gate) hopeless(pl *place, i int, now time.Time, least float64) bool {
	turn := later(g.turn(i, now, least), pl.notBefore)
	if !pl.deadline.IsZero() && !turn.Before(pl.deadline) {
		return true
	}
	return turn.Sub(pl.arrived) > g.maxDelay
}

// review turns away whom a new measurement has made hopeless. Those who wait
// were promised a turn at the rate of late: one bad measurement does not count.
func (g *gate) review(now time.Time) {
	kept := g.line[:0]
	for _, pl := range g.line {
		if g.hopeless(pl, len(kept), now, g.peak) {
			pl.decide(turnedAway)
			continue
		}
		kept = append(kept, pl)
	}
	clear(g.line[len(kept):])
	g.line = kept
}

// shut reports whether the gate is closed, by the monotonic and the wall clock:
// one of them stands still in a process that was frozen.
func (g *gate) shut(now time.Time) bool {
	return now.Before(g.closed) && now.Round(0).Before(g.closed.Round(0))
}

// dispatch admits whoever may be sent now, and sets the timer for the next.
func (g *gate) dispatch(now time.Time) {
	for len(g.line) > 0 {
		if g.shut(now) {
			g.wake(g.closed.Sub(now))
			return
		}
		g.refill(now)
		g.settle(now)
		if !g.probing && !now.Before(g.probeAt) {
			g.probe(1, now)
		}
		isProbe := g.tokens < 1
		i := g.first(now, isProbe)
		if i < 0 && g.probing && g.rate > 0 && len(g.out) == 0 && g.ready(now) {
			// Nobody is left to probe with: those in line go as there are tokens.
			g.raise(now)
			g.probing, g.probeAt = false, now.Add(max(g.interval, usualProbe))
			continue
		}
		if i < 0 || isProbe && !(g.probing && len(g.out) < g.window) {
			g.wake(g.nextEvent(now, i))
			return
		}
		g.admit(i, now, isProbe)
	}
}

// first returns the index of the next call in line, or -1. Calls go in the
// order in which they came, but one whose refusal would be final is not sent on
// a chance: it is the first to go after the gate was closed, when the service
// has the most to give, or finds more tokens than it needs, at a time at which the
// service has said that there is room.
func (g *gate) first(now time.Time, isProbe bool) int {
	fresh := isProbe && g.probed == 0 && len(g.out) == 0 && !g.closed.Before(g.refusedAt)
	next := -1
	for i, pl := range g.line {
		switch {
		case now.Before(g.earliest(pl)):
		case pl.last && (fresh || !isProbe && !g.probing && g.tokens >= g.enough()):
			return i
		case pl.last && !isProbe && !g.probing && next < 0:
			return -1 // until there are
		case !pl.last && next < 0:
			next = i
		}
	}
	if next < 0 && isProbe && g.rate == 0 && g.ready(now) {
		return 0 // nothing else is to be learned from
	}
	return next
}

// earliest returns when pl may be sent at all. One whose refusal would be final
// heeds what the service has told others as well, but not for ever.
func (g *gate) earliest(pl *place) time.Time {
	if !pl.last {
		return pl.notBefore
	}
	own := later(pl.notBefore, pl.arrived)
	if latest := own.Add(longestRoom); g.roomAt.After(latest) {
		return latest
	}
	return later(own, g.roomAt)
}

// enough returns how many tokens a call has to find whose refusal would be
// final.
func (g *gate) enough() float64 { return min(lastTokens, g.mostTokens()) }

// mostTokens is how many tokens are kept: those of one second.
func (g *gate) mostTokens() float64 { return max(2, g.rate) }

// ready reports whether somebody in line may be sent by the service's word.
func (g *gate) ready(now time.Time) bool {
	return slices.ContainsFunc(g.line, func(pl *place) bool { return !now.Before(pl.notBefore) })
}

// nextEvent returns when dispatch may find more to do.
func (g *gate) nextEvent(now time.Time, i int) time.Duration {
	next := time.Hour
	sooner := func(d time.Duration) { next = min(next, max(d, time.Millisecond)) }
	if g.rate > 0 {
		want := 1.0
		if g.tokens >= 1 {
			want = g.enough()
		}
		sooner(seconds((want - g.tokens) / (g.rate * paceMargin)))
	}
	switch {
	case len(g.out) > 0:
		sooner(g.out[0].started.Add(g.refusalTime()).Sub(now))
	case !g.probing:
		sooner(g.probeAt.Sub(now))
	}
	if i < 0 {
		for _, pl := range g.line {
			if d := g.earliest(pl).Sub(now); d > 0 {
				sooner(d)
			}
		}
	}
	return next
}

func (g *gate) admit(i int, now time.Time, isProbe bool) {
	pl := g.line[i]
	g.line = slices.Delete(g.line, i, i+1)
	pl.started, pl.probe = now, isProbe
	g.taken++
	if isProbe {
		g.out = append(g.out, pl)
	} else {
		g.tokens--
	}
	pl.decide(admitted)
}

func (g *gate) wake(d time.Duration) {
	if g.timer != nil {
		g.timer.Reset(d)
		return
	}
	g.timer = time.AfterFunc(d, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.dispatch(time.Now())
	})
}

// refill adds the tokens of the time that has gone by.
func (g *gate) refill(now time.Time) {
	if d := now.Sub(g.refilled); d > 0 && g.rate > 0 {
		g.tokens = min(g.tokens+d.Seconds()*g.rate*paceMargin, g.mostTokens())
	}
	g.refilled = now
}

// settle counts probes as taken whose refusal would have come by now.
func (g *gate) settle(now time.Time) {
	for len(g.out) > 0 && now.Sub(g.out[0].started) > g.refusalTime() {
		g.out = g.out[1:]
		g.grow(now)
	}
}

// raise lifts the rate to what was taken since the last refusal: the service
// gives at least that. Sends that are still undecided do not count.
func (g *gate) raise(now time.Time) {
	undecided := g.rate * g.refusalTime().Seconds()
	if since := now.Sub(g.emptyAt).Seconds(); since > 0 {
		g.rate = max(g.rate, (float64(g.taken)-undecided)/since)
	}
}

func (g *gate) refusalTime() time.Duration {
	return min(max(g.latency+g.latency/2, leastRefusalTime), mostRefusalTime)
}

// probe begins to probe, with so many calls.
func (g *gate) probe(window int, now time.Time) {
	g.probing, g.began, g.from, g.window, g.probed = true, now, window, window, 0
}

// grow widens the window after a probe that was taken. It stays a part of what
// was taken: that is what the next refusal costs.
func (g *gate) grow(now time.Time) {
	g.probed++
	g.window = g.from + g.probed/windowPart
	if d := int(now.Sub(g.began) / doubling); d > 0 {
		g.window = max(g.window, g.from<<min(d, 10))
	}
}

// accepted says that the service has not refused the send of pl for its rate.
func (pl *place) accepted() {
	g := pl.g
	g.mu.Lock()
	defer g.mu.Unlock()
	g.unnamed = 0
	if i := slices.Index(g.out, pl); i >= 0 {
		g.out = slices.Delete(g.out, i, i+1)
		now := time.Now()
		g.grow(now)
		g.dispatch(now)
	}
}

// throttled says that the service has refused a send for its rate and asks to
// wait. pl is nil for one that did not pass the gate.
func (g *gate) throttled(pl *place, asked time.Duration, named bool, resp *http.Response) {
	answer := storeAnswer(resp) // reads the body: not under the lock
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.answer == nil || answer.whole {
		g.answer = answer
	}
	now := time.Now()
	g.refuse(pl, asked, named, now)
	g.review(now)
	g.dispatch(now)
}

// refuse takes a refusal in.
func (g *gate) refuse(pl *place, asked time.Duration, named bool, now time.Time) {
	if g.refusedAt.IsZero() { // of the first wave, before there was a gate
		g.refusedAt, g.emptyAt = now, now
		g.close(now.Add(asked))
		g.probe(firstWindow, g.closed)
		return
	}
	if pl != nil {
		g.forget(pl, now)
	}
	if pl == nil || !pl.started.After(g.refusedAt) {
		g.late(pl, asked, now)
		return
	}
	before, n, over := g.rate, g.taken, now.Sub(g.emptyAt)
	g.measure(n, now)
	g.refusedAt, g.emptyAt, g.taken = now, now, 0
	g.tokens, g.refilled = 0, now
	if asked <= shortClose && n > 0 && (pl.probe || g.rate > 0.7*before) {
		// That of a probe, or of a rate that was a little too high.
		g.probing = false
		g.roomAt = now.Add(asked)
		g.probeAt = now.Add(g.nextInterval(before, float64(n-1)/over.Seconds()))
		return
	}
	if !named {
		g.unnamed++
		asked <<= min(g.unnamed-1, 4)
	}
	if n > 0 {
		g.nothing = 0
	} else if g.nothing++; g.nothing > 1 {
		// What the service asks for did not help: somebody else takes all of it.
		asked = max(asked, min(leastRefusalTime<<min(g.nothing, 10), usualProbe))
	}
	g.interval = usualProbe
	g.close(now.Add(min(asked, g.maxDelay)))
}

// close shuts the gate until then, and lets it begin with probes.
func (g *gate) close(until time.Time) {
	g.closed = later(g.closed, until)
	g.refilled = g.closed
	g.probe(1, g.closed)
}

// unsend takes a send that was refused, or not made, out of what was taken.
func (g *gate) unsend(pl *place) {
	if pl.started.After(g.emptyAt) {
		g.taken = max(0, g.taken-1)
	}
	if i := slices.Index(g.out, pl); i >= 0 {
		g.out = slices.Delete(g.out, i, i+1)
	}
}

// forget takes in that the send of pl was refused.
func (g *gate) forget(pl *place, now time.Time) {
	g.unsend(pl)
	if took := now.Sub(pl.started); g.latency == 0 {
		g.latency = took
	} else {
		g.latency += (took - g.latency) / 4
	}
}

// late takes in a refusal of a send that began before the last measurement.
func (g *gate) late(pl *place, asked time.Duration, now time.Time) {
	if g.shut(now) {
		g.closed = later(g.closed, now.Add(min(asked, g.maxDelay)))
		g.refilled = g.closed
	}
	if pl != nil {
		g.correct(pl)
	}
}

// correct takes the send of pl, which was refused, out of the measurement that
// has counted it.
func (g *gate) correct(pl *place) {
	for i := len(g.counts) - 1; i >= 0; i-- {
		c := &g.counts[i]
		if !pl.started.After(c.from) {
			continue
		}
		if c.taken > 0 {
			c.taken--
			g.estimate()
		}
		return
	}
}

// measure keeps that n sends were taken since the last refusal.
func (g *gate) measure(n int, now time.Time) {
	if len(g.counts) == mostCounts {
		g.counts = slices.Delete(g.counts, 0, 1)
	}
	g.counts = append(g.counts, count{n, g.emptyAt, now.Sub(g.emptyAt).Seconds()})
	g.estimate()
}

// estimate sets the rate by the last measurement. A count is exact to one, so a
// rate that gives it or one more or less is confirmed. Any other rate moves
// towards the measured one, the further the more sends were measured. A few
// sends say little: another process that shares the limit may have taken the
// rest.
func (g *gate) estimate() {
	last := g.counts[len(g.counts)-1]
	n, s := float64(last.taken), max(last.over, 1e-3)
	measured := max(n, 0.5) / s
	switch {
	case g.rate == 0:
		g.rate = measured
	case g.rate >= (n-1)/s && g.rate <= (n+1)/s:
	case g.changed():
	default:
		g.rate += (measured - g.rate) * min(1, max(n, g.rate*s)/fullWeight)
	}
	g.sure = g.sure || n > 1
	g.peak = max(0.85*g.peak, g.rate)
}

// changed reports whether the last measurements, taken together, are too far
// from the rate to be chance. They then give the rate, and those before them are
// forgotten. The counts of processes that share a limit spread about as widely
// as those of independent events do: by the square root.
func (g *gate) changed() bool {
	var n, s float64
	for i := len(g.counts) - 1; i >= 0; i-- {
		n, s = n+float64(g.counts[i].taken), s+g.counts[i].over
		expected := g.rate * s
		if math.Abs(n-expected) > 1.5*math.Sqrt(expected)+1 {
			g.rate = max(n, 0.5) / max(s, 1e-3)
			g.counts = slices.Delete(g.counts, 0, i)
			return true
		}
	}
	return false
}

// nextInterval returns how long to wait before the next probe, after a rate of
// before and one that is at least as high as least.
func (g *gate) nextInterval(before, least float64) time.Duration {
	usual := min(max(seconds(probeCost/g.rate), usualProbe), longProbe)
	switch {
	case before > 0 && least > 1.3*before:
		g.interval = soonProbe
	case g.rate < 0.6*g.peak:
		g.interval = lowProbe
	case before > 0 && g.rate > 0.8*before && g.rate < 1.25*before:
		g.interval = min(max(2*g.interval, usual), longProbe)
	default:
		g.interval = usual
	}
	return g.interval
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// A storedAnswer is a refusal that can be given to more than one call.
type storedAnswer struct {
	resp  http.Response // without its body
	body  []byte
	whole bool // body is all of it
}

// storeAnswer copies a refusal without consuming it. A body that is too long
// for an error object is left alone.
func storeAnswer(resp *http.Response) *storedAnswer {
	a := &storedAnswer{body: peekSmall(resp)}
	a.whole = a.body != nil || resp.ContentLength == 0
	a.resp = *resp
	a.resp.Header = resp.Header.Clone()
	a.resp.Body, a.resp.Request = nil, nil
	return a
}

// refusal returns the service's last refusal as an answer to req.
func (g *gate) refusal(req *http.Request) *http.Response {
	g.mu.Lock()
	a := g.answer
	g.mu.Unlock()
	resp := a.resp
	resp.Header = a.resp.Header.Clone()
	resp.Body = io.NopCloser(bytes.NewReader(a.body))
	resp.ContentLength = int64(len(a.body))
	if !a.whole {
		resp.Header.Del("Content-Length")
	}
	resp.Request = req
	return &resp
}
