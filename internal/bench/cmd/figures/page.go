package main

import (
	"fmt"
	"regexp"
	"strings"
)

// what says what the groups of a benchmark are about, by the beginning of their names.
// A group without a title has that of its part alone.
var what = []struct{ prefix, title, about string }{
	{"CachedRead/mode=seq", "One goroutine", ""},
	{"CachedRead/mode=par", "All cores", ""},
	{"Stack/call=roundtrip", "One round trip", "`none` is the transport alone; `peers` are x/oauth2 below go-retryablehttp."},
	{"Stack/call=openai-go", "A chat completion of openai-go", ""},
	{"Bearer", "A token of Entra, beside azcore", "`latchkey` is to be compared with `none`, and the bearer token policy of azcore in its pipeline, `azcore+bearer`, with the pipeline without it, `azcore`."},
	{"401/call=roundtrip", "One round trip", "`handmade` is a mutex, a string and a loop."},
	{"401/call=openai-go", "A chat completion of openai-go", "`workload` is its own workload identity, whose exchange of a token is the store."},
	{"429/net=mem/answer=200", "Answered at once, for comparison", ""},
	{"429/net=mem/answer=429-100KB", "The 429 has 100 KB as well", ""},
	{"429/net=mem", "From memory", ""},
	{"429/net=loop", "Over loopback", "net/http takes 32 KB for each send of such a body."},
	{"Telemetry/recorded=nothing", "Providers that record nothing", ""},
	{"Telemetry/recorded=metrics,unsampled", "Metrics, and spans that are not sampled", ""},
	{"Telemetry/recorded=metrics", "Metrics", ""},
	{"Telemetry/recorded=all", "Metrics and spans", ""},
}

func describe(name string) (title, about string) {
	for _, w := range what {
		if strings.HasPrefix(name, w.prefix) {
			return w.title, w.about
		}
	}
	return "", ""
}

// file is the name of the group's picture.
func (g *group) file() string {
	return strings.ToLower(strings.NewReplacer("/", "-", "=", "-", ",", "-", ".", "-").Replace(g.name))
}

// write appends the table of the group, and puts its chart beside the others. Where
// sends are counted, they are what is compared, and no time.
func (g *group) write(b *strings.Builder, part string, charts map[string]string) {
	title, about := describe(g.name)
	drawn := chart{title: part, unit: "ns"}
	if title != "" {
		fmt.Fprintf(b, "\n### %s\n", title)
		drawn.title += ": " + title
	}
	if about != "" {
		fmt.Fprintf(b, "\n%s\n", about)
	}
	if counts := len(g.rows[0].values["sends/op"]) > 0; counts {
		drawn.unit = "B"
		b.WriteString("\n| | B | allocations | sends | new connections |\n|---|--:|--:|--:|--:|\n")
		for _, r := range g.rows {
			fmt.Fprintf(b, "| %s | %.0f | %.0f | %.2g | %.2g |\n", r.name, r.median("B/op"), r.median("allocs/op"), r.median("sends/op"), r.median("conns/op"))
			drawn.bars = append(drawn.bars, bar{r.name, r.median("B/op")})
		}
	} else {
		b.WriteString("\n| | time | of the first | B | allocations |\n|---|--:|--:|--:|--:|\n")
		for _, r := range g.rows {
			ns := r.median("ns/op")
			fmt.Fprintf(b, "| %s | %s | %.2f | %.0f | %.0f |\n", r.name, measured(ns, "ns"), ns/g.rows[0].median("ns/op"), r.median("B/op"), r.median("allocs/op"))
			drawn.bars = append(drawn.bars, bar{r.name, ns})
		}
	}
	charts[g.file()+".svg"] = drawn.svg()
	fmt.Fprintf(b, "\n%s", picture(drawn.title, g.file()))
}

func picture(title, file string) string { return fmt.Sprintf("![%s](%s.svg)\n", title, file) }

const introduction = `# Figures

latchkey beside other libraries, written by ` + "`go run ./cmd/figures`" + ` in [internal/bench](../../internal/bench/README.md), which says what
is measured. The clients of a table were measured side by side in one run; of repeated runs the table has the medians. Numbers of bytes,
allocations, sends, reads and round trips do not depend on the machine; times do: look at the ratios.
`

const listing = `
## When, where and with what

` + "`go run ./cmd/figures -only NAME` makes one part again, under the name that it has here." + `

`

var (
	kept  = regexp.MustCompile(`(?s)<!-- part (\S+) -->\n(.*?)<!-- end -->\n`)
	dated = regexp.MustCompile(`(?m)^- ([\w, ]+): (\d{4}-.*)$`)
)

// page puts the sections that were made into the page that there is. Each stands
// between two comments, and the list at the end has the stamps of all.
func page(old string, made map[string]section) string {
	texts, stamps := map[string]string{}, map[string]string{}
	for _, m := range kept.FindAllStringSubmatch(old, -1) {
		texts[m[1]] = m[2]
	}
	for _, m := range dated.FindAllStringSubmatch(old, -1) {
		for name := range strings.SplitSeq(m[1], ", ") {
			stamps[name] = m[2]
		}
	}
	var b strings.Builder
	b.WriteString(introduction)
	var order []string
	parted := map[string][]string{} // names by their stamp
	for _, p := range parts() {
		if s, ok := made[p.name]; ok {
			texts[p.name], stamps[p.name] = fmt.Sprintf("## %s\n\n%s\n", p.title, strings.TrimRight(s.text, "\n")), s.stamp.String()
		}
		if texts[p.name] == "" {
			continue
		}
		fmt.Fprintf(&b, "\n<!-- part %s -->\n%s<!-- end -->\n", p.name, texts[p.name])
		stamp := stamps[p.name]
		if parted[stamp] == nil {
			order = append(order, stamp)
		}
		parted[stamp] = append(parted[stamp], p.name)
	}
	b.WriteString(listing)
	for _, stamp := range order {
		fmt.Fprintf(&b, "- %s: %s\n", strings.Join(parted[stamp], ", "), stamp)
	}
	return b.String()
}
