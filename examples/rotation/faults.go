package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey/internal/testing/openaitest"
)

// probe makes one rotation, and returns the remote calls of its two runs.
func (w *world) probe(ctx context.Context) (rotating, retiring []string, err error) {
	a, b := &tap{}, &tap{}
	r := w.trial(ctx, &fault{name: "none", rotating: tapped(a), retiring: tapped(b)})
	return a.calls, b.calls, r.problem
}

// kills are deaths of the process before and after each remote call. The death while a
// key is made and the one while it is revoked are in the same trial.
func kills(rotating, retiring []string, every int) (list []fault) {
	name := func(calls []string, n int) string {
		when := "before"
		if n%2 == 1 {
			when = "after"
		}
		return fmt.Sprintf("%s %s (%d)", when, calls[n/2], n/2+1)
	}
	for n := 0; n < 2*max(len(rotating), len(retiring)); n += every {
		var f fault
		f.name = "killed"
		if n < 2*len(rotating) {
			f.name += " " + name(rotating, n)
			f.rotating = killed(killing{order: order{At: n/2 + 1, Answer: n%2 == 1}})
		}
		if n < 2*len(retiring) {
			f.name += ", retiring " + name(retiring, n)
			f.retiring = killed(killing{order: order{At: n/2 + 1, Answer: n%2 == 1}})
		}
		list = append(list, f)
	}
	return list
}

// losses are requests and answers that get lost, and the rotator lives: by a transport
// that fails, so that they are for a staging account as well.
func losses(rotating, retiring []string, every int) (list []fault) {
	for n := 0; n < 2*len(rotating); n += every {
		f := fault{
			name:     fmt.Sprintf("the answer to %s (%d) is lost", rotating[n/2], n/2+1),
			rotating: tapped(&tap{at: n/2 + 1, answer: n%2 == 1}),
		}
		if n%2 == 0 {
			f.name = strings.Replace(f.name, "the answer to", "the request", 1)
		}
		if n < 2*len(retiring) {
			f.retiring = tapped(&tap{at: n/2 + 1, answer: n%2 == 1})
		}
		list = append(list, f)
	}
	return list
}

// random are kills from outside, at any time.
func random(n int) (list []fault) {
	for range n {
		after := time.Millisecond + time.Duration(rand.Int64N(int64(60*time.Millisecond))) //nolint:gosec // a time
		list = append(list, fault{
			name:     fmt.Sprintf("killed after %v", after.Round(time.Millisecond)),
			rotating: killed(killing{after: after}), retiring: killed(killing{after: after}),
		})
	}
	return list
}

// others are not about one call.
func others() []fault {
	return []fault{
		{name: "none"},
		{name: "2 rotators at once", rotating: crowd(2), retiring: crowd(2)},
		{name: "4 rotators at once", rotating: crowd(4), retiring: crowd(4)},
		{name: "the key has leaked", rotating: leaked},
	}
}

// issuers are faults of the issuer.
func issuers() []fault {
	return []fault{
		{name: "the issuer is down for 3 runs", failing: 3, is: openaitest.Behavior{Lose: always(openaitest.Request)}},
		{name: "the issuer's answers are lost for 3 runs", failing: 3, is: openaitest.Behavior{Lose: always(openaitest.Answer)}},
		{name: "a connection in five is cut", is: openaitest.Behavior{Lose: oneInFive(1)}},
		{name: "the issuer takes 100 ms for each answer", is: openaitest.Behavior{Slow: 100 * time.Millisecond}},
		{name: "a new key is accepted after 3 s", is: openaitest.Behavior{Lag: 3 * time.Second}},
		{name: "a deleted key lives 60 s longer", is: openaitest.Behavior{Linger: time.Minute}},
		{name: "a policy forbids new keys for 3 runs", failing: 3, is: openaitest.Behavior{NeedExpiry: true, Longest: 24 * time.Hour}},
		{name: "no rights for 3 runs", failing: 3, is: openaitest.Behavior{Status: http.StatusForbidden, Code: "insufficient_permissions"}},
		{name: "too many keys for 3 runs", failing: 3, is: openaitest.Behavior{Most: 1}},
		{name: "too many requests for 3 runs", failing: 3, is: openaitest.Behavior{Status: http.StatusTooManyRequests, Code: "rate_limit_exceeded"}},
	}
}

// byRotator reports whether a rotator sends the request, and no reader.
func byRotator(r *http.Request) bool {
	return strings.Contains(r.URL.Path, "/organization/") || strings.HasSuffix(r.URL.Path, "/models")
}

func always(l openaitest.Loss) func(*http.Request) openaitest.Loss {
	return func(r *http.Request) openaitest.Loss {
		if byRotator(r) {
			return l
		}
		return openaitest.Nothing
	}
}

func oneInFive(seed uint64) func(*http.Request) openaitest.Loss {
	var n atomic.Uint64
	return func(r *http.Request) openaitest.Loss {
		if !byRotator(r) {
			return openaitest.Nothing
		}
		dice := rand.New(rand.NewPCG(seed, n.Add(1))) //nolint:gosec // a script
		switch dice.IntN(10) {
		case 0:
			return openaitest.Request
		case 1:
			return openaitest.Answer
		}
		return openaitest.Nothing
	}
}
