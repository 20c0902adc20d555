package parity_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

var errCause = errors.New("the caller's own cause")

// A result is what the caller of one call saw.
type result struct {
	status int    // 0 if there was no answer
	text   string // of the answer's body
	err    error
	note   string // what else the case looked at; it has to be the same on both sides
}

// An outcome is what one side made of a case.
type outcome struct {
	calls        []result
	sends, dials int
	wait         time.Duration
}

// rank orders results: success, the service's own answer, an error.
func (r result) rank() int {
	switch {
	case r.err == nil && r.status < 400:
		return 2
	case r.status >= 400:
		return 1
	}
	return 0
}

func (r result) String() string {
	switch r.rank() {
	case 2:
		return "succeeds"
	case 1:
		return fmt.Sprint("status ", r.status)
	}
	return "error (" + strings.Join(traits(r.err), ", ") + ")"
}

// traits are what a program asks of an error.
func traits(err error) []string {
	var out []string
	add := func(has bool, name string) {
		if has {
			out = append(out, name)
		}
	}
	asURL, asNet, asDNS, asOp := (*url.Error)(nil), net.Error(nil), (*net.DNSError)(nil), (*net.OpError)(nil)
	add(errors.As(err, &asURL) && asURL.Timeout(), "url.Error.Timeout")
	add(errors.As(err, &asNet) && asNet.Timeout(), "net.Error.Timeout")
	add(os.IsTimeout(err), "os.IsTimeout")
	add(errors.As(err, &asDNS), "DNSError")
	add(errors.As(err, &asOp), "OpError")
	for _, known := range []struct {
		err  error
		name string
	}{
		{context.DeadlineExceeded, "DeadlineExceeded"},
		{context.Canceled, "Canceled"},
		{errCause, "cause"},
		{io.EOF, "EOF"},
		{io.ErrUnexpectedEOF, "ErrUnexpectedEOF"},
		{syscall.ECONNRESET, "ECONNRESET"},
		{syscall.ECONNREFUSED, "ECONNREFUSED"},
		{syscall.EPIPE, "EPIPE"},
	} {
		add(errors.Is(err, known.err), known.name)
	}
	if len(out) == 0 {
		return []string{"other"}
	}
	return out
}

// summary groups equal results: "succeeds x 9, status 503 x 1".
func (o outcome) summary() string {
	var order []string
	count := map[string]int{}
	for _, r := range o.calls {
		s := r.String()
		if count[s]++; count[s] == 1 {
			order = append(order, s)
		}
	}
	if len(order) == 1 && count[order[0]] == 1 {
		return order[0]
	}
	slices.Sort(order)
	for i, s := range order {
		order[i] = fmt.Sprintf("%s x %d", s, count[s])
	}
	return strings.Join(order, ", ")
}

func (o outcome) String() string {
	return fmt.Sprintf("%s / %d sends / %v", o.summary(), o.sends, o.wait.Round(time.Millisecond))
}

// sorted puts better results first: the order of calls at once means nothing.
func sorted(results []result) []result {
	slices.SortStableFunc(results, func(a, b result) int {
		return cmp.Or(cmp.Compare(b.rank(), a.rank()), cmp.Compare(a.status, b.status))
	})
	return results
}

func (o outcome) rank() int {
	sum := 0
	for _, r := range o.calls {
		sum += r.rank()
	}
	return sum
}

// A kind is a way to be worse.
type kind string

const (
	inOutcome kind = "outcome"
	inSends   kind = "sends"
	inWait    kind = "wait"
	inDials   kind = "connections"
)

// backoffSpread is by how much two waits of the same back-off may differ: up to
// a quarter of it is taken off at random.
const backoffSpread = 4.0 / 3

// moreSends is how many more sends than alone a call may take that succeeds
// where alone it fails.
const moreSends = 2

// worse says in what ways got, latchkey's outcome, is worse than alone; jitter
// says that waits are drawn at random, slack how many calls may be worse.
func worse(alone, got outcome, jitter bool, slack int) map[kind]string {
	ways := map[kind]string{}
	if d := worseResults(alone, got, slack); d != "" {
		ways[inOutcome] = d
	}
	better := got.rank() > alone.rank()
	if bound := alone.sends + moreSends*len(got.calls); got.sends > alone.sends && (!better || got.sends > bound) {
		ways[inSends] = fmt.Sprintf("%d sends, not %d", got.sends, alone.sends)
	}
	bound := alone.wait
	if jitter {
		bound = time.Duration(float64(bound) * backoffSpread)
	}
	if got.wait > bound && !better { // what succeeds may take longer than what does not
		ways[inWait] = fmt.Sprintf("waits %v, not %v", got.wait, alone.wait)
	}
	return ways
}

func worseResults(alone, got outcome, slack int) string {
	if len(alone.calls) != len(got.calls) {
		return fmt.Sprintf("%d calls, not %d", len(got.calls), len(alone.calls))
	}
	for i, a := range alone.calls {
		g := got.calls[i]
		if g.rank() < a.rank() && slack > 0 {
			slack--
			continue
		}
		switch {
		case g.rank() < a.rank():
			return g.String() + ": " + fmt.Sprint(g.err)
		case g.rank() > a.rank():
			continue
		case a.rank() > 0 && g.status != a.status:
			return fmt.Sprintf("status %d, not %d", g.status, a.status)
		case a.rank() > 0 && g.text != a.text:
			return fmt.Sprintf("body %s, not %s", short(g.text), short(a.text))
		case g.note != a.note:
			return fmt.Sprintf("%q, not %q", g.note, a.note)
		}
		if a.rank() == 0 {
			for _, trait := range traits(a.err) {
				if trait != "other" && !slices.Contains(traits(g.err), trait) {
					return "the error is no " + trait + ": " + fmt.Sprint(g.err)
				}
			}
		}
	}
	return ""
}

func short(s string) string {
	if len(s) > 40 {
		return fmt.Sprintf("%.40q and %d bytes more", s, len(s)-40)
	}
	return fmt.Sprintf("%q", s)
}
