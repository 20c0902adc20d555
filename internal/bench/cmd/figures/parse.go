package main

import (
	"bufio"
	"context"
	"io"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// A row is one benchmark: the medians of its runs.
type row struct {
	name          string
	ns            []float64
	bytes, allocs float64
}

// A group is what is compared with each other: the benchmarks whose names differ in
// the last part alone.
type group struct {
	name string
	rows []*row
}

// Results are all groups, and where they were measured.
type results struct {
	groups  []*group
	machine string
	modules []string
}

var line = regexp.MustCompile(`^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+(.*)$`)

// parse reads what go test -bench prints.
func parse(r io.Reader) *results {
	res := &results{}
	s := bufio.NewScanner(r)
	for s.Scan() {
		if cpu, ok := strings.CutPrefix(s.Text(), "cpu: "); ok {
			res.machine = strings.TrimSpace(cpu)
		}
		m := line.FindStringSubmatch(s.Text())
		if m == nil {
			continue
		}
		cut := strings.LastIndexByte(m[1], '/')
		if cut < 0 {
			continue
		}
		_, name, _ := strings.Cut(m[1][cut+1:], "=")
		res.group(m[1][:cut]).row(name).add(strings.Fields(m[2]))
	}
	return res
}

func (r *results) group(name string) *group {
	for _, g := range r.groups {
		if g.name == name {
			return g
		}
	}
	g := &group{name: name}
	r.groups = append(r.groups, g)
	return g
}

func (g *group) row(name string) *row {
	for _, r := range g.rows {
		if r.name == name {
			return r
		}
	}
	r := &row{name: name}
	g.rows = append(g.rows, r)
	return r
}

// add takes the values of one run, each with its unit behind it.
func (r *row) add(fields []string) {
	for i := 0; i+1 < len(fields); i += 2 {
		v, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			continue
		}
		switch fields[i+1] {
		case "ns/op":
			r.ns = append(r.ns, v)
		case "B/op":
			r.bytes = v
		case "allocs/op":
			r.allocs = v
		}
	}
}

func (r *row) median() float64 {
	if len(r.ns) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(r.ns))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// modules are the versions of what is compared, from the go.mod of this module.
func modules(ctx context.Context) []string {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{if not .Indirect}}{{.Path}} {{.Version}}{{end}}", "all").Output()
	if err != nil {
		return nil
	}
	list := []string{runtime.Version()}
	for l := range strings.Lines(string(out)) {
		if path, version, ok := strings.Cut(strings.TrimSpace(l), " "); ok && version != "" && !strings.Contains(path, "latchkey") {
			list = append(list, path+" "+version)
		}
	}
	return list
}
