package limit_test

import (
	"testing"

	"github.com/latchkey-go/latchkey/middleware/limit"
)

// benchmarked returns three limits as an operator may have them: requests a minute
// by tenant, tokens a minute by model, and cost a day.
func benchmarked(b *testing.B, requests int64) *limit.Limiter {
	b.Helper()
	l, err := limit.New([]limit.Limit{
		{Name: "rpm", Requests: requests, Per: limit.Minute, By: limit.ByTenant},
		{Name: "tpm", Tokens: 1 << 60, Per: limit.Minute, By: limit.ByModel},
		{Name: "daily", Cost: 1e9, Per: limit.Day},
	}, &limit.Options{
		Prices:     map[string]limit.Price{"gpt-4o": {Input: 2.5, CachedInput: 1.25, Output: 10}},
		WorstInput: 1000, WorstOutput: 1000,
	})
	if err != nil {
		b.Fatal(err)
	}
	return l
}

// BenchmarkAdmit is a send that is let through and settled.
func BenchmarkAdmit(b *testing.B) {
	l := benchmarked(b, 1<<60)
	b.ReportAllocs()
	b.SetParallelism(100)
	b.RunParallel(func(pb *testing.PB) {
		var r limit.Reservation
		for pb.Next() {
			if err := l.Reserve(b.Context(), limit.Send{Tenant: "acme", Model: "gpt-4o-2024-08-06", Input: 10, Output: 10}, &r); err != nil {
				b.Error(err)
				return
			}
			r.Settle(limit.Tokens{Input: 10, Output: 5})
		}
	})
}

// BenchmarkReserve is Reserve alone, for a send that is let through.
func BenchmarkReserve(b *testing.B) {
	l := benchmarked(b, 1<<60)
	b.ReportAllocs()
	b.SetParallelism(100)
	b.RunParallel(func(pb *testing.PB) {
		rs := make([]limit.Reservation, 1024)
		for i := 0; pb.Next(); i++ {
			if i == len(rs) {
				clear(rs)
				i = 0
			}
			if err := l.Reserve(b.Context(), limit.Send{Tenant: "acme", Model: "gpt-4o-2024-08-06", Input: 10, Output: 10}, &rs[i]); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkRefuse is a send that the first of three limits refuses.
func BenchmarkRefuse(b *testing.B) {
	l := benchmarked(b, 1)
	var held limit.Reservation
	s := limit.Send{Tenant: "acme", Model: "gpt-4o-2024-08-06", Input: 10, Output: 10}
	if err := l.Reserve(b.Context(), s, &held); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetParallelism(100)
	b.RunParallel(func(pb *testing.PB) {
		var r limit.Reservation
		for pb.Next() {
			err := l.Reserve(b.Context(), s, &r)
			if err == nil {
				r.Keep()
			} else if _, ok := err.(*limit.Error); !ok { //nolint:errorlint // errors.As allocates
				b.Error(err)
				return
			}
		}
	})
}
