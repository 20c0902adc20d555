package credential

import (
	"context"
	"errors"
	"fmt"

	"github.com/latchkey-go/latchkey/internal/hidden"
)

// A Chain is a list of sources, of which the first available one is used. Only
// an error that wraps [ErrUnavailable] makes it go on to the next source. Any
// other error is the Chain's error: if it went on, a store that is configured
// and down would be replaced by another account in silence.
//
// A [Cache] remembers which source was available and asks only that one from
// then on. If a source before it was passed over because of a guess (see
// [SourceError]), the Cache asks that one again at each refresh. A rejection
// never makes a Cache go on to the next source of a Chain; see [Standby].
//
// A Chain has no state of its own and is safe for concurrent use.
type Chain struct {
	sources hidden.Value[[]Source]
	// An interface holds a struct whose only field is a func without a pointer
	// to the struct. Package spew would then call String on a wrong address.
	_ int
}

var _ Source = (*Chain)(nil)

// NewChain returns a Chain of sources. It fails if there is none, if one is
// nil, or if one is a [Cache] or [Tenants], which have to be outermost.
func NewChain(sources ...Source) (*Chain, error) {
	if len(sources) == 0 {
		return nil, errors.New("credential: a chain needs at least one source")
	}
	for i, s := range sources {
		if _, err := compile(s, 0); err != nil {
			return nil, &joined{fmt.Sprintf("credential: source %d of the chain: %s", i+1, bare(err)), []error{err}}
		}
	}
	list := append([]Source(nil), sources...)
	return &Chain{sources: hidden.Of(list)}, nil
}

// Retrieve asks the sources in order. It returns a [*ChainError] if none is
// available, and the error of the source that failed otherwise. Most users will
// put the Chain into a [Cache] instead.
func (c *Chain) Retrieve(ctx context.Context) (Value, error) {
	if by, ok := ctx.Value(underKey{}).(under); ok {
		return by(ctx, c)
	}
	return c.retrieve(ctx)
}

func (c *Chain) retrieve(ctx context.Context) (Value, error) {
	chainErr := &ChainError{}
	for _, src := range c.list() {
		v, err := src.Retrieve(ctx)
		switch {
		case err == nil:
			return v, nil
		case ctx.Err() != nil:
			return Value{}, context.Cause(ctx)
		case !errors.Is(err, ErrUnavailable):
			return Value{}, err
		}
		chainErr.Errors = append(chainErr.Errors, err)
	}
	if len(chainErr.Errors) == 0 {
		return Value{}, fmt.Errorf("%w: the chain is empty", ErrUnavailable)
	}
	return Value{}, chainErr
}

// String names the chain and its sources.
func (c *Chain) String() string {
	s := "chain("
	for i, src := range c.list() {
		if i > 0 {
			s += ", "
		}
		s += sourceName(src)
	}
	return s + ")"
}

func (c *Chain) list() []Source {
	if c == nil || c.sources == nil {
		return nil
	}
	return c.sources()
}

// Standby returns a Source of primary's values, for which standby has another
// credential for the same service: the second of two keys, or the pending
// version of a secret in rotation. When the service has rejected what primary
// has, the [Cache] around it uses what standby has. It goes on to do so until
// that is rejected as well, or primary has a value that is not rejected.
//
// A Source that has a method
//
//	Standby() credential.Source
//
// needs no Standby around it. NewCache calls the method once; nil is none.
//
// Retrieve of the result asks primary only. It fails if a source is nil.
func Standby(primary, standby Source) Source {
	return &pair{
		primary: func() Source { return primary },
		standby: func() Source { return standby },
	}
}

type pair struct{ primary, standby func() Source }

func (p *pair) malformed(err error) error {
	return &SourceError{Source: "standby", Op: "retrieve", Err: err, Hint: "pass two sources"}
}

func (p *pair) Retrieve(ctx context.Context) (Value, error) {
	for _, s := range []Source{p.primary(), p.standby()} {
		if _, err := compile(s, 0); err != nil {
			return Value{}, p.malformed(err)
		}
	}
	return p.primary().Retrieve(ctx)
}

func (p *pair) String() string {
	return "standby(" + sourceName(p.primary()) + ", " + sourceName(p.standby()) + ")"
}
