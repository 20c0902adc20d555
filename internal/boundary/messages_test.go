package boundary_test

import (
	"go/ast"
	"go/token"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// texts are the string literals of the library, with the verbs of formats cut out.
func (r *repository) texts() string {
	verb := regexp.MustCompile(`%[+#]?[a-z]`)
	var b strings.Builder
	for _, f := range r.files(func(f *goFile) bool { return f.library() }) {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if text, err := strconv.Unquote(lit.Value); err == nil {
					b.WriteString(verb.ReplaceAllString(text, "\x00") + "\x00")
				}
			}
			return true
		})
	}
	return b.String()
}

// pieces are the parts of a message that do not change: without what is quoted, named
// or counted, and without the joints, where the code puts parts together.
func pieces(message string) []string {
	joint := regexp.MustCompile(`\.\.\.|"[^"]*"|: |; |\b(?:is|on|with|for)\b|[()]|check the |\b\d[\w.:-]*|\b[A-Z]+_[A-Z_]+\b|\b[\w.]+\.com\b|https://\S*`)
	var out []string
	for _, piece := range joint.Split(message, -1) {
		if piece = strings.TrimSpace(piece); len(piece) >= 10 {
			out = append(out, piece)
		}
	}
	return out
}

// People search for what they have read. A message that the code does not write any
// more is found by nobody.
func TestTheMessagesInTroubleshootingAreThoseOfTheCode(t *testing.T) {
	r := load(t)
	texts := r.texts()
	span := regexp.MustCompile("`([a-z][^`\n]*)`")
	// What others write, and code.
	others := regexp.MustCompile(`^(proxyconnect|x509|op run|az |aws |go run|nslookup|invalid_api_key|insufficient_quota|response\.|attempt|client\.|credential\.|redislimit\.|dialguard\.[A-Z]|max_completion_tokens|x-should-retry)`)
	checked := 0
	for _, m := range span.FindAllStringSubmatch(r.read(t, "docs/troubleshooting.md"), -1) {
		message := m[1]
		if others.MatchString(message) || !strings.Contains(message, " ") {
			continue
		}
		for _, piece := range pieces(message) {
			checked++
			if !strings.Contains(texts, piece) {
				t.Errorf("%q: the code does not write %q", message, piece)
			}
		}
	}
	if checked < 20 {
		t.Errorf("%d pieces of messages", checked)
	}
}
