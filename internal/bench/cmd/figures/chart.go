package main

import (
	"encoding/xml"
	"fmt"
	"strings"
)

// A chart is bars with the same unit; "ns" and "B" have prefixes.
type chart struct {
	title, unit string
	bars        []bar
}

type bar struct {
	name  string
	value float64
}

const (
	barHeight = 22
	labels    = 240
	bars      = 420
)

// svg draws horizontal bars. They follow the reader's choice of light or dark.
func (c chart) svg() string {
	var b strings.Builder
	most := 0.0
	for _, r := range c.bars {
		most = max(most, r.value)
	}
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="13" role="img">`+"\n",
		labels+bars+130, 40+barHeight*len(c.bars))
	fmt.Fprintf(&b, "<title>%s</title>\n", escaped(c.title))
	b.WriteString("<style>text{fill:#1f2328}.ours{fill:#0969da}.other{fill:#8c959f}@media(prefers-color-scheme:dark){text{fill:#e6edf3}.ours{fill:#4493f8}.other{fill:#6e7681}}</style>\n")
	fmt.Fprintf(&b, `<text x="8" y="20" font-weight="600">%s</text>`+"\n", escaped(c.title))
	for i, r := range c.bars {
		y, class, width := 34+i*barHeight, "other", 1.0
		if ours(r.name) {
			class = "ours"
		}
		if most > 0 {
			width = max(1, r.value/most*bars)
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", labels-8, y+14, escaped(r.name))
		fmt.Fprintf(&b, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/>`+"\n", class, labels, y, width, barHeight-6)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d">%s</text>`+"\n", labels+width+6, y+14, measured(r.value, c.unit))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func escaped(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder does not fail
	return b.String()
}

// ours tells the rows of latchkey: those that name it, and those of benchmarks and
// programs that are all its own. The name may have a heading before it.
func ours(name string) bool {
	switch name[strings.LastIndex(name, " ")+1:] {
	case "one", "three", "three,first-down", "sdk", "post", "stream", "extension":
		return true
	}
	return strings.Contains(name, "latchkey")
}

// measured prints a value with three figures and its unit.
func measured(v float64, unit string) string {
	switch {
	case unit == "ns" && v >= 1e6:
		return fmt.Sprintf("%.3g ms", v/1e6)
	case unit == "ns" && v >= 1e3:
		return fmt.Sprintf("%.3g µs", v/1e3)
	case unit == "B" && v >= 1e3:
		return fmt.Sprintf("%.1f KB", v/1e3)
	case unit == "ns" || unit == "B":
		return fmt.Sprintf("%.3g %s", v, unit)
	}
	return fmt.Sprintf("%g %s", v, unit)
}
