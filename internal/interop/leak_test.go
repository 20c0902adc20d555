package interop_test

import (
	"fmt"
	"runtime/debug"
	"sort"
	"strings"
	"testing"
	"time"
)

// run returns what the sink wrote and why it did not end well. A value on which
// a printer panics, faults or does not end is a finding, too.
func (s sink) run(p probe) (out string, err error) {
	w := &capped{}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			out = w.String()
			if err, _ = r.(error); err == nil || showsKey(err.Error()) {
				err = fmt.Errorf("panic with a %T", r)
			}
		}
	}()
	s.write(w, p)
	if out = w.String(); strings.Contains(out, "(PANIC=") {
		err = fmt.Errorf("a method of it panics")
	}
	return out, err
}

func TestNothingShowsTheKeyHoweverItIsPrinted(t *testing.T) {
	t.Setenv(keyVariable, fakeKey(1))
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			one, other := newWorld(t, k, 1), newWorld(t, k, 2) // with another key
			live, counterpart := one.subjects(t), other.subjects(t)
			if len(live) != len(counterpart) {
				t.Fatalf("%d and %d subjects", len(live), len(counterpart))
			}
			checks, fewest, slow := 0, 100, map[string]time.Duration{}
			for i, s := range live {
				fewest = min(fewest, len(s.live))
				began := time.Now()
				checks += checkSubject(t, s, counterpart[i])
				slow[s.of] += time.Since(began)
			}
			if k.bare != (one.log.out.Len() == 0) || showsKey(one.log.out.String()) {
				t.Error("the log is empty or shows the key")
			}
			if fewest < 9 || len(sinks()) < 20 || checks < fewest*len(sinks())*len(live) {
				t.Errorf("only %d checks: at least %d places, %d sinks, %d values", checks, fewest, len(sinks()), len(live))
			}
			names := sorted(slow)
			sort.Slice(names, func(i, j int) bool { return slow[names[i]] > slow[names[j]] })
			t.Logf("%d checks: %d values in at least %d places, %d sinks; slowest %s, %v",
				checks, len(live), fewest, len(sinks()), names[0], slow[names[0]])
		})
	}
}

// checkSubject reports a finding once for each sink, and in how many places: a
// leak in one place is mostly one in all.
func checkSubject(t *testing.T, s, other subject) (checks int) {
	t.Helper()
	for _, sink := range sinks() {
		var shows, fails []string
		var failure error
		for i, place := range s.live {
			checks++
			out, err := sink.run(s.probe(i, other))
			if showsKey(out) {
				shows = append(shows, place.name)
			}
			if err != nil {
				fails, failure = append(fails, place.name), err
			}
		}
		if len(shows) > 0 {
			t.Errorf("%s shows the key by %s in %d places: %q", s.of, sink.name, len(shows), shows)
		}
		if len(fails) > 0 {
			t.Errorf("%s breaks %s in %d places: %q: %v", s.of, sink.name, len(fails), fails, failure)
		}
	}
	return checks
}
