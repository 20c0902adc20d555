//go:build !race

package limit_test

import (
	"testing"

	"github.com/latchkey-go/latchkey/middleware/limit"
)

func TestASendAllocatesNothing(t *testing.T) {
	l := newLimiter(t, with(func(o *limit.Options) {
		o.Prices = map[string]limit.Price{"gpt-4o": {Input: 2.5, Output: 10}}
		o.OnEvent = func(limit.Event) {}
	}),
		limit.Limit{Name: "rpm", Requests: 1 << 40, Per: limit.Minute, By: limit.ByTenant | limit.ByEndpoint},
		limit.Limit{Name: "tpm", Tokens: 1 << 40, Per: limit.Minute, By: limit.ByModel},
		limit.Limit{Name: "budget", Cost: 1e6, Per: limit.Day},
		limit.Limit{Name: "soft", Tokens: 1, Per: limit.Month, Soft: true},
		limit.Limit{Name: "flight", InFlight: 1},
	)
	var r, refused limit.Reservation
	s := limit.Send{Tenant: "acme", Model: "gpt-4o-2024-08-06", Endpoint: "east", Input: 10, Output: 10}
	n := testing.AllocsPerRun(1000, func() {
		if err := l.Reserve(t.Context(), s, &r); err != nil {
			t.Fatal(err)
		}
		if err := l.Reserve(t.Context(), s, &refused); err == nil {
			t.Fatal("the second send in flight is admitted")
		}
		r.Settle(limit.Tokens{Input: 10, Output: 3})
	})
	if n > 0 {
		t.Errorf("a send and a refusal allocate %v times", n)
	}
}
