package throttle_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/internal/bench/throttle"
)

// TestScenario runs each scenario in fake time, and holds latchkey to what it
// promises under throttling. With -v it prints the table, with other clients.
func TestScenario(t *testing.T) {
	for _, s := range throttle.Scenarios() {
		t.Run(s.Name, func(t *testing.T) {
			hold, ok := bars()[s.Name]
			if !ok {
				t.Fatalf("there is no bar for %s", s.Name)
			}
			var all []throttle.Result
			for _, c := range throttle.Contenders() {
				switch {
				case c.Name == "latchkey":
					for seed := range uint64(seeds) {
						all = append(all, run(t, s, c, seed, near))
					}
				case testing.Verbose() && !c.RealTime:
					all = append(all, run(t, s, c, 0, near))
				}
			}
			var b strings.Builder
			if err := throttle.WriteTable(&b, s, all); err != nil {
				t.Fatal(err)
			}
			t.Log("\n" + b.String())
			for seed, r := range all[:seeds] {
				if testing.Verbose() {
					t.Logf("seed %d, {accepted refused} in each second: %v", seed, r.PerSecond)
				}
				if r.FirstError != "" {
					t.Logf("seed %d, the first error: %s", seed, r.FirstError)
				}
				hold(bar{t, s, seed, throttle.Ideal(s), r})
			}
		})
	}
}

// near is what a network in one zone adds to a request, at most, far what one
// between continents does, and veryFar what one with a satellite in it does.
const (
	near    = 2 * time.Millisecond
	far     = 100 * time.Millisecond
	veryFar = 300 * time.Millisecond
)

// TestScenarioFarAway has requests that arrive in another order and at another
// time than they were sent, so that a pace cannot rely on its own clock.
func TestScenarioFarAway(t *testing.T) {
	for _, s := range throttle.Scenarios() {
		if s.Name != "workers30" && s.Name != "workers50" && s.Name != "workers200" {
			continue
		}
		for _, spread := range []time.Duration{far, veryFar} {
			t.Run(s.Name+"/"+spread.String(), func(t *testing.T) {
				most := 1.2
				if spread == veryFar {
					most = 1.35 // answers that take a third of a second slow down what is learned from them
				}
				for seed := range seeds {
					r := run(t, s, throttle.Contenders()[0], uint64(seed), spread)
					bar{t, s, seed, throttle.Ideal(s), r}.nearly(most, most)
				}
			})
		}
	}
}

// TestProcessesShareALimit runs processes4 many times: what one process is
// given depends on the others, and so on chance.
func TestProcessesShareALimit(t *testing.T) {
	const runs = 30
	for _, s := range throttle.Scenarios() {
		if s.Name != "processes4" {
			continue
		}
		calls, failed := 0, 0
		for seed := range runs {
			r := run(t, s, throttle.Contenders()[0], uint64(seed), near)
			calls, failed = calls+r.Calls, failed+r.Failed
			processes(bar{t, s, seed, throttle.Ideal(s), r})
		}
		t.Logf("%d of %d calls failed", failed, calls)
		if failed > calls/5000 {
			t.Errorf("%d of %d calls failed, want at most 1 of 5,000", failed, calls)
		}
	}
}

// seeds is how many runs latchkey is held to: requests never take the same time.
const seeds = 3

func run(t *testing.T, s throttle.Scenario, c throttle.Contender, seed uint64, spread time.Duration) (r throttle.Result) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var err error
		if r, err = throttle.Run(t.Context(), s, c, throttle.Memory(seed, spread)); err != nil {
			t.Fatal(err)
		}
	})
	return r
}

// A bar is what one run is held to.
type bar struct {
	t     *testing.T
	s     throttle.Scenario
	seed  int
	limit throttle.Result // what can be reached
	r     throttle.Result
}

func bars() map[string]func(bar) {
	return map[string]func(bar){
		"workers10":      few,
		"workers30":      func(b bar) { b.counted(1.05, 1.08) },
		"workers50":      func(b bar) { b.counted(1.05, 1.08) },
		"workers200":     func(b bar) { b.counted(1.05, 1.08) },
		"workers500":     func(b bar) { b.counted(1.05, 1.08) },
		"tokens":         func(b bar) { b.nearly(1.2, 1.3) },
		"retry-after-ms": func(b bar) { b.counted(1.2, 1.2) },
		"no-hint":        func(b bar) { b.counted(1.2, 1.2) },
		"x-ratelimit":    func(b bar) { b.counted(1.05, 1.08) },
		"windows":        func(b bar) { b.counted(1.2, 1.35) },
		"deadline500":    deadline500,
		"drop":           drop,
		"lift":           lift,
		"fairness":       fairness,
		"models":         models,
		"processes4":     processes,
		"deadline":       deadline,
		"slow":           func(b bar) { b.counted(1.2, 1.2) },
	}
}

func (b bar) atMost(what string, got, most float64) {
	b.t.Helper()
	if got > most {
		b.t.Errorf("seed %d: %s: %.4g, want at most %.3g", b.seed, what, got, most)
	}
}

func (b bar) atLeast(what string, got, least float64) {
	b.t.Helper()
	if got < least {
		b.t.Errorf("seed %d: %s: %.4g, want at least %.3g", b.seed, what, got, least)
	}
}

// counted is for a number of calls that all succeed.
func (b bar) counted(sends, time float64) {
	b.t.Helper()
	b.atMost("failed", float64(b.r.Failed), 0)
	b.costs(sends, time)
}

// nearly is for limits that a pace in calls a second does not describe: it is
// refused more often, and one call in a hundred may be refused three times.
func (b bar) nearly(sends, time float64) {
	b.t.Helper()
	b.atMost("share of calls that failed", float64(b.r.Failed)/float64(b.r.Calls), 0.01)
	b.costs(sends, time)
}

func (b bar) costs(sends, time float64) {
	b.t.Helper()
	b.atMost("sends, of the least", float64(b.r.Sends)/float64(b.limit.Sends), sends)
	b.atMost("time, of the least", b.r.Time.Seconds()/b.limit.Time.Seconds(), time)
}

// few workers fit into the burst: most of the time is the second that the
// service asks them to wait. After it latchkey feels its way, which takes some round trips.
func few(b bar) {
	for _, c := range throttle.Contenders() {
		if c.Name == "openai-go" {
			bare := run(b.t, b.s, c, uint64(b.seed), near)
			b.atMost("failed", float64(b.r.Failed), 0)
			b.atMost("sends, of openai-go's alone", float64(b.r.Sends)/float64(bare.Sends), 1)
			b.atMost("time, of openai-go's alone", b.r.Time.Seconds()/bare.Time.Seconds(), 1.1)
		}
	}
}

// deadline500 has more calls than can be served, and a worker whose calls were
// all refused is gone. Before the limit is known a call may wait in vain, or be
// refused too early; from 2 s on a call waits only if it will succeed, and the
// limit is used.
func deadline500(b bar) {
	steady := b.r.Steady
	seconds := (b.r.Time - b.s.Steady).Seconds()
	b.atLeast("accepted per second, from 2 s on", float64(steady.Accepted)/seconds, 0.93*20)
	b.atLeast("share of what can be had", b.s.Share(b.r), 0.8)
	b.atMost("failed calls without the service's 429", float64(b.r.Failed-b.r.Refused), 0)
	b.atMost("share of calls that failed late, from 2 s on", float64(steady.Late)/float64(steady.Calls), 0.01)
	b.atMost("requests per accepted, from 2 s on", float64(steady.Sends)/float64(steady.Accepted), 1.1)
}

func drop(b bar) {
	b.atMost("failed", float64(b.r.Failed), 0)
	b.atMost("sends per call", b.r.SendsPerCall(), 1.1)
	b.atLeast("share of what can be had", b.s.Share(b.r), 0.93)
	b.atMost("seconds until full use", b.r.Recovery.Seconds(), 2)
	b.atMost("p99, of first come, first served", b.r.P99.Seconds()/b.limit.P99.Seconds(), 1.3)
}

// lift is the price of caution: what is not known to be there is not used.
func lift(b bar) {
	b.atMost("failed", float64(b.r.Failed), 0)
	b.atMost("sends per call", b.r.SendsPerCall(), 1.2)
	b.atMost("seconds until full use", b.r.Recovery.Seconds(), 5)
}

func fairness(b bar) {
	b.atMost("failed", float64(b.r.Failed), 0)
	b.atMost("p99 / p50", b.r.Steady.P99.Seconds()/b.r.Steady.P50.Seconds(), 2)
	b.atLeast("share of what can be had", b.s.Share(b.r), 0.93)
}

func models(b bar) {
	other := b.r.Groups["other"]
	b.atMost("failed", float64(b.r.Failed), 0)
	b.atMost("the other model's longest wait, in seconds", other.Wait.Seconds(), 0)
	b.atMost("the other model's sends without a call", float64(other.Sends-other.Calls), 0)
	b.atLeast("share of what can be had", b.s.Share(b.r), 0.93)
}

// processes allows for one call in a run that three refusals hit, each of them
// because another process was a little faster.
func processes(b bar) {
	b.atMost("failed", float64(b.r.Failed), 1)
	b.atMost("sends per accepted, from 5 s on", float64(b.r.Steady.Sends)/float64(b.r.Steady.Accepted), 1.1)
	for _, share := range b.r.Shares {
		b.atLeast("share of a process", share, 0.15)
	}
	b.atLeast("share of what can be had", b.s.Share(b.r), 0.8)
}

func deadline(b bar) {
	prober := b.r.Groups["prober"]
	b.atLeast("the prober's calls", float64(prober.Calls), 1)
	b.atMost("the prober's sends", float64(prober.Sends), 0)
	b.atMost("the prober's failed calls without the service's 429", float64(prober.Failed-prober.Refused), 0)
	b.atMost("the prober's longest wait, in seconds", prober.Wait.Seconds(), 0)
	b.atMost("failed of the others", float64(b.r.Failed-prober.Failed), 0)
}

// TestTheServiceThrottles shows that the scenarios are hard: a client that
// retries without a pace fails, or sends much more than it has to.
func TestTheServiceThrottles(t *testing.T) {
	for _, s := range throttle.Scenarios() {
		if s.Name != "workers50" {
			continue
		}
		for _, c := range throttle.Contenders() {
			if c.Name != "openai-go" {
				continue
			}
			r := run(t, s, c, 0, near)
			if r.Failed < 20 || r.SendsPerCall() < 2 {
				t.Errorf("%s: %d of %d calls failed, %.2f sends a call: the service does not throttle", c.Name, r.Failed, r.Calls, r.SendsPerCall())
			}
			return
		}
	}
	t.Error("there is no openai-go, or no scenario workers50")
}

// TestTheLimitItself holds what the others are compared with to what can be
// counted by hand.
func TestTheLimitItself(t *testing.T) {
	want := map[string]struct {
		sends, inTime int
		time          time.Duration
	}{
		"workers30":  {160, 150, 6520 * time.Millisecond},
		"workers50":  {280, 250, 11520 * time.Millisecond},
		"workers200": {1180, 1000, 49020 * time.Millisecond},
		"drop":       {0, 439, 0}, // 20 + 8×20 + 10×2 + 12×20, and the last has no time for its answer
	}
	for _, s := range throttle.Scenarios() {
		w, ok := want[s.Name]
		if !ok {
			continue
		}
		r := throttle.Ideal(s)
		if w.sends != 0 && (r.Sends != w.sends || r.Time.Round(time.Millisecond) != w.time) {
			t.Errorf("%s: %d sends in %s, want %d in %s", s.Name, r.Sends, r.Time, w.sends, w.time)
		}
		if r.InTime != w.inTime {
			t.Errorf("%s: %d calls in time, want %d", s.Name, r.InTime, w.inTime)
		}
	}
}
