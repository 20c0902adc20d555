package main

import (
	"encoding/xml"
	"fmt"
	"strings"
	"time"
)

const (
	chartWidth = 880.0
	margin     = 24.0
	plotLeft   = margin + 34
	plotTop    = 72.0
	plotHeight = 200.0
	rowHeight  = 22.0
	chartStyle = `
  text { font: 12px -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
  .head { font-size: 14px; font-weight: 600 } .small { font-size: 11px; fill: #59636e } .end { text-anchor: end }
  .paper { fill: #ffffff } .grid { stroke: #d1d9e0; stroke-width: 1 }
  .fault { fill: #cf222e; fill-opacity: .08 } .mark { fill: #cf222e; fill-opacity: .7 } .refused { fill: #cf222e; fill-opacity: .35 }
  .c0 { fill: #0969da } .c1 { fill: #bc4c00 } .c2 { fill: #8250df }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc } .small { fill: #9198a1 } .paper { fill: #0d1117 } .grid { stroke: #3d444d }
    .fault { fill: #ff7b72; fill-opacity: .12 } .mark { fill: #ff7b72; fill-opacity: .8 } .refused { fill: #ff7b72; fill-opacity: .45 }
    .c0 { fill: #4493f8 } .c1 { fill: #f0883e } .c2 { fill: #ab7df8 }
  }
`
)

// A canvas collects the elements of an SVG.
type canvas struct{ b strings.Builder }

func (c *canvas) text(x, y float64, class, s string) {
	fmt.Fprintf(&c.b, `<text class="%s" x="%.1f" y="%.1f">`, class, x, y)
	_ = xml.EscapeText(&c.b, []byte(s)) // a strings.Builder does not fail
	c.b.WriteString("</text>\n")
}

func (c *canvas) rect(x, y, width, height float64, class string) {
	if width > 0 && height > 0 {
		fmt.Fprintf(&c.b, `<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`+"\n", class, x, y, width, height)
	}
}

// chart draws what each endpoint served and refused in each second, and when the
// faults were, as an SVG that follows the reader's light or dark scheme.
func (a *account) chart(faults []fault) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	columns := int(length / time.Second)
	c := &canvas{}
	x := func(t time.Duration) float64 {
		return plotLeft + t.Seconds()/float64(columns)*(chartWidth-margin-plotLeft)
	}
	a.legend(c)
	base, bottom := plotTop+plotHeight, plotTop+plotHeight+24+rowHeight*float64(len(faults))
	for i, f := range faults {
		y := base + 24 + rowHeight*float64(i)
		c.rect(x(f.from), plotTop, x(f.till)-x(f.from), y-plotTop, "fault")
		c.rect(x(f.from), y, x(f.till)-x(f.from), 6, "mark")
		at, class := x(f.till)+8, "small"
		if f.from > length/2 { // there is more room before it
			at, class = x(f.from)-8, "small end"
		}
		c.text(at, y+7, class, a.places[f.place].name+": "+f.what)
	}
	a.columns(c, columns, x)
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" role="img">
<title>What three endpoints served in each second, while faults came and went: %d calls, %d failed</title>
<style>%s</style>
<rect class="paper" width="100%%" height="100%%"/>
%s</svg>
`, chartWidth, bottom+margin/2, chartWidth, bottom+margin/2, a.calls, a.failed, chartStyle, c.b.String())
}

// legend is called with mu held.
func (a *account) legend(c *canvas) {
	c.text(margin, margin+4, "head", fmt.Sprintf("Sends in each second: %d calls, %d failed", a.calls, a.failed))
	x := margin
	for i, p := range a.places {
		c.rect(x, margin+18, 11, 11, fmt.Sprintf("c%d", i))
		name := "served by " + p.name
		c.text(x+16, margin+28, "name", name)
		x += 40 + 7*float64(len(name))
	}
	c.rect(x, margin+18, 11, 11, "refused")
	c.text(x+16, margin+28, "name", "refused, and sent elsewhere")
}

// columns is called with mu held.
func (a *account) columns(c *canvas, n int, x func(time.Duration) float64) {
	most := 1
	for s := range n {
		sum := 0
		for i := range a.places {
			sum += a.at(s, i).served + a.at(s, i).refused
		}
		most = max(most, sum)
	}
	top := float64((most + 19) / 20 * 20)
	base := plotTop + plotHeight
	height := func(v int) float64 { return float64(v) / top * plotHeight }
	for v := 0; float64(v) <= top; v += 20 {
		fmt.Fprintf(&c.b, `<path class="grid" d="M%.1f %.1fH%.1f"/>`+"\n", plotLeft, base-height(v), chartWidth-margin)
		c.text(margin, base-height(v)+4, "small", fmt.Sprint(v))
	}
	for s := range n {
		left, y, refused := x(time.Duration(s)*time.Second)+1, base, 0
		width := x(time.Duration(s+1)*time.Second) - left - 1
		for i := range a.places {
			t := a.at(s, i)
			y -= height(t.served)
			c.rect(left, y, width, height(t.served), fmt.Sprintf("c%d", i))
			refused += t.refused
		}
		c.rect(left, y-height(refused), width, height(refused), "refused")
		if s%3 == 0 {
			c.text(left-1, base+15, "small", fmt.Sprintf("%d s", s))
		}
	}
}
