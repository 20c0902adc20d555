package auto

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/credential"
)

// A Report tells how the credential of this environment was chosen. It never
// contains a secret.
type Report struct {
	// Attempts are all sources, in order.
	Attempts []Attempt `json:"attempts"`
	// Winner is the source of the credential; empty if there is none.
	Winner string `json:"winner"`
	// Scheme is "api key" or "bearer token".
	Scheme string `json:"scheme,omitempty"`
	// Version is the store's name for the version of the secret, if it has one.
	Version string `json:"version,omitempty"`
	// Expires is when the credential stops being valid; zero if it does not.
	Expires time.Time `json:"expires,omitzero"`
	// NextRefresh is the time from which a Cache with the default options reads
	// it again.
	NextRefresh time.Time `json:"next_refresh,omitzero"`
	// Error is why there is no credential, and what to do; empty if there is one.
	Error string `json:"error,omitempty"`
}

// An Attempt is what became of one source.
type Attempt struct {
	// Source names it, for example "env:OPENAI_API_KEY".
	Source string `json:"source"`
	// LookedFor says where its configuration would be.
	LookedFor string `json:"looked_for"`
	// Found is "set" or "unset", or names the variables that are set, of those
	// that speak for it. It never tells what they hold.
	Found string `json:"found"`
	// Result is one of
	//
	//	used         it gave the credential
	//	skipped      it does not apply here
	//	unavailable  it applies, and is not configured; the next one is asked
	//	failed       it is configured, and failed; no other takes its place
	//	not asked    it applies, and an earlier one won or failed
	Result string `json:"result"`
	// Took is how long it took; in JSON in nanoseconds.
	Took time.Duration `json:"took"`
	// Why explains any Result but "used".
	Why string `json:"why,omitempty"`
	// Do is the one thing to do about it; empty if there is nothing.
	Do string `json:"do,omitempty"`
}

// Explain asks the sources of [New] as a Cache would and tells what came of it,
// for people and for logs. It reads for real: a token or secret that it finds is
// forgotten at once, and a lease or login of Vault that it was given is revoked.
// It returns when ctx is done at the latest, or up to 2 seconds later if there is
// something to revoke. Each source has 10 seconds. A source that was not asked
// costs nothing. Nil options are ready to use.
func Explain(ctx context.Context, opts *Options) *Report {
	if opts == nil {
		opts = &Options{}
	}
	brief := *opts
	brief.brief = true
	e := explainer{report: &Report{}}
	rows := plan(&brief)
	for _, c := range rows {
		if c.err != nil { // New would fail: nothing is asked
			e.over, e.report.Error = "the configuration is in error", clean(c.err)
			break
		}
	}
	for _, c := range rows {
		e.attempt(ctx, c)
	}
	r := e.report
	failed := slices.ContainsFunc(r.Attempts, func(a Attempt) bool { return a.Result == "failed" })
	for i := range r.Attempts {
		if idle := r.Winner != "" && !rows[i].anyway; r.Attempts[i].Result == "skipped" && (failed || idle) {
			r.Attempts[i].Do = "" // it is not this one that is missing
		}
	}
	switch {
	case r.Winner != "":
	case r.Error == "" && e.asked == 0:
		r.Error = clean(nothing(rows))
	case r.Error == "":
		r.Error = "none of the sources that apply is available here"
	}
	e.redact()
	return r
}

type explainer struct {
	report *Report
	over   string // why no more is asked
	asked  int
	secret credential.Secret
}

func (e *explainer) attempt(ctx context.Context, c candidate) {
	a := Attempt{Source: c.name, LookedFor: c.looked, Found: c.found}
	switch {
	case c.err != nil:
		a.Result, a.Why, a.Do = "failed", reason(c.err), c.do
		if a.Do == "" {
			a.Do = hint(c.err)
		}
	case c.src == nil:
		a.Result, a.Why, a.Do = "skipped", c.skip, c.do
	case e.over != "":
		a.Result, a.Why = "not asked", e.over
	default:
		e.ask(ctx, c, &a)
	}
	e.report.Attempts = append(e.report.Attempts, a)
}

func (e *explainer) ask(ctx context.Context, c candidate, a *Attempt) {
	e.asked++
	begin := time.Now()
	v, err := read(ctx, c.src)
	a.Took = time.Since(begin)
	leave(ctx, c.src)
	r := e.report
	switch {
	case err == nil:
		a.Result, e.over = "used", "an earlier one won"
		e.secret = v.Secret
		r.Winner, r.Scheme, r.Version, r.Expires = v.Source, v.Scheme.String(), v.Version, v.Expires
		r.NextRefresh = nextRefresh(v, begin)
		if r.Winner == "" {
			r.Winner = c.name
		}
	case ctx.Err() != nil:
		a.Result, a.Why, a.Do = "failed", "the time for the report was over", "allow more time"
		e.over, r.Error = "the time was over", c.name+": "+a.Why
	case errors.Is(err, credential.ErrUnavailable):
		a.Result, a.Why, a.Do = "unavailable", reason(err), hint(err)
	default:
		a.Result, a.Why, a.Do = "failed", reason(err), hint(err)
		e.over, r.Error = "an earlier one failed, and no other takes its place", clean(err)
	}
}

// read gets the value as a Cache does: checked, and in bounded time.
func read(ctx context.Context, src credential.Source) (credential.Value, error) {
	cache, err := credential.NewCache(src, &credential.CacheOptions{ReadContext: func(call context.Context) context.Context { return call }})
	if err != nil {
		return credential.Value{}, err //nolint:wrapcheck // ours
	}
	return cache.Retrieve(ctx) //nolint:wrapcheck // the source's
}

// closing is how long a source may take to give back what it was given, also
// after the end of the context.
const closing = 2 * time.Second

// leave ends the use of src. What cannot be given back ends by itself.
func leave(ctx context.Context, src credential.Source) {
	c, ok := src.(interface{ Close(context.Context) error })
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closing)
	defer cancel()
	_ = c.Close(ctx)
}

// redact is a second line: no text of ours holds a secret, unless a name does.
func (e *explainer) redact() {
	text := e.secret.Reveal()
	if len(text) < 4 {
		return
	}
	r := e.report
	for _, s := range []*string{&r.Winner, &r.Version, &r.Error} {
		*s = strings.ReplaceAll(*s, text, "[redacted]")
	}
	for i := range r.Attempts {
		a := &r.Attempts[i]
		for _, s := range []*string{&a.Source, &a.LookedFor, &a.Found, &a.Why, &a.Do} {
			*s = strings.ReplaceAll(*s, text, "[redacted]")
		}
	}
}

// nextRefresh is when a Cache reads v again, without its jitter; see
// credential.CacheOptions.
func nextRefresh(v credential.Value, loaded time.Time) time.Time {
	at := loaded.Add(4 * time.Minute) // four fifths of the default TTL
	token := v.Scheme == credential.BearerToken && !v.Expires.IsZero()
	if !v.Expires.IsZero() {
		ahead := v.Expires.Add(-min(5*time.Minute, v.Expires.Sub(loaded)/2))
		if token || ahead.Before(at) {
			at = ahead
		}
	}
	if hint := v.RefreshAfter; !hint.IsZero() && (token && hint.Before(v.Expires) || hint.Before(at)) {
		at = hint
	}
	return at.Round(0)
}

// reason is err without its hint, hint the rest.
func reason(err error) string {
	if se := (*credential.SourceError)(nil); errors.As(err, &se) {
		short := *se
		short.Hint = ""
		text := strings.TrimPrefix(clean(&short), short.Source+": ")
		return strings.TrimPrefix(text, strings.TrimPrefix(credential.ErrUnavailable.Error(), "credential: ")+": ")
	}
	return clean(err)
}

func hint(err error) string {
	if se := (*credential.SourceError)(nil); errors.As(err, &se) && se.Hint != "" {
		return se.Hint
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "check the network to it"
	}
	return ""
}

// clean drops the package's prefix, which says nothing in a report.
func clean(err error) string { return strings.TrimPrefix(err.Error(), "credential: ") }
