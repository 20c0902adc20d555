package boundary_test

import (
	"path"
	"regexp"
	"strings"
	"testing"
)

// A surface is what the files in api/ list: which packages and types there are, and
// what each of them has.
type surface map[string]map[string]bool

func (r *repository) surface(t *testing.T) surface {
	t.Helper()
	s := surface{}
	add := func(of, name string) {
		if s[of] == nil {
			s[of] = map[string]bool{}
		}
		s[of][name] = true
	}
	declared := regexp.MustCompile(`^(?:const|var|func|type) ([A-Z]\w*)`)
	method := regexp.MustCompile(`^(?:method \(\*?([A-Z]\w*)\)|type ([A-Z]\w*) (?:struct|interface),) ([A-Z]\w*)`)
	fields := regexp.MustCompile(`^type ([A-Z]\w*) struct, ((?:[A-Z]\w*, )*[A-Z]\w*) `)
	for _, name := range r.other {
		if !strings.HasPrefix(name, "api/") || path.Ext(name) != ".txt" {
			continue
		}
		pkg := strings.TrimSuffix(path.Base(name), ".txt")
		for line := range strings.Lines(r.read(t, name)) {
			if m := declared.FindStringSubmatch(line); m != nil {
				add(pkg, m[1])
			}
			if m := method.FindStringSubmatch(line); m != nil {
				add(m[1]+m[2], m[3])
			}
			if m := fields.FindStringSubmatch(line); m != nil {
				for field := range strings.SplitSeq(m[2], ", ") {
					add(m[1], field)
				}
			}
		}
	}
	if len(s["client"]) == 0 || len(s["Config"]) == 0 {
		t.Fatal("api/ lists nothing of package client")
	}
	return s
}

// A page that names a field, a method or a function names one that there is.
func TestNamesInTheDocumentsExist(t *testing.T) {
	r := load(t)
	s := r.surface(t)
	// Types of others that have the name of one of ours.
	others := regexp.MustCompile(`^(http|net|slog|httputil|aws|api)$`)
	qualified := regexp.MustCompile(`(?:^|[^\w.$/])([A-Za-z]\w*)\.([A-Z]\w*)`)
	checked := 0
	for _, name := range r.markdown() {
		if !strings.HasPrefix(name, "docs/") && !strings.HasPrefix(name, "examples/") && name != "README.md" {
			continue
		}
		for _, span := range codeSpan.FindAllString(fence.ReplaceAllString(r.read(t, name), ""), -1) {
			for _, m := range qualified.FindAllStringSubmatch(span, -1) {
				members := s[m[1]]
				if members == nil || others.MatchString(m[1]) {
					continue
				}
				checked++
				// client.Post is a method of a client.
				value := s[strings.ToUpper(m[1][:1])+m[1][1:]]
				if !members[m[2]] && !value[m[2]] {
					t.Errorf("%s: %s: there is no %s.%s", name, span, m[1], m[2])
				}
			}
		}
	}
	if checked < 100 {
		t.Errorf("%d names checked", checked)
	}
}

// The layers that docs/design.md draws are functions of package middleware.
func TestTheLayersInTheDesignExist(t *testing.T) {
	r := load(t)
	s := r.surface(t)
	drawn := regexp.MustCompile(`(?m)^    (\w+(?: -> \w+){3,})$`).FindStringSubmatch(r.read(t, "docs/design.md"))
	if drawn == nil {
		t.Fatal("docs/design.md draws no layers")
	}
	for layer := range strings.SplitSeq(drawn[1], " -> ") {
		if layer != "endpoint" && layer != "transport" && !s["middleware"][layer] {
			t.Errorf("there is no middleware.%s", layer)
		}
	}
}
