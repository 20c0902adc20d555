package main

import (
	"strings"
	"unicode/utf8"
)

// wrap breaks text between words, so that no line of it is wider than width,
// and indents all lines but the first. Line breaks in text stay. A word that is
// wider than a line stays whole, so that it can be copied. Width 0 breaks nothing.
func wrap(text string, width, indent int) string {
	margin := "\n" + strings.Repeat(" ", indent)
	var out strings.Builder
	for i, line := range strings.Split(text, "\n") {
		if i > 0 {
			out.WriteString(margin)
		}
		at := 0
		for j, word := range strings.Fields(line) {
			n := utf8.RuneCountInString(word)
			switch {
			case j == 0:
			case width > 0 && at+1+n > width-indent:
				out.WriteString(margin)
				at = 0
			default:
				out.WriteByte(' ')
				at++
			}
			out.WriteString(word)
			at += n
		}
	}
	return out.String()
}

// longest is the width of the longest word in text.
func longest(text string) int {
	most := 0
	for word := range strings.FieldsSeq(text) {
		most = max(most, utf8.RuneCountInString(word))
	}
	return most
}
