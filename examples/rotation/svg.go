package main

import (
	"bytes"
	"fmt"
	"time"
)

// svg draws the reads per second, over the minutes.
func (c *curve) svg() []byte {
	const width, height, left, bottom, top = 900, 360, 70, 40, 50
	var b bytes.Buffer
	high := float64(max(1, c.peak())) * 1.1
	x := func(second int) float64 { return left + float64(second)/c.end.Seconds()*(width-left-20) }
	y := func(reads float64) float64 { return height - bottom - reads/high*(height-bottom-top) }
	line := func(x1, y1, x2, y2 float64, style string) {
		_, _ = fmt.Fprintf(&b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" %s/>`+"\n", x1, y1, x2, y2, style)
	}
	text := func(x, y float64, anchor, s string) {
		_, _ = fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`+"\n", x, y, anchor, s)
	}
	_, _ = fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	_, _ = fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, height)
	text(left, 20, "start", fmt.Sprintf("Reads of the store per second: %d processes that start together, TTL %v, overlap %v", len(c.fleet), c.ttl, c.overlap))
	text(left, 36, "start", fmt.Sprintf("The first second, with %d reads, is left out. %d calls, %d failed.", c.reads[0], c.calls, c.failed))
	line(left, height-bottom, width-20, height-bottom, `stroke="black"`)
	line(left, top, left, height-bottom, `stroke="black"`)
	for minute := 0; minute <= int(c.end/time.Minute); minute += 5 {
		text(x(minute*60), height-bottom+16, "middle", fmt.Sprint(minute))
	}
	text(width-20, height-8, "end", "minutes")
	for _, part := range []float64{0, 0.5, 1} {
		reads := part * float64(c.peak())
		text(left-6, y(reads)+4, "end", fmt.Sprintf("%.1f", reads))
	}
	at := x(int(c.promoted / time.Second))
	line(at, top, at, height-bottom, `stroke="#b00" stroke-dasharray="4"`)
	text(at+4, top+12, "start", "new key")
	mean := y(c.mean())
	line(left, mean, width-20, mean, `stroke="#070" stroke-dasharray="4"`)
	text(width-20, mean-4, "end", fmt.Sprintf("mean %.2f", c.mean()))
	b.WriteString(`<polyline fill="none" stroke="#036" points="`)
	for second, reads := range c.reads[1:] {
		_, _ = fmt.Fprintf(&b, "%.1f,%.1f ", x(second+1), y(float64(reads)))
	}
	b.WriteString("\"/>\n</svg>\n")
	return b.Bytes()
}
