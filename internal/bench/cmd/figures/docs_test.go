package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A figure is where a number stands on the page: the part, the heading of the table in
// it, the row and the column.
type figure struct {
	t    *testing.T
	page string
}

func (f figure) cell(part, heading, row, col string) string {
	f.t.Helper()
	_, text, _ := strings.Cut(f.page, "<!-- part "+part+" -->\n")
	text, _, _ = strings.Cut(text, "<!-- end -->")
	if heading != "" {
		_, text, _ = strings.Cut(text, "\n### "+heading+"\n")
	}
	at := -1
	for l := range strings.Lines(text) {
		if strings.HasPrefix(l, "### ") {
			break
		}
		cells := trimmed(strings.Split(strings.Trim(strings.TrimSpace(l), "|"), " | "))
		if at < 0 {
			at = slices.Index(cells, col)
		} else if cells[0] == row && at < len(cells) {
			return cells[at]
		}
	}
	f.t.Fatalf("the page has no %s of %s in %s, %s", col, row, part, heading)
	return ""
}

func (f figure) number(part, heading, row, col string) float64 {
	f.t.Helper()
	v, err := strconv.ParseFloat(f.cell(part, heading, row, col), 64)
	if err != nil {
		f.t.Fatal(err)
	}
	return v
}

func costs(f figure) []string {
	read := func(row string) string { return f.cell("read", "One goroutine", row, "of the first") }
	layers := func(row string) float64 {
		return f.number("layers", "One round trip", row, "allocations") - f.number("layers", "One round trip", "none", "allocations")
	}
	entra := func(row, alone string) float64 {
		const heading = "A token of Entra, beside azcore"
		return f.number("layers", heading, row, "allocations") - f.number("layers", heading, alone, "allocations")
	}
	retry := func(row string) float64 {
		return (f.number("retry", "From memory", row, "B") - f.number("retry", "From memory", "nethttp", "B")) / 1e3
	}
	conns := func(row string) string { return f.cell("retry", "Over loopback", row, "new connections") }
	stream := func(row string) string { return f.cell("stream", "", row, "of the first") }
	size := func(row string) float64 { return f.number("sizes", "", row, "MB") }
	cold := func(row, col string) string { return f.cell("coldstart", "", row, col) }
	failed, reads := 0.0, 0.0
	var theirs []string
	for _, mode := range []string{"abrupt", "overlap", "lag", "early"} {
		failed += f.number("storm", mode, "latchkey", "failed") + f.number("storm", mode, "openai-go+latchkey", "failed")
		reads = max(reads, f.number("storm", mode, "latchkey", "reads after"), f.number("storm", mode, "openai-go+latchkey", "reads after"))
		theirs = append(theirs, f.cell("storm", mode, "openai-go workload", "failed"))
	}
	return []string{
		fmt.Sprintf("%sx; %s | %sx (aws-sdk-go-v2), %sx (aws-secretsmanager-caching-go), %sx (openai-go's token); 0",
			read("latchkey"), f.cell("read", "One goroutine", "latchkey", "allocations"), read("aws"), read("aws-secrets"), read("openai-go")),
		fmt.Sprintf("%.0f; with the log %.0f | %.0f; with a log %.0f (x/oauth2, go-retryablehttp, slog)",
			layers("latchkey"), layers("latchkey+log"), layers("peers"), layers("peers+log")),
		fmt.Sprintf("%.0f | %.0f (bearer policy of azcore), over %.0f of its pipeline",
			entra("latchkey", "none"), entra("azcore+bearer", "azcore"), entra("azcore", "none")),
		fmt.Sprintf("%.0f KB; %s | %.0f KB (go-retryablehttp), %s connection (openai-go)",
			retry("latchkey"), conns("latchkey"), retry("retryablehttp"), conns("openai-go")),
		fmt.Sprintf("%sx | %sx (go-openai), %sx (openai-go)", stream("latchkey"), stream("go-openai"), stream("openai-go")),
		fmt.Sprintf("%.1f MB | %.1f MB (go-openai), %.1f MB (openai-go)", size("post"), size("goopenai"), size("openaigo")),
		fmt.Sprintf("%.0f; %.0f | %s (openai-go's workload identity)", failed, reads, strings.Join(theirs, ", ")),
		fmt.Sprintf("%s, with the extension %s; %sx, %sx | %s; 1x (the obvious code)", cold("post", "round trips in a row"),
			cold("extension", "round trips in a row"), cold("post", "of the obvious"), cold("extension", "of the obvious"), cold("obvious", "round trips in a row")),
	}
}

// What other documents quote of the page is what stands there.
func TestTheDocumentsQuoteThePage(t *testing.T) {
	f := figure{t, read(t, filepath.FromSlash("../../../../docs/figures/README.md"))}
	text := read(t, filepath.FromSlash("../../../../docs/costs.md"))
	for _, want := range costs(f) {
		if !strings.Contains(text, "| "+want+" |") {
			t.Errorf("docs/costs.md does not say %q", want)
		}
	}
	text = read(t, filepath.FromSlash("../../../../docs/telemetry.md"))
	for said, heading := range map[string]string{
		"nothing (no-op providers)": "Providers that record nothing", "metrics": "Metrics",
		"metrics, and a span that is not sampled": "Metrics, and spans that are not sampled", "metrics and a span": "Metrics and spans",
	} {
		added := func(row, to string) float64 {
			return f.number("telemetry", heading, row, "allocations") - f.number("telemetry", heading, to, "allocations")
		}
		if want := fmt.Sprintf("| %s | %.0f | %.0f |", said, added("otelhttp", "none"), added("latchkey+telemetry", "latchkey")); !strings.Contains(text, want) {
			t.Errorf("docs/telemetry.md does not say %q", want)
		}
	}
}
