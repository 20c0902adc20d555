package credential

import (
	"context"
	"errors"
	"slices"
)

// A node is a source as a Cache sees it. NewCache compiles the tree of chains,
// standbys and decorators once. A node also holds what the Cache remembers of
// its source.
type node struct {
	name     string
	source   Source
	chain    []*node // of a chain: its sources, in order
	inner    *node   // of a source that decorates a chain: that chain
	renewer  Renewer // the source, or what it decorates; nil if that cannot renew
	standbys []*node // what else holds a credential for the same service

	// Cache.mu guards what follows.
	winner *node   // of a chain
	last   *record // of the value that the source gave last
	hung   int     // reads that were abandoned and have not ended
	guess  bool    // its last answer, that it is unavailable, was a guess
}

const maxDepth = 100

var (
	errNested  = errors.New("a Cache has to be outermost: put the source itself here and one Cache around the whole")
	errTooDeep = errors.New("the sources are nested too deeply, or one unwraps to itself")
)

// compile returns the node of src, or why src cannot be under a Cache.
func compile(src Source, depth int) (*node, error) {
	if src == nil {
		return nil, errNilSource
	}
	n := &node{name: sourceName(src), source: src}
	for at := src; at != nil; {
		if depth++; depth > maxDepth {
			return nil, errTooDeep
		}
		inner, standby := parts(at)
		switch s := at.(type) {
		case *Cache, *Tenants:
			return nil, errNested
		case *Chain:
			return n, n.compileChain(s, depth)
		case *pair:
			if inner == nil || standby == nil {
				return nil, s.malformed(errNilSource)
			}
			if at == n.source { // a pair is never asked itself
				n.source, n.name = inner, sourceName(inner)
			}
		case Renewer:
			if n.renewer == nil {
				n.renewer = s
			}
		}
		if standby != nil {
			second, err := compile(standby, depth)
			if err != nil {
				return nil, err
			}
			n.standbys = append([]*node{second}, n.standbys...)
		}
		at = inner
	}
	return n, nil
}

func (n *node) compileChain(c *Chain, depth int) error {
	if len(c.list()) == 0 {
		return errors.New("an empty chain")
	}
	of := n
	if n.source != Source(c) {
		of = &node{name: c.String(), source: c}
		n.inner = of
	}
	for _, src := range c.list() {
		child, err := compile(src, depth)
		if err != nil {
			return err
		}
		of.chain = append(of.chain, child)
	}
	return nil
}

// parts returns what src decorates and what it names as its standby; nil for
// most sources. A source's methods may do anything, even panic.
func parts(src Source) (inner, standby Source) {
	defer func() { _ = recover() }()
	if p, ok := src.(*pair); ok {
		return p.primary(), p.standby()
	}
	if s, ok := src.(interface{ Standby() Source }); ok {
		standby = s.Standby()
	}
	if s, ok := src.(interface{ Unwrap() Source }); ok {
		inner = s.Unwrap()
	}
	return inner, standby
}

// leaves counts the sources below n, each of which may take a timeout.
func (n *node) leaves() int {
	count := 1
	if n.chain != nil {
		count = 0
	}
	for _, list := range [][]*node{n.chain, n.standbys} {
		for _, child := range list {
			count += child.leaves()
		}
	}
	return count
}

// candidates lists what may hold another credential for the same service: the
// primary, and then the standbys. Of a chain that is the winner. c.mu is held.
func (n *node) candidates() []*node {
	list := []*node{n}
	switch {
	case n.winner != nil:
		list = n.winner.candidates()
	case n.inner != nil && n.inner.winner != nil:
		list = append(list, n.inner.winner.candidates()[1:]...)
	}
	for _, s := range n.standbys {
		list = append(list, s.candidates()...)
	}
	return list
}

// renews returns what can renew the value of n; nil if nothing can. c.mu is held.
func (n *node) renews() Renewer {
	if n.renewer == nil && n.inner != nil && n.inner.winner != nil {
		return n.inner.winner.candidates()[0].renews()
	}
	return n.renewer
}

// load asks n, or the winner of a chain. Before the winner it asks those again
// that a guess has ruled out. For a rejection only candidates are asked.
func (c *Cache) load(ctx context.Context, n *node) (found, error) {
	if n.chain == nil {
		return c.ask(ctx, n, nil)
	}
	c.mu.Lock()
	ask := n.chain
	if n.winner != nil {
		ask = slices.DeleteFunc(slices.Clone(ask), func(m *node) bool { return m != n.winner && !m.guess })
	}
	c.mu.Unlock()
	var skipped []Event
	none := &ChainError{}
	for _, child := range ask {
		f, err := c.load(ctx, child)
		if err != nil && ctx.Err() != nil {
			return found{}, context.Cause(ctx)
		}
		if err != nil && !errors.Is(err, ErrUnavailable) {
			return found{}, err
		}
		c.mu.Lock()
		if child.guess = isGuess(err); err == nil {
			n.winner = child
		}
		c.mu.Unlock()
		if err == nil {
			for _, e := range skipped {
				c.tell(e)
			}
			return f, nil
		}
		skipped = append(skipped, Event{Kind: EventSkipped, Source: child.name, Err: err})
		none.Errors = append(none.Errors, err)
	}
	return found{}, none
}

// isGuess reports whether err may turn out otherwise the next time.
func isGuess(err error) bool {
	if ce := (*ChainError)(nil); errors.As(err, &ce) {
		return slices.ContainsFunc(ce.Errors, isGuess)
	}
	se := (*SourceError)(nil)
	return errors.As(err, &se) && se.Guess
}

// An under tells a chain that it is read by a Cache, through the source that
// decorates it. The Cache then remembers the winner, as it does of other chains.
type under func(context.Context, *Chain) (Value, error)

type underKey struct{}

func (c *Cache) under(n *node) under {
	return func(ctx context.Context, chain *Chain) (Value, error) {
		behind, err := compile(chain, 0)
		c.mu.Lock()
		if n.inner == nil && err == nil { // NewCache cannot see through a func
			n.inner = behind
		}
		inner := n.inner
		c.mu.Unlock()
		if inner == nil || inner.source != Source(chain) {
			return chain.retrieve(ctx)
		}
		f, err := c.load(ctx, inner)
		return f.val, err
	}
}
