package auto

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/platform"
)

// Options configures [New] and [Explain]. The zero value and nil are ready to
// use: the environment decides.
type Options struct {
	// References are used instead of OPENAI_CREDENTIAL; the empty string is what
	// that has. They come from the operator: never from a request or from what
	// a model wrote.
	References string

	// transport carries what goes to Azure and OpenAI in tests; the addresses
	// there are fixed.
	transport http.RoundTripper
	// brief tells that the sources are closed after one read, and have to leave
	// nothing behind then.
	brief bool
}

// New returns the Source of the environment's credential; see the package
// documentation for how it is chosen. If several apply it is a
// [credential.Chain]. As with other sources, package client puts a Cache around
// it, and NewChain and Standby take it. It does no I/O: the errors of the source
// come with the first read, for which a program can call Warm of the client
// while it starts.
//
// It fails if a reference is malformed, a variable holds what cannot be a key,
// or the variables contradict each other. If nothing is configured the error
// wraps [credential.ErrUnavailable] and lists what was looked for and what to
// set. No error quotes a reference: what was pasted may be the key itself.
func New(opts *Options) (credential.Source, error) {
	if opts == nil {
		opts = &Options{}
	}
	rows := plan(opts)
	var sources []credential.Source
	for _, c := range rows {
		if c.err != nil {
			return nil, fmt.Errorf("auto: %w", c.err)
		}
		if c.src != nil {
			sources = append(sources, c.src)
		}
	}
	switch len(sources) {
	case 0:
		return nil, fmt.Errorf("auto: %w", nothing(rows))
	case 1:
		return sources[0], nil
	}
	chain, err := credential.NewChain(sources...)
	if err != nil {
		return nil, fmt.Errorf("auto: %w", err)
	}
	return chain, nil
}

// A candidate is a source that may apply here.
type candidate struct {
	name, looked, found string
	src                 credential.Source // nil if it does not apply
	skip                string            // why it does not apply
	err                 error             // it is configured, and wrong
	do                  string            // the one thing to do about it
	anyway              bool              // do is worth saying where another source wins, too
	local               bool              // it belongs to the error if nothing is configured
}

const variable = "OPENAI_CREDENTIAL"

// plan lists all sources, in order. It does no I/O but a look at the environment.
func plan(opts *Options) []candidate {
	text, looked := opts.References, "Options.References"
	if strings.TrimSpace(text) == "" {
		text, looked = os.Getenv(variable), variable
	}
	if strings.TrimSpace(text) != "" {
		rows := referenced(opts, text, looked)
		for _, c := range byVariables(opts) {
			switch {
			case c.src != nil || c.err != nil:
				c.skip, c.do = "references come first", ""
				c.src, c.err = nil, nil
			default:
				c.do = ""
			}
			rows = append(rows, c)
		}
		return rows
	}
	rows := []candidate{{name: "reference", looked: variable, found: "unset", skip: "there is no reference", local: true,
		do: "set " + variable + toWhat(platform.Machine{}.Place())}}
	rows = append(rows, byVariables(opts)...)
	return append(rows, stores()...)
}

// referenced are the sources of references. One that is malformed leaves the
// others in the list.
func referenced(opts *Options, text, looked string) []candidate {
	words := split(text)
	if len(words) == 0 || len(words) > maxReferences {
		return []candidate{{name: "reference", looked: looked, found: "set",
			err: fmt.Errorf("%s: want 1 to %d references, there are %d", looked, maxReferences, len(words)), do: "correct " + looked}}
	}
	rows := make([]candidate, 0, len(words))
	for i, word := range words {
		c := candidate{name: "reference", looked: looked, found: "set"}
		if len(words) > 1 {
			c.looked = fmt.Sprintf("%s, reference %d", looked, i+1)
		}
		s, src, err := parseReference(word, opts)
		if s != nil {
			c.name = s.name
			c.found = foundWith(s.sets)
		}
		if err != nil {
			c.err, c.do = fmt.Errorf("%s: %w", c.looked, err), "correct "+c.looked
		} else {
			c.src = src
			if named, ok := src.(fmt.Stringer); ok {
				c.name = named.String()
			}
		}
		rows = append(rows, c)
	}
	return rows
}

// nothing says that nothing is configured, and what to set.
func nothing(rows []candidate) error {
	all := &credential.ChainError{}
	for _, c := range rows {
		if c.local {
			all.Errors = append(all.Errors, &credential.SourceError{Source: c.name, Hint: c.do,
				Err: fmt.Errorf("%w: %s", credential.ErrUnavailable, c.skip)})
		}
	}
	if len(all.Errors) == 0 {
		return errors.Join(credential.ErrUnavailable, errors.New("nothing is configured"))
	}
	return all
}
