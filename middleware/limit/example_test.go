package limit_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/latchkey-go/latchkey/middleware/limit"
)

func ExampleNew() {
	l, err := limit.New([]limit.Limit{
		{Name: "requests", Requests: 2, Per: limit.Minute, By: limit.ByTenant},
		{Name: "budget", Cost: 50, Per: limit.Day},
	}, &limit.Options{
		// In the currency of the operator's choice for a million tokens.
		Prices:      map[string]limit.Price{"gpt-4o": {Input: 2.5, CachedInput: 1.25, Output: 10}},
		WorstInput:  100_000,
		WorstOutput: 16_000,
		Now:         func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 3 {
		var r limit.Reservation
		err := l.Reserve(context.Background(), limit.Send{
			Tenant: "acme", Model: "gpt-4o-2024-08-06",
			Input: -1, Output: 1000, // The request tells max_tokens, but not its input.
		}, &r)
		if e := (*limit.Error)(nil); errors.As(err, &e) {
			fmt.Println(e)
			continue
		} else if err != nil {
			fmt.Println(err)
			return
		}
		// Here the request is sent, and the answer tells what it used.
		r.Settle(limit.Tokens{Input: 1200, CachedInput: 1000, Output: 300})
	}
	for _, s := range l.State() {
		fmt.Println(s.Limit, s.What, s.Tenant, s.Used, "of", s.Max)
	}
	// Output:
	// limit "requests": no room for more requests for tenant "acme" until 2026-03-01T12:01:01Z
	// requests requests acme 2 of 2
	// budget cost  9500000 of 50000000000
}
