package anomaly

import (
	"fmt"
	"math"
	"strings"

	"github.com/latchkey-go/latchkey/middleware"
	"github.com/latchkey-go/latchkey/middleware/limit"
)

// prices are what tokens cost; none is that a token counts as one.
type prices struct {
	byModel map[string]limit.Price
	dearest limit.Price // for models without a price
}

func newPrices(given map[string]limit.Price) (*prices, error) {
	if len(given) == 0 {
		return nil, nil
	}
	p := &prices{byModel: make(map[string]limit.Price, len(given))}
	for name, g := range given {
		for _, f := range []float64{g.Input, g.Output, g.CachedInput, g.CacheWrite, g.Reasoning} {
			if !(f >= 0) || math.IsInf(f, 0) {
				return nil, fmt.Errorf("anomaly: Options.Prices[%q]: %v is not a price", name, f)
			}
		}
		orDefault(&g.CachedInput, g.Input)
		orDefault(&g.CacheWrite, g.Input)
		orDefault(&g.Reasoning, g.Output)
		p.byModel[name] = g
		d := &p.dearest
		d.Input, d.Output = max(d.Input, g.Input), max(d.Output, g.Output)
		d.CachedInput, d.CacheWrite, d.Reasoning = max(d.CachedInput, g.CachedInput), max(d.CacheWrite, g.CacheWrite), max(d.Reasoning, g.Reasoning)
	}
	return p, nil
}

// of returns what a model costs, by the rules of limit.Options.Prices.
func (p *prices) of(model string) limit.Price {
	for name := model; ; {
		if g, ok := p.byModel[name]; ok {
			return g
		}
		i := strings.LastIndexByte(name, '-')
		if i < 0 {
			break
		}
		name = name[:i]
	}
	if g, ok := p.byModel["*"]; ok {
		return g
	}
	return p.dearest
}

// amount is what a send has used, in tokens or in the currency of the prices.
func (p *prices) amount(model string, u *middleware.Usage) float64 {
	input, output := max(u.Input, 0), max(u.Output, 0)
	if p == nil {
		return float64(input) + float64(output)
	}
	cached := min(max(u.CachedInput, 0), input)
	write := min(max(u.CacheWrite, 0), input-cached)
	reasoning := min(max(u.Reasoning, 0), output)
	g := p.of(model)
	cost := float64(input-cached-write)*g.Input + float64(cached)*g.CachedInput + float64(write)*g.CacheWrite +
		float64(output-reasoning)*g.Output + float64(reasoning)*g.Reasoning
	return cost / 1e6
}
