package interop_test

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"log"
	"log/slog"
	"reflect"
	"runtime/debug"
	"strings"
	"sync"
	texttemplate "text/template"

	"github.com/davecgh/go-spew/spew"
	"github.com/google/go-cmp/cmp"
)

// needles are the canary as each sink might write it. A key repeats the word so
// often that one of them is whole in each row of a hex dump.
var needles = sync.OnceValues(func() (fold, exact []string) {
	hexed := hex.EncodeToString([]byte(canary))
	fold = []string{strings.ToLower(canary), hexed}
	for _, format := range []string{"% x", "% #x", "%d", "%U"} {
		text := strings.Trim(fmt.Sprintf(format, []byte(canary)), "[]")
		fold = append(fold, strings.ToLower(text))
		for _, sep := range []string{", ", ","} {
			fold = append(fold, strings.ToLower(strings.ReplaceAll(text, " ", sep)))
		}
	}
	for shift := range 3 {
		text := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + canary + "xx"))
		exact = append(exact, text[(shift*8+5)/6:(shift+len(canary))*8/6])
	}
	return fold, exact
})

// showsKey reports whether out has the key in any form that a sink may give it.
func showsKey(out string) bool {
	fold, exact := needles()
	lower := strings.ToLower(out)
	for _, n := range fold {
		if strings.Contains(lower, n) {
			return true
		}
	}
	for _, n := range exact {
		if strings.Contains(out, n) {
			return true
		}
	}
	return false
}

// maxOutput bounds what one sink may write of one value: more means that it has
// walked into net/http.
const maxOutput = 4 << 20

var errTooMuch = errors.New("more output than a value of this library can have")

// A capped writer panics where spew would go on for gigabytes.
type capped struct{ bytes.Buffer }

func (w *capped) Write(p []byte) (int, error) {
	if w.Len()+len(p) > maxOutput {
		panic(errTooMuch)
	}
	return w.Buffer.Write(p)
}

// A probe is a live value, the same of another client, and the zero value.
type probe struct{ live, other, zero any }

// A sink is a way for a value to get into a log.
type sink struct {
	name  string
	write func(w *capped, p probe)
}

// all lets go-cmp look at unexported fields of every type.
var all = cmp.Exporter(func(reflect.Type) bool { return true })

var bareSpew = &spew.ConfigState{Indent: " ", DisableMethods: true, DisablePointerMethods: true}

func sinks() []sink {
	var out []sink
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%+s", "%q", "%#q", "%x", "%X", "% x", "%#x", "%d", "%t", "%g", "%U", "%c", "%T", "%p", "%08v"} {
		out = append(out, sink{"fmt " + verb, func(w *capped, p probe) { _, _ = fmt.Fprintf(w, verb, p.live) }})
	}
	out = append(out, printSinks()...)
	out = append(out, encodingSinks()...)
	return append(out, reflectionSinks()...)
}

func printSinks() []sink {
	return []sink{
		{"fmt.Sprint", func(w *capped, p probe) { _, _ = fmt.Fprint(w, p.live) }},
		{"fmt.Sprintln", func(w *capped, p probe) { _, _ = fmt.Fprintln(w, p.live, p.live) }},
		{"log.Print", func(w *capped, p probe) { log.New(w, "", log.LstdFlags).Print(p.live) }},
		{"slog text", func(w *capped, p probe) { slog.New(slog.NewTextHandler(w, nil)).Info("m", "a", p.live) }},
		{"slog JSON", func(w *capped, p probe) { slog.New(slog.NewJSONHandler(w, nil)).Info("m", "a", p.live) }},
		{"slog group", func(w *capped, p probe) {
			slog.New(slog.NewJSONHandler(w, nil)).With("with", p.live).WithGroup("g").Info("m", slog.Group("h", "a", p.live))
		}},
		{"fmt.Errorf %w", func(w *capped, p probe) {
			err, ok := p.live.(error)
			if !ok {
				err = fmt.Errorf("it holds %v", p.live)
			}
			_, _ = fmt.Fprintf(w, "%v\n%+v\n%#v", fmt.Errorf("call: %w", err), errors.Join(err, err), fmt.Errorf("call: %w", err))
		}},
		{"panic", func(w *capped, p probe) {
			defer func() { _, _ = fmt.Fprintf(w, "panic: %v\n%+v\n%s", recover(), p.live, debug.Stack()) }()
			panic(p.live)
		}},
	}
}

var (
	textPage = texttemplate.Must(texttemplate.New("").Parse(`{{.}} {{printf "%+v" .}} {{printf "%#v" .}} {{print .}}`))
	htmlPage = htmltemplate.Must(htmltemplate.New("").Parse(`<p title="{{.}}">{{.}}</p>`))
	jsPage   = htmltemplate.Must(htmltemplate.New("").Parse(`<script>x = {{.}}</script>`))
)

func encodingSinks() []sink {
	return []sink{
		{"encoding/json", func(w *capped, p probe) { report(w, json.NewEncoder(w).Encode(p.live)) }},
		{"encoding/xml", func(w *capped, p probe) { report(w, xml.NewEncoder(w).Encode(p.live)) }},
		{"encoding/gob", func(w *capped, p probe) { report(w, gob.NewEncoder(w).Encode(p.live)) }},
		{"text/template", func(w *capped, p probe) { report(w, textPage.Execute(w, p.live)) }},
		{"html/template", func(w *capped, p probe) { report(w, htmlPage.Execute(w, p.live)) }},
		{"html/template script", func(w *capped, p probe) { report(w, jsPage.Execute(w, p.live)) }},
	}
}

// report writes the error as well: it may quote the value.
func report(w *capped, err error) {
	if err != nil {
		_, _ = fmt.Fprintf(w, "%v %+v", err, err)
	}
}

func reflectionSinks() []sink {
	return []sink{
		{"cmp.Diff from zero", func(w *capped, p probe) { _, _ = w.WriteString(cmp.Diff(p.zero, p.live, all)) }},
		{"cmp.Diff from another", func(w *capped, p probe) { _, _ = w.WriteString(cmp.Diff(p.other, p.live, all)) }},
		{"spew.Dump", func(w *capped, p probe) { spew.Fdump(w, p.live) }},
		{"spew.Dump without methods", func(w *capped, p probe) { bareSpew.Fdump(w, p.live) }},
		{"spew %+v", func(w *capped, p probe) { _, _ = spew.Fprintf(w, "%+v", p.live) }},
		{"spew %+v without methods", func(w *capped, p probe) { _, _ = bareSpew.Fprintf(w, "%+v", p.live) }},
		{"spew %#+v without methods", func(w *capped, p probe) { _, _ = bareSpew.Fprintf(w, "%#+v", p.live) }},
	}
}
