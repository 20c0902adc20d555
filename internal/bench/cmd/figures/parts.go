package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A part is what can be made alone: benchmarks, or the output of another command.
type part struct {
	name, title, about string
	// bench is a regular expression over benchmarks. count and length, if they are
	// not zero, are those of the part whatever the flags say.
	bench, length string
	count         int
	// tool is a command that prints tables in Markdown, and quick what makes it short.
	tool, quick []string
	// chart is the column that is drawn, and unit what it counts; the table below the
	// heading apart is not drawn.
	chart, unit, apart string
}

func parts() []part {
	return []part{
		{name: "read", title: "Reading a fresh credential", bench: "^BenchmarkCachedRead$",
			about: "`pointer` is an atomic pointer with an expiry, the least that it can cost. `aws-secrets` is aws-secretsmanager-caching-go, `openai-go` the token of its workload identity."},
		{name: "layers", title: "What the layers add to a call", bench: "^Benchmark(Stack|Bearer)$",
			about: "The call succeeds at once, and the transport answers from memory."},
		{name: "401", title: "A call whose key was just rotated", bench: "^Benchmark401$",
			about: "A refusal, a read of a store in memory, and the call once more."},
		{name: "retry", title: "A call that is answered 429 first", bench: "^Benchmark429$/^net=mem$|^Benchmark429$/^net=loop$/^answer=429$", count: 3, length: "5x",
			about: "A prompt of 100 KB; the 429 asks for a retry at once. What it costs in memory, sends and new connections: the time says nothing, because latchkey slows down where every call is refused first. `nethttp` is a retry by hand."},
		{name: "throttle", title: "Under a rate limit", tool: []string{"./cmd/throttle"}, quick: []string{"-quick", "-scenario", "workers10"},
			about: "Calls that failed, of all calls, and sends per call. `the limit` is what a client could reach that knows the limit. [All tables](throttling.md)."},
		{name: "stream", title: "A stream of 200 chunks", bench: "^BenchmarkStream$",
			about: "Each chunk into a struct. `scanner+json` is bufio.Scanner and encoding/json by hand."},
		{name: "telemetry", title: "Spans and metrics", bench: "^BenchmarkTelemetry$",
			about: "`otelhttp` is to be compared with `none`, and `latchkey+telemetry` with `latchkey`."},
		{name: "failover", title: "Several endpoints", bench: "^BenchmarkFailover$",
			about: "One endpoint; three that are well; three of which the first is out of order and left alone."},
		{name: "limit", title: "Ceilings", bench: "^BenchmarkLimit$",
			about: "`x-time-rate` counts requests alone; `latchkey` holds requests, tokens and what is in flight."},
		{name: "coldstart", title: "Cold start", tool: []string{"./cmd/coldstart"}, quick: []string{"-runs", "1"}, chart: "median ms", unit: "ms",
			about: "From the start of a process to its first authorized answer: the key is in a Secrets Manager, everything goes over TLS, and each way takes 20 ms."},
		{name: "sizes", title: "Binaries", tool: []string{"./cmd/sizes"}, chart: "MB", unit: "MB",
			about: "A program with one call, without cgo, with `-trimpath -ldflags \"-s -w\"`."},
		{name: "storm", title: "A key is rotated under 200 callers", tool: []string{"./cmd/storm"}, chart: "failed", unit: "failed calls", apart: "dead",
			quick: []string{"-clients", "20", "-duration", "2s", "-modes", "abrupt,lag"},
			about: "Over TLS and HTTP/2. The service answers after 100 ms and refuses after 20 ms, a read of the store takes 20 ms, and after a second the key is rotated. The tables count, and where the times are long the machine was at its limit."},
	}
}

func names(all []part) []string {
	var out []string
	for _, p := range all {
		out = append(out, p.name)
	}
	return out
}

func pick(only string) ([]part, error) {
	all := parts()
	if only == "" {
		return all, nil
	}
	var out []part
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(all, func(p part) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("-only: there is no part %q; there are %s", name, strings.Join(names(all), ", "))
		}
		out = append(out, all[i])
	}
	return out, nil
}

// A section is a part that was made.
type section struct {
	text    string            // Markdown below its title
	charts  map[string]string // by the names of their files
	machine string            // that the benchmarks have named
	stamp   stamp
}

func (p part) make(ctx context.Context, goes command, o *options, given []byte, progress io.Writer) (section, error) {
	if p.tool == nil {
		output, err := given, error(nil)
		if o.from == "" {
			output, err = goes(ctx, progress, p.benchArgs(o)...)
		}
		if err != nil {
			return section{}, err
		}
		return p.benchmarks(output)
	}
	if o.from != "" {
		return section{}, errNothing
	}
	fmt.Fprintf(progress, "%s\n", strings.Join(p.tool, " "))
	if p.name == "throttle" {
		return p.throttle(ctx, goes, o, progress)
	}
	output, err := goes(ctx, progress, p.toolArgs(o)...)
	if err != nil {
		return section{}, err
	}
	text, drawn := string(output), chart{title: p.title, unit: p.unit}
	drawn.bars = slices.DeleteFunc(column(text, p.chart), func(b bar) bool {
		return p.apart != "" && strings.HasPrefix(b.name, p.apart+": ")
	})
	if len(drawn.bars) == 0 {
		return section{}, fmt.Errorf("no column %q was printed", p.chart)
	}
	return section{
		text:   p.about + "\n\n" + strings.TrimSpace(text) + "\n\n" + picture(p.title, p.name),
		charts: map[string]string{p.name + ".svg": drawn.svg()},
	}, nil
}

func (p part) benchArgs(o *options) []string {
	count, length := o.count, o.length
	if p.count > 0 {
		count, length = p.count, p.length
	}
	if o.quick {
		count, length = 1, "1x"
	}
	return []string{"test", "-run", "^$", "-bench", p.bench, "-benchtime", length, "-count", strconv.Itoa(count), "-timeout", "60m", "."}
}

func (p part) toolArgs(o *options) []string {
	args := append([]string{"run"}, p.tool...)
	if o.quick {
		args = append(args, p.quick...)
	}
	return args
}

// throttle has a page and a chart of its own.
func (p part) throttle(ctx context.Context, goes command, o *options, progress io.Writer) (section, error) {
	tmp, err := os.MkdirTemp("", "figures")
	if err != nil {
		return section{}, fmt.Errorf("%w", err)
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	summary := filepath.Join(tmp, "summary.md")
	args := append(p.toolArgs(o), "-summary", summary,
		"-md", filepath.Join(o.dir, "throttling.md"), "-svg", filepath.Join(o.dir, "throttling.svg"))
	if _, err := goes(ctx, progress, args...); err != nil {
		return section{}, err
	}
	text, err := os.ReadFile(summary)
	if err != nil {
		return section{}, fmt.Errorf("%w", err)
	}
	return section{text: p.about + "\n\n" + string(text) + "\n" + picture(p.title, "throttling")}, nil
}

// benchmarks are the groups of the part, out of what go test -bench has printed.
func (p part) benchmarks(output []byte) (section, error) {
	top, _, _ := strings.Cut(p.bench, "/")
	mine := regexp.MustCompile(top)
	all := parse(bytes.NewReader(output))
	s := section{charts: map[string]string{}, machine: all.machine}
	var b strings.Builder
	b.WriteString(p.about + "\n")
	for _, g := range all.groups {
		name, _, _ := strings.Cut(g.name, "/")
		if mine.MatchString("Benchmark" + name) {
			g.write(&b, p.title, s.charts)
		}
	}
	if len(s.charts) == 0 {
		return section{}, errNothing
	}
	s.text = b.String()
	return s, nil
}
