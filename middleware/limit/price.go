package limit

import (
	"fmt"
	"math"
	"math/bits"
	"strings"
)

// billion is how many units of cost make one of the currency.
const billion = 1e9

// A price is a Price in billionths of the currency for a million tokens.
type price struct {
	input, cached, write, output, reasoning uint64
	// worstInput and worstOutput are the highest that a token can cost.
	worstInput, worstOutput uint64
}

// maxPrice is the highest price of a million tokens. It leaves room in a product
// of 128 bits.
const maxPrice = 1e9

func newPrice(p Price) (*price, error) {
	units := func(f float64) uint64 {
		x := f * billion
		if r := math.Round(x); math.Abs(x-r) < 1e-3 {
			return uint64(r)
		}
		return uint64(math.Ceil(x))
	}
	for _, f := range []float64{p.Input, p.Output, p.CachedInput, p.CacheWrite, p.Reasoning} {
		if !(f >= 0 && f <= maxPrice) {
			return nil, fmt.Errorf("%v is not a price from 0 to %g", f, float64(maxPrice))
		}
	}
	q := &price{input: units(p.Input), output: units(p.Output)}
	q.cached, q.write, q.reasoning = q.input, q.input, q.output
	if p.CachedInput != 0 {
		q.cached = units(p.CachedInput)
	}
	if p.CacheWrite != 0 {
		q.write = units(p.CacheWrite)
	}
	if p.Reasoning != 0 {
		q.reasoning = units(p.Reasoning)
	}
	q.worstInput = max(q.input, q.cached, q.write)
	q.worstOutput = max(q.output, q.reasoning)
	return q, nil
}

// worst returns the most that so many tokens can cost, in billionths.
func (p *price) worst(input, output int64) int64 {
	var s sum
	s.add(input, p.worstInput)
	s.add(output, p.worstOutput)
	return s.cost()
}

// of returns what the tokens cost, in billionths.
func (p *price) of(t Tokens) int64 {
	t = t.sane()
	var s sum
	s.add(t.Input-t.CachedInput-t.CacheWrite, p.input)
	s.add(t.CachedInput, p.cached)
	s.add(t.CacheWrite, p.write)
	s.add(t.Output-t.Reasoning, p.output)
	s.add(t.Reasoning, p.reasoning)
	return s.cost()
}

// A sum of tokens times price, in 128 bits.
type sum struct{ hi, lo uint64 }

func (s *sum) add(tokens int64, price uint64) {
	if tokens <= 0 {
		return
	}
	hi, lo := bits.Mul64(uint64(tokens), price)
	var carry uint64
	s.lo, carry = bits.Add64(s.lo, lo, 0)
	s.hi, _ = bits.Add64(s.hi, hi, carry)
}

// cost returns the sum for single tokens, rounded up, at most math.MaxInt64.
func (s *sum) cost() int64 {
	const million = 1e6
	if s.hi >= million {
		return math.MaxInt64
	}
	q, rest := bits.Div64(s.hi, s.lo, million)
	if rest > 0 {
		q++
	}
	if q == 0 && rest > 0 || q > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(q)
}

// sane returns t without what cannot be: negative numbers, and parts that are
// more than the whole.
func (t Tokens) sane() Tokens {
	t.Input, t.Output = max(t.Input, 0), max(t.Output, 0)
	t.CachedInput = min(max(t.CachedInput, 0), t.Input)
	t.CacheWrite = min(max(t.CacheWrite, 0), t.Input-t.CachedInput)
	t.Reasoning = min(max(t.Reasoning, 0), t.Output)
	return t
}

// priceOf returns the price of a model, or nil.
func priceOf(prices map[string]*price, model string) *price {
	for name := model; ; {
		if p := prices[name]; p != nil && name != "*" {
			return p
		}
		i := strings.LastIndexByte(name, '-')
		if i < 0 {
			return prices["*"]
		}
		name = name[:i]
	}
}

// add returns a+b, at most math.MaxInt64. b may be negative, a not.
func add(a, b int64) int64 {
	if b > math.MaxInt64-a {
		return math.MaxInt64
	}
	return a + b
}
