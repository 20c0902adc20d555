package redact

import (
	"strings"
	"testing"
)

// workOf returns how many bytes were looked at for each byte of text.
func workOf(text, secret string, cut bool) int {
	d := newDetector(text, secret, cut)
	bound := d.work
	d.visit([]byte(text), maxDepth)
	return (bound - d.work) / (len(text) + len(secret))
}

func TestUsualTextsTakeLittleWork(t *testing.T) {
	prose := "The request was malformed: messages[0].content should be a string, and was 7 (see https://platform.openai.com/docs?x=1&y=%20z). "
	for name, text := range map[string]string{
		"prose": strings.Repeat(prose, 400), "letters": strings.Repeat("abcdefghijklmnopqrstuvwxyz", 2000), "hexadecimal": strings.Repeat("0123456789abcdef", 4000),
		"base64": strings.Repeat("VGhlIHJlcXVlc3Qgd2FzIG1hbGZvcm1lZA", 1500), "escapes": strings.Repeat(`\u00e9\n%20&#39;`, 4000), "numbers": strings.Repeat("115, 107, ", 6000),
	} {
		if n := workOf(text, "CANARY0123456789abcdef0123456789", false); n > workPerByte/4 {
			t.Errorf("%s: every byte is looked at %d times", name, n)
		}
	}
}

// Where the bound is passed, the search ends there, and the text is not shown.
func TestTheSearchEndsAtItsBound(t *testing.T) {
	for name, tc := range map[string]struct{ text, secret string }{
		"rows that decode":           {strings.Repeat("4e544d32596a4a6b", 4000), "CANARY0123456789abcdef0123456789"},
		"a secret that repeats":      {strings.Repeat("a", 64<<10), strings.Repeat("a", 1000) + "b"},
		"base64 of what repeats":     {strings.Repeat("YWFh", 16<<10), strings.Repeat("a", 1000) + "b"},
		"escapes of what repeats":    {strings.Repeat("%61", 16<<10), strings.Repeat("a", 1000) + "b"},
		"escapes in many more rooms": {strings.Repeat(`\u005cu0061`, 8<<10), strings.Repeat("a", 1000) + "b"},
	} {
		d := newDetector(tc.text, tc.secret, false)
		d.work = 1000
		if !d.visit([]byte(tc.text), maxDepth) {
			t.Errorf("%s: the text is shown", name)
		}
		if beyond := -d.work; beyond > 4*len(tc.text) {
			t.Errorf("%s: %d steps beyond the bound for %d bytes", name, beyond, len(tc.text))
		}
	}
}

// Whatever a peer writes, the work is linear, and what could not be looked at
// is not shown.
func FuzzWork(f *testing.F) {
	f.Add(strings.Repeat("sk-CANARY-", 50), "sk-CANARY-sk-CANARY-sk-CANARZ", true)
	f.Add(strings.Repeat("aaaaaaaa", 100), strings.Repeat("a", 60)+"b", false)
	f.Add(strings.Repeat("%2525", 100), "CANARY%2525%2525", false)
	f.Add(strings.Repeat("NTM2YjJk", 100), "CANARY-0123", true)
	f.Fuzz(func(t *testing.T, text, secret string, cut bool) {
		if len(secret) < shortSecret || len(secret) > 1<<10 || len(text) > 1<<12 || strings.ContainsFunc(secret, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return
		}
		text = strings.Repeat(text, 1+(1<<12)/(len(text)+1))
		d := newDetector(text, secret, cut)
		bound := d.work
		found := d.visit([]byte(text), maxDepth)
		// A step looks at no more than one decoded text beyond the bound.
		if done := bound - d.work; done > bound+8*len(text) {
			t.Errorf("%d steps for %d bytes", done, len(text))
		}
		if d.work < 0 && !found {
			t.Error("the work was not done, and the text is shown")
		}
	})
}
