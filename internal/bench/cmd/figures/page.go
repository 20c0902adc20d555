package main

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"
)

// what says what the groups of a benchmark are about, by the beginning of their names.
var what = []struct{ prefix, title, about string }{
	{"CachedRead/mode=seq", "Reading a fresh credential, one goroutine", "`pointer` is an atomic pointer with an expiry, the least that it can cost."},
	{"CachedRead/mode=par", "Reading a fresh credential, all cores", ""},
	{"Stack/call=roundtrip", "What the layers add to a round trip", "`none` is a transport that answers from memory; `peers` are x/oauth2 below go-retryablehttp."},
	{"Stack/call=openai-go", "What the layers add to a chat completion of openai-go", ""},
	{"401", "A call whose key was just rotated", "A refusal, a read of a store in memory, and the call once more. `handmade` is a mutex, a string and a loop."},
	{"429/net=mem", "A call that is answered 429 first, from memory", "With a prompt of 100 KB. `nethttp` is a retry by hand."},
	{"429/net=loop", "The same over loopback", ""},
	{"Stream", "A stream of 200 chunks", "Each into a struct. `scanner+json` is bufio.Scanner and encoding/json by hand."},
	{"Telemetry", "Spans and metrics", "`otelhttp` is to be compared with `none`, and `latchkey+telemetry` with `latchkey`."},
	{"Failover", "Several endpoints", "One endpoint; three that are well; three of which the first is out of order and left alone."},
	{"Limit", "Ceilings", "`x-time-rate` counts requests alone; `latchkey` holds requests, tokens and what is in flight."},
}

func describe(name string) (title, about string) {
	for _, w := range what {
		if strings.HasPrefix(name, w.prefix) {
			_, rest, _ := strings.Cut(strings.TrimPrefix(name, w.prefix), "/")
			if rest != "" {
				return w.title + ": " + rest, w.about
			}
			if own, found := strings.CutPrefix(name, w.prefix); found && own != "" {
				return w.title + ": " + strings.Trim(own, "/"), w.about
			}
			return w.title, w.about
		}
	}
	return name, ""
}

// file is the name of the group's picture.
func (g *group) file() string {
	return strings.ToLower(strings.NewReplacer("/", "-", "=", "-", ",", "-", ".", "-").Replace(g.name))
}

func (r *results) markdown(w io.Writer) {
	fmt.Fprintf(w, "# Figures\n\nWritten by `go run ./cmd/figures` in `internal/bench` on %s: medians, all in one process on one machine,\n", time.Now().Format(time.DateOnly))
	fmt.Fprintf(w, "%s, %s/%s, %d cores. Numbers of bytes and allocations do not depend on the machine; times do: look at the ratios.\n", r.machine, runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	for _, g := range r.groups {
		title, about := describe(g.name)
		fmt.Fprintf(w, "\n## %s\n\n", title)
		if about != "" {
			fmt.Fprintf(w, "%s\n\n", about)
		}
		fmt.Fprintf(w, "| | time | of the first | B | allocations |\n|---|--:|--:|--:|--:|\n")
		for _, row := range g.rows {
			fmt.Fprintf(w, "| %s | %s | %.2f | %.0f | %.0f |\n", row.name, duration(row.median()), row.median()/g.rows[0].median(), row.bytes, row.allocs)
		}
		fmt.Fprintf(w, "\n![%s](%s.svg)\n", title, g.file())
	}
	fmt.Fprintf(w, "\n## Versions\n\n")
	for _, m := range r.modules {
		fmt.Fprintf(w, "- %s\n", m)
	}
}

// duration prints nanoseconds with three figures.
func duration(ns float64) string {
	switch {
	case ns >= 1e6:
		return fmt.Sprintf("%.3g ms", ns/1e6)
	case ns >= 1e3:
		return fmt.Sprintf("%.3g µs", ns/1e3)
	}
	return fmt.Sprintf("%.3g ns", ns)
}

const (
	barHeight = 22
	labels    = 190
	bars      = 420
)

// chart writes horizontal bars. They follow the reader's choice of light or dark.
func (g *group) chart(w io.Writer) {
	most := 0.0
	for _, r := range g.rows {
		most = max(most, r.median())
	}
	title, _ := describe(g.name)
	height := 40 + barHeight*len(g.rows)
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="13" role="img">`+"\n", labels+bars+100, height)
	fmt.Fprintf(w, "<title>%s</title>\n", title)
	fmt.Fprint(w, "<style>text{fill:#1f2328}.ours{fill:#0969da}.other{fill:#8c959f}@media(prefers-color-scheme:dark){text{fill:#e6edf3}.ours{fill:#4493f8}.other{fill:#6e7681}}</style>\n")
	fmt.Fprintf(w, `<text x="8" y="20" font-weight="600">%s</text>`+"\n", title)
	for i, r := range g.rows {
		y, class := 34+i*barHeight, "other"
		if strings.Contains(r.name, "latchkey") || strings.HasPrefix(g.name, "Failover") {
			class = "ours"
		}
		width := max(1, r.median()/most*bars)
		fmt.Fprintf(w, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", labels-8, y+14, r.name)
		fmt.Fprintf(w, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/>`+"\n", class, labels, y, width, barHeight-6)
		fmt.Fprintf(w, `<text x="%.1f" y="%d">%s</text>`+"\n", labels+width+6, y+14, duration(r.median()))
	}
	fmt.Fprint(w, "</svg>\n")
}
