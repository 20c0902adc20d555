package main

import (
	"bufio"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A row is one benchmark: what its runs have measured, by unit.
type row struct {
	name   string
	values map[string][]float64
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
	r := &row{name: name, values: map[string][]float64{}}
	g.rows = append(g.rows, r)
	return r
}

// add takes the values of one run, each with its unit behind it.
func (r *row) add(fields []string) {
	for i := 0; i+1 < len(fields); i += 2 {
		if v, err := strconv.ParseFloat(fields[i], 64); err == nil {
			r.values[fields[i+1]] = append(r.values[fields[i+1]], v)
		}
	}
}

// median is that of the runs.
func (r *row) median(unit string) float64 {
	if len(r.values[unit]) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(r.values[unit]))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// column finds the column of that name in tables of Markdown, and returns its cells
// with the first cell of their rows. A heading above a table is part of the name.
func column(text, name string) []bar {
	var out []bar
	heading, at := "", -1
	for l := range strings.Lines(text) {
		if above, ok := strings.CutPrefix(l, "### "); ok {
			heading = strings.TrimSpace(above) + ": "
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(l), "|"), " | ")
		switch {
		case !strings.HasPrefix(l, "|"):
			at = -1
			continue
		case slices.Contains(trimmed(cells), name):
			at = slices.Index(trimmed(cells), name)
			continue
		case at < 0 || at >= len(cells):
			continue
		}
		if v, err := strconv.ParseFloat(trimmed(cells)[at], 64); err == nil {
			out = append(out, bar{heading + trimmed(cells)[0], v})
		}
	}
	return out
}

func trimmed(cells []string) []string {
	var out []string
	for _, c := range cells {
		out = append(out, strings.TrimSpace(c))
	}
	return out
}
