package parity_test

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
)

// A row is one case: calls against a server, over one protocol.
type row struct {
	// class is the line of docs/parity.md that the case belongs to.
	class string
	// name tells the case from the others of its class.
	name     string
	protocol protocol
	// server makes the network's server.
	server func(*network)
	// onDial, if not nil, comes before each connection is made.
	onDial func(ctx context.Context, number int) error
	calls  func(ctx context.Context, s *side) []result
	// steady says that no wait of the case is drawn at random, so that
	// latchkey's may not be longer by a nanosecond.
	steady bool
	// dials says that the connections are compared as well.
	dials bool
	// loose says that sends and waits of the case differ from run to run.
	loose bool
	// others says that there are calls beside those that are looked at, so that the
	// number of sends differs from run to run.
	others bool
	// slack is how many calls of the case may have a worse result.
	slack int
	// but, if not nil, is in what latchkey may be worse, and why.
	but *exception
	// must, if not nil, is what latchkey has to do whatever the other side did.
	must func(o outcome) string
}

// An exception names the reason for which latchkey is worse in some ways.
type exception struct {
	reason string
	ways   []kind
	drawn  bool // whether it is needed depends on waits that are drawn at random
}

func except(reason string, ways ...kind) *exception {
	return &exception{reason: reason, ways: ways}
}

func (e *exception) maybe() *exception {
	e.drawn = true
	return e
}

// A group is a part of the table, and a section of docs/parity.md.
type group struct {
	name, title string
	rows        func() []row
}

func groups() []group {
	return []group{
		{"Statuses", "Refusals of each status", statusRows},
		{"RetryAfter", "Waits that the service asks for", askRows},
		{"Reset", "Connections that end, HTTP/1", resetRows},
		{"HTTP2", "Streams and connections that end, HTTP/2", http2Rows},
		{"Stale", "Idle connections that have ended", staleRows},
		{"Idle", "Idle connections that are kept", idleRows},
		{"Timeout", "Deadlines, timeouts, and connections that are not made", timeoutRows},
		{"Load", "Many calls: failures, outages, throttling", loadRows},
		{"NetHTTP", "Requests and answers, as net/http has them", netHTTPRows},
		{"Features", "Trailers, Expect, 1xx, upgrades, full duplex, cancellation", featureRows},
		{"Proxy", "httputil.ReverseProxy", proxyRows},
	}
}

// A verdict is a row, what came of it on both sides, and what is wrong.
type verdict struct {
	*row
	alone, latchkey outcome
	faults          []string
}

func (c *row) title() string { return c.class + ": " + c.name + " (" + c.protocol.String() + ")" }

// judge runs a row on both sides, each in a bubble with its own time.
func (c *row) judge(t *testing.T) *verdict {
	v := &verdict{row: c}
	for _, side := range []struct {
		name     string
		latchkey bool
		outcome  *outcome
	}{{"alone", false, &v.alone}, {"latchkey", true, &v.latchkey}} {
		if hang := inBubble(t, func(t *testing.T) { *side.outcome = c.run(t, side.latchkey) }); hang != "" {
			v.faults = append(v.faults, side.name+" hangs, whatever its context says: "+hang)
			return v
		}
	}
	ways := worse(v.alone, v.latchkey, !c.steady, c.slack)
	if c.dials && v.latchkey.dials > v.alone.dials {
		ways[inDials] = fmt.Sprintf("%d connections, not %d", v.latchkey.dials, v.alone.dials)
	}
	if c.but != nil {
		needed := false
		for _, way := range c.but.ways {
			if _, is := ways[way]; is {
				needed = true
				delete(ways, way)
			}
		}
		if !needed && !c.but.drawn {
			v.faults = append(v.faults, "names a reason that it does not need: "+c.but.reason)
		}
	}
	for _, way := range []kind{inOutcome, inSends, inWait, inDials} {
		if d, is := ways[way]; is {
			v.faults = append(v.faults, "worse in "+string(way)+": "+d)
		}
	}
	if c.must != nil {
		if d := c.must(v.latchkey); d != "" {
			v.faults = append(v.faults, d)
		}
	}
	return v
}

// inBubble runs f in a bubble. What hangs there for ever would end the whole
// table; its goroutines are left behind.
func inBubble(t *testing.T, f func(*testing.T)) (hang string) {
	defer func() {
		if p := recover(); p != nil {
			hang = fmt.Sprint(p)
		}
	}()
	synctest.Test(t, f)
	return ""
}

func (v *verdict) line() string {
	return fmt.Sprintf("%s: alone: %v, latchkey: %v: %s", v.title(), v.alone, v.latchkey, strings.Join(v.faults, "; "))
}

// TestParity holds latchkey to promise P11, row by row, and docs/parity.md to
// what the rows show.
func TestParity(t *testing.T) {
	var tables [][]*verdict
	for range groups() {
		tables = append(tables, nil)
	}
	t.Run("rows", func(t *testing.T) {
		for i, g := range groups() {
			t.Run(g.name, func(t *testing.T) {
				t.Parallel()
				tables[i] = judgeAll(t, g.rows())
			})
		}
	})
	checkDocument(t, tables)
}

var only = flag.String("row", "", "run only rows whose title contains this")

func judgeAll(t *testing.T, rows []row) []*verdict {
	verdicts, failed := make([]*verdict, len(rows)), 0
	for i := range rows {
		if !strings.Contains(rows[i].title(), *only) {
			continue
		}
		verdicts[i] = rows[i].judge(t)
		if v := verdicts[i]; len(v.faults) > 0 {
			failed++
			t.Error(v.line())
		} else if testing.Verbose() {
			t.Log(v.line())
		}
	}
	t.Logf("%d of %d rows fail", failed, len(rows))
	return verdicts
}

// TestEveryRowHasANameOfItsOwn keeps the lines of a failing table apart.
func TestEveryRowHasANameOfItsOwn(t *testing.T) {
	seen, total := map[string]bool{}, 0
	for _, g := range groups() {
		for _, c := range g.rows() {
			total++
			if seen[c.title()] {
				t.Errorf("two rows are named %s", c.title())
			}
			seen[c.title()] = true
			if c.class == "" || c.server == nil || c.calls == nil {
				t.Errorf("%s has no class, no server or no calls", c.title())
			}
		}
	}
	if total < 300 {
		t.Errorf("%d rows, want at least 300", total)
	}
}

// TestMain takes away what the environment of the developer would decide.
func TestMain(m *testing.M) {
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		for _, prefix := range []string{"OPENAI_", "AZURE_", "AWS_"} {
			if strings.HasPrefix(name, prefix) {
				_ = os.Unsetenv(name)
			}
		}
	}
	// The resolver makes a channel of the whole process when it is first used,
	// which must not happen in a bubble.
	_, _ = (&net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, net.ErrClosed
	}}).LookupHost(context.Background(), "api.example.")
	os.Exit(m.Run())
}
