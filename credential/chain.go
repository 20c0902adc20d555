package credential

import (
	"context"
	"errors"
	"fmt"
)

// A Chain is a list of sources of which the first available one wins. The
// list ends at the first source that answers or fails: only an error that
// wraps [ErrUnavailable] moves on, so that a store that is configured and
// down is never replaced by another account in silence. Under a [Cache] the
// winner stays, and a credential that the service rejects never moves down
// the chain; see [Standby] for that.
//
// A Chain has no state of its own and is safe for concurrent use.
type Chain struct {
	// A func, so that no printer by reflection walks into the sources.
	sources func() []Source
	// A struct that is nothing but a func lies in an interface without a pointer
	// to it, and spew then calls String on an address that is no Chain's.
	_ int
}

var _ Source = (*Chain)(nil)

// NewChain returns a Chain of sources. It fails if there is none, if one is
// nil, or if one is a [Cache], which has to be outermost.
func NewChain(sources ...Source) (*Chain, error) {
	if len(sources) == 0 {
		return nil, errors.New("credential: a chain needs at least one source")
	}
	for i, s := range sources {
		if err := checkSource(s); err != nil {
			return nil, &joined{fmt.Sprintf("credential: source %d of the chain: %s", i+1, bare(err)), []error{err}}
		}
	}
	list := append([]Source(nil), sources...)
	return &Chain{sources: func() []Source { return list }}, nil
}

// Retrieve asks the sources in order. It returns a [*ChainError] if none is
// available, and the error of the source that failed otherwise. Most users
// will put the Chain into a [Cache] instead, which remembers the winner.
func (c *Chain) Retrieve(ctx context.Context) (Value, error) {
	v, _, err := c.first(ctx, func(ctx context.Context, s Source) (Value, error) { return s.Retrieve(ctx) })
	return v, err
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

// first returns the first available source's value and that source.
func (c *Chain) first(ctx context.Context, ask func(context.Context, Source) (Value, error)) (Value, Source, error) {
	chainErr := &ChainError{}
	for _, src := range c.list() {
		v, err := ask(ctx, src)
		switch {
		case err == nil:
			return v, src, nil
		case ctx.Err() != nil:
			return Value{}, nil, context.Cause(ctx)
		case !errors.Is(err, ErrUnavailable):
			return Value{}, nil, err
		}
		chainErr.Errors = append(chainErr.Errors, err)
	}
	if len(chainErr.Errors) == 0 {
		return Value{}, nil, fmt.Errorf("%w: the chain is empty", ErrUnavailable)
	}
	return Value{}, nil, chainErr
}

// Standby returns a Source of primary's values that names standby as the
// place of another credential for the same service: the second of two keys,
// or the pending version of a secret in rotation. The [Cache] around it turns
// to standby when the service has rejected what primary has, and stays there
// until that is rejected as well or primary has a value that was never seen.
// It is the only way from one source to another on a rejection.
//
// A Source with a method "Standby() credential.Source" needs no Standby around
// it: the Cache turns to what the method returns, unless that is nil.
//
// Retrieve on the result asks primary only. A nil source makes it fail.
func Standby(primary, standby Source) Source {
	return &pair{
		primary: func() Source { return primary },
		standby: func() Source { return standby },
	}
}

// A standbyer is a source that knows a standby of its own, in another field or
// at another stage of the same secret. It is nil if there is none.
type standbyer interface{ Standby() Source }

type pair struct{ primary, standby func() Source }

func (p *pair) check() error {
	for _, s := range []Source{p.primary(), p.standby()} {
		if err := checkSource(s); err != nil {
			return &SourceError{Source: "standby", Op: "retrieve", Err: err, Hint: "pass two sources"}
		}
	}
	return nil
}

func (p *pair) Retrieve(ctx context.Context) (Value, error) {
	if err := p.check(); err != nil {
		return Value{}, err
	}
	return p.primary().Retrieve(ctx)
}

func (p *pair) String() string {
	return "standby(" + sourceName(p.primary()) + ", " + sourceName(p.standby()) + ")"
}

var errInnerCache = errors.New("a Cache has to be outermost: put the source itself here and one Cache around the whole")

func checkSource(s Source) error {
	switch s := s.(type) {
	case nil:
		return errNilSource
	case *Cache:
		return errInnerCache
	case *Chain:
		if len(s.list()) == 0 {
			return errors.New("an empty chain")
		}
	case *pair:
		return s.check()
	}
	return nil
}
