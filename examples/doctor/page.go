package main

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/latchkey-go/latchkey/credential/auto"
)

const (
	red    = "31"
	green  = "32"
	yellow = "33"
	faint  = "2"
)

// A page is the output for people.
type page struct {
	out   io.Writer
	color bool
	width int // in columns; 0 is any
}

func (p *page) paint(color, text string) string {
	if !p.color || color == "" {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

func (p *page) print(d *diagnosis) {
	p.table(d.Report.Attempts)
	r := d.Report
	if r.Winner != "" || d.Endpoint != "" {
		p.line()
	}
	if r.Winner != "" {
		p.fact("credential", r.Winner+", "+article(r.Scheme))
		p.fact("version", or(r.Version, "none"))
		p.fact("expires", moment(r.Expires, "never"))
		p.fact("refresh", moment(r.NextRefresh, "never, but on a rejection"))
	}
	if d.Endpoint != "" {
		p.fact("endpoint", d.Endpoint)
	}
	if d.Call != nil {
		p.calls(d.Call)
	}
	if d.Quota != nil {
		p.quota(d.Quota)
	}
	p.line()
	p.verdict(d)
}

// verdict is the last line, and the one thing to do if no line above has it.
func (p *page) verdict(d *diagnosis) {
	switch {
	case !d.OK:
		problem, more, _ := strings.Cut(d.Problem, "\n")
		if more != "" {
			problem += ` each "do" above is a way out`
		}
		verb := "A call would fail:"
		if d.Call != nil {
			verb = "A call fails:"
		}
		p.text(red, verb, problem)
		p.note("  do   ", d.Do)
	case d.Call != nil:
		p.text(green, "A call works.", "")
	default:
		p.text(green, "A call would work", ", as far as can be told without one; -call makes one.")
	}
}

// text prints a line that begins with words in color.
func (p *page) text(color, words, rest string) {
	all := words + rest
	if strings.HasSuffix(words, ":") {
		all = words + " " + rest
	}
	all = wrap(all, p.width, 0)
	p.line(p.paint(color, words) + strings.TrimPrefix(all, words))
}

const (
	narrowest  = 40
	gap        = 2
	widestName = 40
	resultCol  = len("unavailable")
	tookCol    = len("12345.6 ms")
)

// A layout is where the columns of the table end. Where the page is too narrow
// for five of them, the last two are below each row.
type layout struct {
	source, looked int
	narrow         bool
}

func (p *page) layout(rows []auto.Attempt) layout {
	l := layout{source: len("source"), looked: len("looked for")}
	found := len("found")
	for _, a := range rows {
		l.source, l.looked = max(l.source, utf8.RuneCountInString(a.Source)), max(l.looked, utf8.RuneCountInString(a.LookedFor))
		found = max(found, longest(a.Found))
	}
	l.narrow = p.width > 0 && l.found()+found > p.width
	if l.narrow { // a longer name has a line of its own
		most := min(widestName, p.width-2*gap-resultCol-tookCol)
		l.source = len("source")
		for _, a := range rows {
			if n := utf8.RuneCountInString(a.Source); n <= most {
				l.source = max(l.source, n)
			}
		}
	}
	return l
}

// found is where the last column begins.
func (l layout) found() int { return l.source + resultCol + tookCol + l.looked + 4*gap }

func (p *page) table(rows []auto.Attempt) {
	l := p.layout(rows)
	p.row(l, faint, auto.Attempt{Source: "source", Result: "result", LookedFor: "looked for", Found: "found"}, "took")
	for i, a := range rows {
		color := map[string]string{"used": green, "failed": red, "unavailable": yellow}[a.Result]
		took := "-"
		if a.Result == "used" || a.Took > 0 {
			took = millis(a.Took)
		}
		p.row(l, color, a, took)
		if l.narrow {
			p.note("  for  ", a.LookedFor+": "+a.Found)
		}
		if last := i+1 == len(rows); last || a.Do != "" || rows[i+1].Why != a.Why { // else it is for the next one as well
			p.note("  why  ", a.Why)
		}
		p.note("  do   ", a.Do)
	}
}

func (p *page) row(l layout, color string, a auto.Attempt, took string) {
	if utf8.RuneCountInString(a.Source) > l.source { // it has a line of its own
		p.line(p.paint(color, a.Source))
		a.Source = ""
	}
	text := fmt.Sprintf("%-*s  %-*s  %*s", l.source, a.Source, resultCol, a.Result, tookCol, took)
	if !l.narrow {
		text += fmt.Sprintf("  %-*s  ", l.looked, a.LookedFor) + wrap(a.Found, p.width, l.found())
	}
	p.line(p.paint(color, strings.TrimRight(text, " ")))
}

// note prints a text under a row, its further lines below the first.
func (p *page) note(mark, text string) {
	if text == "" {
		return
	}
	p.line(p.paint(faint, mark) + wrap(strings.ReplaceAll(text, "\t", ""), p.width, len(mark)))
}

func (p *page) calls(c *call) {
	sends := "1 send"
	if c.Sends != 1 {
		sends = fmt.Sprintf("%d sends", c.Sends)
	}
	status := "no answer"
	if c.Status != 0 {
		status = fmt.Sprint(c.Status)
	}
	p.line()
	p.line(fmt.Sprintf("GET models: %s, %s", status, sends))
	if c.Refused != "" {
		p.line("  refused     ", p.paint(red, c.Refused))
	}
	for _, s := range c.Steps {
		took := "-"
		if s.Happened {
			took = millis(s.Took)
		}
		p.line(strings.TrimRight(fmt.Sprintf("  %-10s  %10s  %s", s.Name, took, s.What), " "))
	}
}

func (p *page) fact(name, text string) {
	const indent = 12
	p.line(fmt.Sprintf("%-*s", indent, name) + wrap(text, p.width, indent))
}

func (p *page) line(text ...string) { fmt.Fprintln(p.out, strings.Join(text, "")) }

func millis(d time.Duration) string { return fmt.Sprintf("%7.1f ms", float64(d)/1e6) }

func moment(t time.Time, zero string) string {
	if t.IsZero() {
		return zero
	}
	return t.UTC().Format(time.RFC3339) + ", in " + time.Until(t).Round(time.Second).String()
}

func or(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

func article(noun string) string {
	if strings.HasPrefix(noun, "a") {
		return "an " + noun
	}
	return "a " + noun
}
