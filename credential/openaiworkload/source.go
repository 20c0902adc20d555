package openaiworkload

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/latchkey-go/latchkey/credential"
)

const (
	// exchangeTimeout bounds the exchange, metadataTimeout each question for a
	// subject token.
	exchangeTimeout = 10 * time.Second
	metadataTimeout = time.Minute
	// metadataPatience bounds the questions together where the metadata service
	// is known to be, as in the SDK of Azure. metadataPause is the first wait
	// between two.
	metadataPatience = 97 * time.Second
	metadataPause    = 300 * time.Millisecond
	maxMetadataPause = 25 * time.Second

	// defaultLife is that of a token whose issuer does not say: the SDKs of OpenAI
	// take the same. maxLife is as far ahead as an issuer is believed.
	defaultLife = time.Hour
	maxLife     = 24 * time.Hour
	// refreshAhead is how long before its end a token is replaced, as in OpenAI's
	// SDKs; but never before half of its life.
	refreshAhead = 20 * time.Minute
)

const sourceName = "openaiworkload"

// A Source exchanges a subject token for an access token of OpenAI at each
// Retrieve. Under a [credential.Cache] that is once per refresh and on a
// rejection. A Source is safe for concurrent use and immutable.
type Source struct {
	label string
	// Funcs hide what is below, as package hidden tells.
	subject  func(context.Context) (credential.Secret, error)
	exchange func(context.Context, credential.Secret) (grant, error)
}

var _ credential.Source = (*Source)(nil)

// New returns a Source. It does no I/O. It fails if an option that is required
// is missing, malformed, or without effect on the others; nil has none of those
// that are required.
func New(opts *Options) (*Source, error) {
	if opts == nil {
		opts = &Options{}
	}
	o := *opts
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("openaiworkload: %w", err)
	}
	label := sourceName
	if o.From != "" {
		label += ":" + o.From
	}
	return &Source{label: label, subject: newSubject(&o), exchange: newExchange(&o)}, nil
}

// Retrieve gets a subject token and exchanges it: at most a minute for a
// question for the one, at most 10 seconds for the other. Where the platform is known to
// have a metadata service the question is repeated, for at most 97 seconds; a
// machine that nothing is known of has a second to show that one is there. Token
// may take as long as ctx allows. Scheme is [credential.BearerToken], Expires is what the issuer says (an hour if it
// says nothing, at most a day), Version is the time of the exchange.
//
// Its errors are [*credential.SourceError]s that wrap
//
//   - [credential.ErrUnavailable] if the variables or the file of From are not
//     there, or this is known to be another platform; and as a guess (see
//     [credential.SourceError]) if no metadata service shows itself;
//   - what else went wrong with the subject token, or with the exchange: the
//     status of the answer and its error code (RFC 6749, section 5.2), if that
//     is a known one.
//
// Transient is set for broken connections, timeouts, throttling and errors of
// the servers. A done ctx is its cause.
func (s *Source) Retrieve(ctx context.Context) (credential.Value, error) {
	if s == nil || s.exchange == nil {
		return credential.Value{}, &credential.SourceError{Source: sourceName, Op: "exchange",
			Err: errors.New("the zero Source has no identity"), Hint: "make one with New"}
	}
	if ctx.Err() != nil {
		return credential.Value{}, context.Cause(ctx)
	}
	subject, err := s.subject(ctx)
	if err == nil && ctx.Err() == nil {
		var g grant
		// By the wall, and from before the exchange: the token is as old as that.
		start := time.Now().Round(0)
		if g, err = s.exchange(ctx, subject); err == nil {
			return s.value(g, start), nil
		}
	}
	if ctx.Err() != nil {
		return credential.Value{}, context.Cause(ctx)
	}
	f := (*fault)(nil)
	if !errors.As(err, &f) {
		f = &fault{op: "exchange", err: err}
	}
	return credential.Value{}, &credential.SourceError{Source: s.label, Op: f.op, Err: f.err, Hint: f.hint, Transient: f.transient, Guess: f.guess}
}

func (s *Source) value(g grant, start time.Time) credential.Value {
	// A little early, so that many processes that began together spread out.
	keep := g.life - min(refreshAhead, g.life/2)
	keep -= time.Duration(float64(keep) * 0.1 * rand.Float64()) //nolint:gosec // jitter, not a secret
	return credential.Value{
		Secret:       g.token,
		Scheme:       credential.BearerToken,
		Expires:      start.Add(g.life),
		RefreshAfter: start.Add(keep),
		Version:      start.UTC().Format(time.RFC3339),
		Source:       s.label,
	}
}

// String names the source.
func (s *Source) String() string {
	if s == nil || s.label == "" {
		return sourceName
	}
	return s.label
}

// A fault is an error with what a SourceError tells about it. It holds nothing
// that a peer wrote.
type fault struct {
	op, hint  string
	err       error
	transient bool
	guess     bool
}

func (f *fault) Error() string { return f.op + ": " + f.err.Error() }
func (f *fault) Unwrap() error { return f.err }
