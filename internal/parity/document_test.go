package parity_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write docs/parity.md")

// A class is what docs/parity.md has one line of: the rows that are alike.
type class struct {
	name            string
	rows, faults    int
	alone, latchkey summary
	same            bool // in each row
	reasons         set
}

type set map[string]bool

// A summary is what one side made of the rows of a class, without what differs
// from run to run: the part of a back-off that is drawn at random.
type summary struct {
	outcomes            set
	sends, dials, waits [2]int // from, to; waits are indexes of buckets
	rows                int
	loose               bool // sends are for one call, rounded up, and waits say nothing
	others              bool // sends say nothing
}

// buckets are what waits are rounded up to. No back-off ends near one.
var buckets = []struct {
	most time.Duration
	name string
}{
	{time.Millisecond, "at once"},
	{time.Second, "within 1 s"},
	{3 * time.Second, "within 3 s"},
	{10 * time.Second, "within 10 s"},
	{time.Minute, "within a minute"},
	{10 * time.Minute, "within 10 minutes"},
	{time.Hour, "within an hour"},
	{math.MaxInt64, "later"},
}

func (s *summary) add(o outcome, c *row) {
	for _, r := range o.calls {
		s.outcomes[r.coarse()] = true
	}
	wait := slices.IndexFunc(buckets, func(b struct {
		most time.Duration
		name string
	}) bool {
		return o.wait <= b.most
	})
	connections := 0
	if c.dials {
		connections = o.dials
	}
	sends := o.sends
	s.others = c.others
	if s.loose = c.loose; s.loose {
		sends = (sends + len(o.calls) - 1) / len(o.calls)
	}
	for _, span := range []struct {
		of    *[2]int
		value int
	}{{&s.sends, sends}, {&s.waits, wait}, {&s.dials, connections}} {
		if s.rows == 0 {
			*span.of = [2]int{span.value, span.value}
		}
		span.of[0], span.of[1] = min(span.of[0], span.value), max(span.of[1], span.value)
	}
	s.rows++
}

// coarse is the result in a word.
func (r result) coarse() string {
	if r.rank() == 1 {
		return "its status"
	}
	if r.rank() == 2 {
		return "succeeds"
	}
	has := traits(r.err)
	switch {
	case slices.Contains(has, "Canceled") || slices.Contains(has, "cause"):
		return "canceled"
	case slices.Contains(has, "net.Error.Timeout") || slices.Contains(has, "DeadlineExceeded"):
		return "times out"
	}
	return "fails"
}

func (s *summary) String() string {
	out := strings.Join(slices.Sorted(maps.Keys(s.outcomes)), " or ")
	if !s.others {
		out += ", " + span(s.sends, "send", strconv.Itoa)
	}
	if s.dials[1] > 0 {
		out += ", " + span(s.dials, "connection", strconv.Itoa)
	}
	if s.loose {
		return out + " a call at most"
	}
	return out + ", " + span(s.waits, "", func(i int) string { return buckets[i].name })
}

func span(of [2]int, what string, name func(int) string) string {
	out := name(of[1])
	if of[1] != of[0] && (what != "" || of[0] == 0) {
		out = name(of[0]) + " to " + out
	}
	switch {
	case what == "":
		return out
	case of[1] == 1 && of[0] == 1:
		return out + " " + what
	}
	return out + " " + what + "s"
}

func classesOf(verdicts []*verdict) []*class {
	var order []*class
	byName := map[string]*class{}
	for _, v := range verdicts {
		c := byName[v.class]
		if c == nil {
			c = &class{name: v.class, same: true, reasons: set{}, alone: summary{outcomes: set{}}, latchkey: summary{outcomes: set{}}}
			byName[v.class] = c
			order = append(order, c)
		}
		c.rows++
		c.alone.add(v.alone, v.row)
		c.latchkey.add(v.latchkey, v.row)
		if v.but != nil {
			c.reasons[v.but.reason] = true
			c.same = false
		}
		if len(v.faults) > 0 {
			c.faults++
			c.same = false
		}
	}
	return order
}

const documentHead = `# Parity

What a program gains and loses by putting latchkey between the SDK and the service: the same calls against the same server,
over openai-go or net/http alone and over latchkey with its defaults. Latchkey is the same or better in the outcome, in the
number of sends and in the wait, or the line names its reason.

This page is written by ` + "`go test -run TestParity . -update`" + ` in internal/parity, where each of the %d cases is.
`

const tableHead = `
## %s

| | cases | alone | latchkey | where it is not the same or better, why |
|---|--:|---|---|---|
`

func document(tables [][]*verdict) []byte {
	total := 0
	for _, verdicts := range tables {
		total += len(verdicts)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, documentHead, total)
	for i, verdicts := range tables {
		fmt.Fprintf(&b, tableHead, groups()[i].title)
		for _, c := range classesOf(verdicts) {
			latchkey := c.latchkey.String()
			if c.same && latchkey == c.alone.String() {
				latchkey = "the same"
			}
			why := slices.Sorted(maps.Keys(c.reasons))
			if c.faults > 0 {
				why = append(why, fmt.Sprintf("**worse in %d**", c.faults))
			}
			fmt.Fprintf(&b, "| %s | %d | %s | %s | %s |\n", c.name, c.rows, &c.alone, latchkey, strings.Join(why, "; "))
		}
	}
	return b.Bytes()
}

// checkDocument compares docs/parity.md with the tables, or writes it.
func checkDocument(t *testing.T, tables [][]*verdict) {
	t.Helper()
	for _, verdicts := range tables {
		if len(verdicts) == 0 || slices.Contains(verdicts, nil) {
			return // a part of the table alone, by -run or -row
		}
	}
	path := filepath.Join("..", "..", "docs", "parity.md")
	want := document(tables)
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("docs/parity.md is not what the table shows (%v): go test -run TestParity . -update", err)
	}
}
