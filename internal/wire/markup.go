package wire

import (
	"strings"
)

// ofMarkup reads a page of a proxy, of which the title says what it is, or an
// error in XML.
func ofMarkup(text string) Error {
	if isPage(text) {
		return Error{Message: pageTitle(text)}
	}
	e := Error{
		Code:    first(element(text, "code"), element(text, "faultcode")),
		Message: first(element(text, "message"), element(text, "faultstring"), element(text, "detail"), element(text, "title")),
	}
	if e == (Error{}) {
		e.Message = clipped(text, maxUnknown)
	}
	return e
}

// isPage reports whether text begins as HTML does.
func isPage(text string) bool {
	head := strings.ToLower(text[:min(len(text), 512)])
	if strings.HasPrefix(head, "<?xml") {
		return strings.Contains(head, "<html")
	}
	for strings.HasPrefix(head, "<!--") {
		_, rest, _ := strings.Cut(head, "-->")
		head = strings.TrimSpace(rest)
	}
	for _, tag := range [...]string{"<!doctype html", "<html", "<head", "<title", "<body", "<h1", "<center", "<script", "<meta", "<div", "<p>"} {
		if strings.HasPrefix(head, tag) {
			return true
		}
	}
	return false
}

// pageTitle returns what a page says of itself.
func pageTitle(text string) string {
	return first(element(text, "title"), element(text, "h1"), element(text, "h2"), element(text, "p"))
}

// element returns the text of the first element of that name, without tags in
// it, in one line. A namespace's prefix is passed over.
func element(text, name string) string {
	lower := lowerASCII(text)
	for from := 0; ; {
		i := strings.Index(lower[from:], name)
		if i < 0 {
			return ""
		}
		begin := from + i
		from = begin + len(name)
		open := strings.LastIndexByte(lower[max(0, begin-16):begin], '<')
		if open < 0 || strings.ContainsAny(lower[max(0, begin-16)+open+1:begin], " \t\r\n/>\"'") || from >= len(lower) || strings.IndexByte(" \t\r\n>", lower[from]) < 0 {
			continue
		}
		if prefix := lower[max(0, begin-16)+open+1 : begin]; prefix != "" && prefix[len(prefix)-1] != ':' {
			continue
		}
		start := strings.IndexByte(lower[from:], '>')
		if start < 0 {
			return ""
		}
		content := text[from+start+1:]
		if end := strings.Index(lower[from+start+1:], name+">"); end >= 0 {
			content = content[:end]
			content = content[:max(0, strings.LastIndexByte(content, '<'))]
		}
		return clipped(plainText(clipped(content, 4*maxUnknown)), maxUnknown)
	}
}

// plainText drops tags and CDATA marks, and joins what is left with blanks.
func plainText(markup string) string {
	var b strings.Builder
	markup = strings.ReplaceAll(strings.ReplaceAll(markup, "<![CDATA[", ""), "]]>", "")
	for markup != "" {
		text, rest, _ := strings.Cut(markup, "<")
		b.WriteString(text)
		_, markup, _ = strings.Cut(rest, ">")
		if rest != "" {
			b.WriteByte(' ')
		}
	}
	return strings.Join(strings.Fields(unescape(b.String())), " ")
}

func first(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

// lowerASCII keeps the length, so that positions in both texts agree.
func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// unescape replaces the entities that the titles of error pages have. Package
// html knows all of them, for 300 KB in every program.
func unescape(text string) string {
	return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&quot;", `"`, "&#34;", `"`, "&#39;", "'", "&apos;", "'",
		"&nbsp;", " ", "&#160;", " ", "&amp;", "&").Replace(text)
}
