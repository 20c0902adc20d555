package usage

import (
	"bytes"
	"math"
	"strconv"
	"strings"
)

// maxOutcomes bounds a list of reasons or of categories, in bytes.
const maxOutcomes = 256

// maxWord is the longest word of a protocol, in bytes.
const maxWord = 40

// values takes what an answer says.
type values struct {
	Usage
	intern     func([]byte) string // nil for none
	isResponse bool                // the document is a response, or holds one
	counted    bool                // it holds counts
	chosen     bool                // it holds a part of an answer
	filter     filter
	erring     bool   // the document is an event of the type "error"
	failed     bool   // an event is an error, or holds one
	code       string // of the error, or its type
}

// document says that another document begins.
func (v *values) document() { v.isResponse, v.counted, v.chosen, v.erring = false, false, false, false }

func (v *values) begin(c *scanner) {
	if c.current == category {
		v.filter.begin(c.kept[:c.length])
	}
}

func (v *values) element(c *scanner) {
	v.chosen = v.chosen || c.depth == 2 && c.current == choices && !c.arrays[c.depth]
	if c.current == errorObject {
		p, ok := c.place()
		v.failed = v.failed || ok && p == [3]name{errorObject}
	}
}

func (v *values) leave(c *scanner) { v.filter.add(&v.Usage, c.way[:c.depth]) }

func (v *values) word(c *scanner, w []byte) {
	p, ok := c.place()
	switch {
	case c.current == filtered || c.current == detected:
		v.filter.set(c.current, string(w) == "true")
	case !ok || w[0] > '9':
	case p[0] == usage && p[1] == seconds && p[2] == other:
		if s, err := strconv.ParseFloat(string(w), 64); err == nil && s >= 0 && s < math.MaxInt32 {
			v.Seconds, v.Reported, v.counted = s, true, true
		}
	default:
		n, ok := count(w)
		to := counter(p, &v.Usage)
		if ok && to != nil {
			*to = n
		}
		if ok && (to != nil && p[0] == usage || p == [3]name{usage, total}) {
			v.Reported, v.counted = true, true
		}
	}
}

// counter returns what the number at p is.
func counter(p [3]name, found *Usage) *int64 {
	switch p {
	case [3]name{usage, input}:
		return &found.Input
	case [3]name{usage, output}:
		return &found.Output
	case [3]name{usage, inputDetails, cached}:
		return &found.CachedInput
	case [3]name{usage, inputDetails, cacheWrite}:
		return &found.CacheWrite
	case [3]name{usage, inputDetails, audio}:
		return &found.AudioInput
	case [3]name{usage, inputDetails, image}:
		return &found.ImageInput
	case [3]name{usage, outputDetails, reasoning}:
		return &found.Reasoning
	case [3]name{usage, outputDetails, audio}:
		return &found.AudioOutput
	case [3]name{usage, outputDetails, image}:
		return &found.ImageOutput
	case [3]name{svgUsage, input}, [3]name{toolUsage, imageGen, input}:
		return &found.OtherInput
	case [3]name{svgUsage, output}, [3]name{toolUsage, imageGen, output}:
		return &found.OtherOutput
	}
	return nil
}

// count reads a whole number that is not negative. Some gateways write 12.0.
func count(w []byte) (n int64, ok bool) {
	w = bytes.TrimSuffix(w, []byte(".0"))
	if len(w) == 0 || len(w) > 15 {
		return 0, false
	}
	for _, c := range w {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

func (v *values) text(c *scanner, t []byte, whole bool) {
	if c.current == severity {
		if whole && string(t) != "safe" {
			v.filter.severity = identifier(t)
		}
		return
	}
	p, ok := c.place()
	if !ok {
		return
	}
	if p == [3]name{choices, message, refusal} && len(t) > 0 {
		v.Refusal = true
		return
	}
	if !whole {
		return
	}
	switch p {
	case [3]name{model}:
		if v.Model != string(t) {
			v.Model = v.string(t, isLabel(t))
		}
	case [3]name{serviceTier}:
		if v.ServiceTier != string(t) {
			v.ServiceTier = v.string(t, isIdentifier(t, maxWord))
		}
	case [3]name{identity}:
		if v.ID == "" {
			if isIdentifier(t, maxKept) {
				v.ID = string(t)
			}
		}
	case [3]name{fingerprint}:
		if v.Fingerprint == "" {
			v.Fingerprint = v.string(t, isIdentifier(t, maxKept))
		}
	case [3]name{object}:
		v.isResponse = v.isResponse || string(t) == "response"
	case [3]name{errorObject}, [3]name{code}, [3]name{errorObject, kind}, [3]name{errorObject, code}:
		v.fails(p, t)
	case [3]name{kind}, [3]name{outputs, content, kind}:
		if p[0] == kind && string(t) == "error" {
			v.erring, v.failed = true, true
		}
		v.Refusal = v.Refusal || string(t) == "refusal" || bytes.HasPrefix(t, []byte("response.refusal."))
	case [3]name{contentFilters, sourceType}:
		v.filter.ofPrompt = string(t) == "prompt"
	default:
		v.finished(c, p, t)
	}
}

// fails takes a part of an error: in the member "error", or, in an event of the
// type "error" of the Responses API, the code beside the type.
func (v *values) fails(p [3]name, t []byte) {
	switch p {
	case [3]name{errorObject}:
		v.failed = v.failed || len(t) > 0
		return
	case [3]name{code}:
		if !v.erring { // in other events it is that of a program
			return
		}
	case [3]name{errorObject, kind}:
		if v.code != "" {
			return
		}
	case [3]name{errorObject, code}:
		if string(t) == "content_filter" {
			v.Finish = "content_filter"
		}
	}
	if is := identifier(t); is != "" {
		v.code = is
	}
}

// string returns t if it is valid. The same few words come with each answer.
func (v *values) string(t []byte, valid bool) string {
	switch {
	case !valid:
		return ""
	case v.intern != nil:
		return v.intern(t)
	}
	return string(t)
}

// finished takes why the model stopped.
func (v *values) finished(c *scanner, p [3]name, t []byte) {
	switch p {
	case [3]name{choices, finish}:
		v.Finish = with(v.Finish, v.string(t, isIdentifier(t, maxWord)))
	case [3]name{incomplete, reason}:
		v.Finish = v.string(t, isIdentifier(t, maxWord))
	case [3]name{status}:
		reasoned := string(t) == "incomplete" && v.Finish != "" && v.Finish != "in_progress"
		if (v.isResponse || c.depth > 1) && !reasoned {
			v.Finish = v.string(t, isIdentifier(t, maxWord))
		}
	}
}

// with adds a word to a list, unless it is there.
func with(list, word string) string {
	switch {
	case word == "":
		return list
	case list == "":
		return word
	case strings.Contains(", "+list+", ", ", "+word+", ") || len(list)+len(word) > maxOutcomes:
		return list
	}
	return list + ", " + word
}

// identifier returns t if it is a word of a protocol, and no text.
func identifier(t []byte) string {
	if !isIdentifier(t, maxWord) {
		return ""
	}
	return string(t)
}

// isIdentifier reports whether t is made of letters, digits, "_" and "-", most
// bytes at the most.
func isIdentifier(t []byte, most int) bool {
	for _, c := range t {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return len(t) > 0 && len(t) <= most
}

// isLabel reports whether t may be the name of a model.
func isLabel(t []byte) bool {
	for _, c := range t {
		if c <= ' ' || c > '~' || c == '"' || c == '<' || c == '>' {
			return false
		}
	}
	return len(t) > 0
}

// A filter collects what the content filter says of one category.
//
// https://learn.microsoft.com/azure/ai-foundry/openai/concepts/content-filter
type filter struct {
	category           [maxKept]byte
	length             int // of category
	severity           string
	filtered, detected bool
	ofPrompt           bool // the next results of content_filters are
}

func (f *filter) begin(category []byte) {
	f.length, f.severity, f.filtered, f.detected = copy(f.category[:], category), "", false, false
}

func (f *filter) set(what name, is bool) {
	if what == filtered {
		f.filtered = is
	} else {
		f.detected = is
	}
}

// add notes the category, now that it is complete, unless nothing was found.
// One with the name "error" says that the filter did not run.
func (f *filter) add(found *Usage, way []name) {
	category := f.category[:f.length]
	if f.severity == "" && !f.filtered && !f.detected && string(category) != "error" {
		return
	}
	text := identifier(category)
	if text == "" {
		return
	}
	if f.severity != "" {
		text += " " + f.severity
	}
	if f.detected {
		text += " detected"
	}
	if f.filtered {
		text += " filtered"
	}
	to := &found.AnswerFilter
	for _, n := range way {
		if n == promptFilters || n == innerError || n == contentFilters && f.ofPrompt {
			to = &found.PromptFilter
		}
	}
	*to = with(*to, text)
}
