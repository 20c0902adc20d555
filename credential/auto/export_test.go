package auto

import (
	"net/http"

	"github.com/latchkey-go/latchkey/credential"
)

// Over makes requests to Azure and OpenAI go through t: their addresses are
// fixed, and nothing in the environment changes them.
func Over(o Options, t http.RoundTripper) *Options {
	o.transport = t
	return &o
}

// Parse reads one reference.
func Parse(word string) (credential.Source, error) {
	_, src, err := parseReference(word, &Options{})
	return src, err
}

// Schemes is the table in the code.
func Schemes() map[string][]string {
	m := map[string][]string{}
	for _, s := range schemes(nil) {
		m[s.name] = s.params
	}
	return m
}

// Leave ends the use of a source, as Explain does.
var Leave = leave
