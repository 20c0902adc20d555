package boundary_test

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

var (
	fence     = regexp.MustCompile("(?ms)^[ \t]*```.*?^[ \t]*```[ \t]*$")
	codeSpan  = regexp.MustCompile("`[^`\n]*`")
	link      = regexp.MustCompile(`\[[^\]]*\]\(([^)\s]+)[^)]*\)`)
	htmlLink  = regexp.MustCompile(`<(?:a|img|source)\s[^>]*?\b(?:href|src|srcset)="([^"]+)"`)
	defined   = regexp.MustCompile(`(?m)^ {0,3}\[[^\]]+\]:\s+(\S+)`)
	heading   = regexp.MustCompile(`(?m)^#{1,6}[ \t]+(.+?)[ \t]*$`)
	testName  = regexp.MustCompile(`\b(?:Test|Benchmark|Fuzz)[A-Z]\w*`)
	testLink  = regexp.MustCompile("\\[`?((?:Test|Benchmark|Fuzz)[A-Z]\\w*)`?\\]\\(([^)#\\s]+)")
	promiseAt = regexp.MustCompile(`(?m)^[^\w\n]*\b(P\d+)\b`)
)

const promises = 14

func (r *repository) markdown() []string {
	var out []string
	for _, name := range r.other {
		if strings.HasSuffix(name, ".md") && !strings.Contains(name, "testdata/") {
			out = append(out, name)
		}
	}
	return out
}

// slug is the anchor that GitHub makes of a heading.
func slug(title string) string {
	title = link.ReplaceAllStringFunc(title, func(s string) string { return s[1:strings.Index(s, "]")] })
	var b strings.Builder
	for _, c := range strings.ToLower(title) {
		switch {
		case c == ' ':
			b.WriteRune('-')
		case c == '-' || c == '_' || unicode.IsLetter(c) || unicode.IsDigit(c):
			b.WriteRune(c)
		}
	}
	return b.String()
}

func anchors(text string) []string {
	var out []string
	seen := map[string]int{}
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		s := slug(m[1])
		if n := seen[s]; n > 0 {
			out = append(out, fmt.Sprintf("%s-%d", s, n))
		} else {
			out = append(out, s)
		}
		seen[s]++
	}
	return out
}

// links are the targets of all links and pictures in a page.
func links(text string) []string {
	text = fence.ReplaceAllString(text, "")
	// Code spans go, but the text of a link may be one.
	text = codeSpan.ReplaceAllString(text, "code")
	var out []string
	for _, form := range []*regexp.Regexp{link, htmlLink, defined} {
		for _, m := range form.FindAllStringSubmatch(text, -1) {
			out = append(out, m[1])
		}
	}
	return out
}

func TestRelativeLinksResolve(t *testing.T) {
	r := load(t)
	count := 0
	for _, name := range r.markdown() {
		for _, to := range links(r.read(t, name)) {
			target, anchor, _ := strings.Cut(to, "#")
			if strings.Contains(target, ":") {
				continue
			}
			count++
			file := name
			if target != "" {
				file = path.Join(path.Dir(name), target)
			}
			switch _, err := os.Stat(filepath.Join(r.root, filepath.FromSlash(file))); {
			case strings.HasPrefix(file, ".."):
				t.Errorf("%s: link to %s leaves the repository", name, to)
			case err != nil:
				t.Errorf("%s: link to %s: no such file", name, to)
			case anchor != "" && strings.HasSuffix(file, ".md") && !slices.Contains(anchors(r.read(t, file)), anchor):
				t.Errorf("%s: link to %s: no such heading", name, to)
			}
		}
	}
	if count < 100 {
		t.Errorf("%d links found", count)
	}
}

func TestLinksAreFoundInAllForms(t *testing.T) {
	got := links("[a](1.md) ![two\nlines](2.svg \"title\") [`code`](3.md#x) <a class=\"x\" href=\"4.md\">d</a>\n" +
		"<source media=\"(a: b)\" srcset=\"5.svg\"><img alt=\"x\" src=\"6.png\">\n[e]: 7.md\n`[no](no.md)`\n```\n[no](no.md)\n```\n")
	slices.Sort(got)
	if want := []string{"1.md", "2.svg", "3.md#x", "4.md", "5.svg", "6.png", "7.md"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// A comment that sends its reader to a page names one that there is.
func TestPagesNamedInCommentsExist(t *testing.T) {
	r := load(t)
	page := regexp.MustCompile(`\b(?:docs/[\w/.-]+\.(?:md|svg)|README\.md|CHANGELOG\.md|CONTRIBUTING\.md|SECURITY\.md)`)
	for _, f := range r.gos {
		for _, group := range f.ast.Comments {
			for _, name := range page.FindAllString(group.Text(), -1) {
				_, here := os.Stat(filepath.Join(r.root, filepath.FromSlash(path.Join(f.dir, name))))
				if _, root := os.Stat(filepath.Join(r.root, filepath.FromSlash(name))); here != nil && root != nil {
					t.Errorf("%s: no such page: %s", r.at(group), name)
				}
			}
		}
	}
}

// What a document claims to be tested is tested.
func TestEveryTestNamedInTheDocumentsExists(t *testing.T) {
	r := load(t)
	funcs := r.funcNames()
	for _, name := range r.markdown() {
		text := r.read(t, name)
		for _, id := range testName.FindAllString(text, -1) {
			if funcs[id] == nil {
				t.Errorf("%s names %s, which does not exist", name, id)
			}
		}
		for _, m := range testLink.FindAllStringSubmatch(text, -1) {
			file := path.Join(path.Dir(name), m[2])
			in := func(f string) bool { return f == file || path.Dir(f) == file }
			if declared := funcs[m[1]]; declared != nil && !slices.ContainsFunc(declared, in) {
				t.Errorf("%s links %s to %s; it is in %s", name, m[1], m[2], strings.Join(declared, ", "))
			}
		}
	}
}

// docs/promises.md has a paragraph, a list item or a row of a table for each promise;
// it begins with P1 to P14 and names the tests that hold it.
func TestEveryPromiseNamesItsTest(t *testing.T) {
	r := load(t)
	text := fence.ReplaceAllString(r.read(t, "docs/promises.md"), "")
	named := map[string]bool{}
	starts := promiseAt.FindAllStringSubmatchIndex(text, -1)
	if starts == nil {
		t.Fatal("docs/promises.md has no promises: begin a row, item or paragraph with P1 to P14 and name the tests in it")
	}
	for i, at := range starts {
		end := len(text)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		part, _, _ := strings.Cut(text[at[0]:end], "\n\n")
		promise := text[at[2]:at[3]]
		named[promise] = named[promise] || testName.MatchString(part)
	}
	for n := 1; n <= promises; n++ {
		if p := fmt.Sprintf("P%d", n); !named[p] {
			t.Errorf("docs/promises.md names no test for promise %s", p)
		}
	}
}

// A path of the machine that something was written on helps nobody else. The
// patterns are in pieces, so that they do not find themselves.
func TestNoMachinePaths(t *testing.T) {
	r := load(t)
	machine := regexp.MustCompile(`/` + `work/|/` + `root/|/` + `tmp/|(^|[\s"'(=]|\.\./)` + `shared/`)
	names := slices.Clone(r.other)
	for _, f := range r.gos {
		names = append(names, f.path)
	}
	for _, name := range names {
		if name == ".git" { // of a git worktree, and not committed
			continue
		}
		for i, line := range strings.Split(r.read(t, name), "\n") {
			if m := machine.FindString(line); m != "" {
				t.Errorf("%s:%d: %q is a path of one machine", name, i+1, strings.TrimSpace(m))
			}
		}
	}
}
