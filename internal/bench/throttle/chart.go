package throttle

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
)

// A Sheet is a scenario and its results.
type Sheet struct {
	Scenario Scenario
	Results  []Result
}

// counted tells whether the sheet is one of those that differ only in the
// number of workers.
func (s Sheet) counted() bool { return strings.HasPrefix(s.Scenario.Name, "workers") }

// errNoChart is for a run of other scenarios.
var errNoChart = errors.New("throttle: a chart needs a scenario workers..., or drop")

// WriteChart draws the failed calls and the sends per call over the number of
// workers, and what arrived each second while the limit dropped, as an SVG that
// follows the reader's light or dark scheme. Both halves are optional, but not
// both together.
func WriteChart(w io.Writer, sheets []Sheet) error {
	var counts, drops []Sheet
	for _, s := range sheets {
		if _, _, dropped := s.Scenario.dropped(); dropped {
			drops = append(drops, s)
		} else if s.counted() {
			counts = append(counts, s)
		}
	}
	if len(counts)+len(drops) == 0 {
		return errNoChart
	}
	c := &canvas{}
	y := c.legend(append(slices.Clone(counts), drops...)[0].Results)
	if len(counts) > 0 {
		y = c.bars(y, counts)
	}
	for _, s := range drops {
		y = c.strips(y, s)
	}
	if _, err := io.WriteString(w, c.document(y)); err != nil {
		return fmt.Errorf("throttle: %w", err)
	}
	return nil
}

const (
	chartWidth = 880.0
	margin     = 24.0
	// colors is how many clients can be told apart.
	colors = 5
	style  = `
  text { font: 12px -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
  .head { font-size: 14px; font-weight: 600 } .small { font-size: 11px; fill: #59636e } .value { font-size: 10px; fill: #59636e }
  .paper { fill: #ffffff } .grid { stroke: #d1d9e0; stroke-width: 1 } .limit { stroke: #1f2328; stroke-width: 1.5; fill: none }
  .refused { fill: #cf222e; fill-opacity: .35 }
  .c0 { fill: #0969da } .c1 { fill: #bc4c00 } .c2 { fill: #8250df } .c3 { fill: #1a7f37 } .c4 { fill: #6e7781 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc } .small, .value { fill: #9198a1 } .paper { fill: #0d1117 } .grid { stroke: #3d444d } .limit { stroke: #f0f6fc }
    .refused { fill: #ff7b72; fill-opacity: .45 }
    .c0 { fill: #4493f8 } .c1 { fill: #f0883e } .c2 { fill: #ab7df8 } .c3 { fill: #3fb950 } .c4 { fill: #8b949e }
  }
`
)

// A canvas collects the elements of an SVG.
type canvas struct{ b strings.Builder }

func (c *canvas) document(height float64) string {
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" role="img">
<title>Clients under a rate limit: failed calls, sends per call, and what arrives while the limit drops</title>
<style>%s</style>
<rect class="paper" width="100%%" height="100%%"/>
%s</svg>
`, chartWidth, height, chartWidth, height, style, c.b.String())
}

func (c *canvas) text(x, y float64, class, anchor, s string) {
	fmt.Fprintf(&c.b, `<text class="%s" x="%.1f" y="%.1f" text-anchor="%s">`, class, x, y, anchor)
	_ = xml.EscapeText(&c.b, []byte(s)) // a strings.Builder does not fail
	c.b.WriteString("</text>\n")
}

func (c *canvas) rect(x, y, width, height float64, class string) {
	fmt.Fprintf(&c.b, `<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`+"\n", class, x, y, width, height)
}

func (c *canvas) line(x1, y1, x2, y2 float64, class string) {
	fmt.Fprintf(&c.b, `<path class="%s" d="M%.1f %.1fL%.1f %.1f"/>`+"\n", class, x1, y1, x2, y2)
}

func color(i int) string { return fmt.Sprintf("c%d", i%colors) }

func (c *canvas) legend(results []Result) float64 {
	x := margin
	for i, r := range results {
		c.rect(x, margin, 11, 11, color(i))
		c.text(x+16, margin+10, "name", "start", r.Client)
		x += 16 + 7*float64(len(r.Client)) + 24
	}
	c.line(x, margin+6, x+16, margin+6, "limit")
	c.text(x+22, margin+10, "name", "start", "the limit allows")
	return margin + 44
}

// bars draws two panels, one above the other.
func (c *canvas) bars(y float64, sheets []Sheet) float64 {
	failed := panel{"Calls that failed, in %", y, func(r Result) float64 { return 100 * ratio(float64(r.Failed), float64(r.Calls)) }}
	return c.panel(panel{"Sends per call", c.panel(failed, sheets), Result.SendsPerCall}, sheets)
}

type panel struct {
	title string
	y     float64
	value func(Result) float64
}

const (
	panelHeight = 120.0
	panelLeft   = margin + 26
	inset       = 12.0 // of the bars in their group
	panelWidth  = chartWidth - 2*margin - 26
)

func (c *canvas) panel(p panel, sheets []Sheet) float64 {
	most := 0.0
	for _, s := range sheets {
		for _, r := range s.Results {
			most = max(most, p.value(r))
		}
	}
	step := tick(most)
	top := max(math.Ceil(most/step)*step, step)
	base := p.y + 24 + panelHeight
	height := func(v float64) float64 { return v / top * panelHeight }
	c.text(margin, p.y+4, "head", "start", p.title)
	for v := 0.0; v <= top+step/2; v += step {
		c.line(panelLeft, base-height(v), panelLeft+panelWidth, base-height(v), "grid")
		c.text(panelLeft-6, base-height(v)+4, "small", "end", fmt.Sprintf("%g", v))
	}
	group := panelWidth / float64(len(sheets))
	for i, s := range sheets {
		x := panelLeft + float64(i)*group
		bar := (group - 2*inset) / float64(len(s.Results))
		for j, r := range s.Results {
			v := p.value(r)
			c.rect(x+inset+float64(j)*bar, base-height(v), bar-1, max(height(v), 1), color(j))
			c.text(x+inset+(float64(j)+0.5)*bar, base-height(v)-3, "value", "middle", brief(v))
		}
		limit := height(p.value(Ideal(s.Scenario)))
		c.line(x+inset-4, base-limit, x+group-inset+4, base-limit, "limit")
		c.text(x+group/2, base+16, "small", "middle", fmt.Sprintf("%s workers", strings.TrimPrefix(s.Scenario.Name, "workers")))
	}
	c.text(panelLeft, base+32, "small", "start", sheets[0].Scenario.What)
	return base + 64
}

// tick returns a round step for an axis that ends at most.
func tick(most float64) float64 {
	if most <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(most)))
	switch n := most / unit; {
	case n <= 2:
		return unit / 2
	case n <= 5:
		return unit
	}
	return 2 * unit
}

func brief(v float64) string {
	if v >= 10 || v == math.Trunc(v) {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.1f", v)
}

const stripHeight = 64.0

// strips draws one row for each client: what was accepted and refused in each
// second, below the limit.
func (c *canvas) strips(y float64, s Sheet) float64 {
	c.text(margin, y+4, "head", "start", "Requests in each second, accepted (colored) and refused (red)")
	c.text(margin, y+20, "small", "start", s.Scenario.What)
	y += 32
	last, most := time.Duration(0), 0
	for _, r := range s.Results {
		last = max(last, r.Time)
		for _, n := range r.PerSecond {
			most = max(most, n.Accepted+n.Refused)
		}
	}
	step := tick(float64(most))
	top := math.Ceil(float64(most)/step) * step
	columns := math.Ceil(last.Seconds())
	for i, r := range s.Results {
		c.strip(strip{margin + 120, y, chartWidth - 2*margin - 120 - 150, top, columns}, s.Scenario, r, color(i))
		y += stripHeight + 20
	}
	for at := 0.0; at <= columns; at += 5 {
		c.text(margin+120+at/columns*(chartWidth-2*margin-270), y+2, "small", "middle", fmt.Sprintf("%g s", at))
	}
	return y + 26
}

type strip struct{ x, y, width, top, columns float64 }

func (c *canvas) strip(p strip, s Scenario, r Result, class string) {
	base := p.y + stripHeight
	height := func(v float64) float64 { return v / p.top * stripHeight }
	column := p.width / p.columns
	c.text(margin, base-stripHeight/2+4, "name", "start", r.Client)
	c.line(p.x, base, p.x+p.width, base, "grid")
	c.line(p.x, p.y, p.x+p.width, p.y, "grid")
	c.text(p.x-6, base+4, "small", "end", "0")
	c.text(p.x-6, p.y+4, "small", "end", fmt.Sprintf("%g", p.top))
	for i, n := range r.PerSecond {
		x, ok, no := p.x+float64(i)*column, height(float64(n.Accepted)), height(float64(n.Refused))
		c.rect(x+0.5, base-ok, column-1, ok, class)
		c.rect(x+0.5, base-ok-no, column-1, no, "refused")
	}
	var path strings.Builder
	for i, n := range Ideal(s).PerSecond {
		if float64(i) < p.columns && time.Duration(i)*time.Second < s.For {
			fmt.Fprintf(&path, "%c%.1f %.1fh%.1f", "ML"[min(i, 1)], p.x+float64(i)*column, base-height(float64(n.Accepted)), column)
		}
	}
	fmt.Fprintf(&c.b, `<path class="limit" d="%s"/>`+"\n", path.String())
	x := p.x + p.width + 12
	c.text(x, p.y+14, "small", "start", fmt.Sprintf("%d ok, %d failed", r.OK, r.Failed))
	c.text(x, p.y+30, "small", "start", fmt.Sprintf("%.2f sends per call", r.SendsPerCall()))
	c.text(x, p.y+46, "small", "start", fmt.Sprintf("p50 %.1f s, p99 %.1f s", r.P50.Seconds(), r.P99.Seconds()))
	c.text(x, p.y+62, "small", "start", percent(s.Share(r))+" of the limit used")
}
