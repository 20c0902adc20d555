package wire_test

import (
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/internal/wire"
)

func FuzzRetryAfter(f *testing.F) {
	for _, v := range []string{
		"-1", "0", "NaN", "Inf", "1e300", "9223372036854775807", "99999999999", "1.5", "0x10", "5,", " 5", "１０", "",
		"Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 1900 00:00:00 GMT", "Thu, 01 Jan 2026 00:00:00 PST", "Thursday, 01-Jan-26 00:00:00 GMT",
	} {
		f.Add(v, "", int64(0))
		f.Add("7", v, int64(1767225600))
	}
	f.Fuzz(func(t *testing.T, after, ms string, now int64) {
		h := http.Header{"Retry-After": {after}, "Retry-After-Ms": {ms}}
		d, ok := wire.RetryAfter(h, time.Unix(now%math.MaxUint32, 0))
		if d < 0 || !ok && d != 0 {
			t.Errorf("%q, %q: %v, %t", after, ms, d, ok)
		}
		both, bothOK := wire.RetryAfter(http.Header{"Retry-After": {after}, "Retry-After-Ms": {ms}, "X-Ms-Retry-After-Ms": {"-"}}, time.Unix(now%math.MaxUint32, 0))
		if both != d || bothOK != ok {
			t.Errorf("%q, %q: a header that cannot be read changed %v to %v", after, ms, d, both)
		}
	})
}

func TestRetryAfterReadsNumbersAndDates(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name, value string
		want        time.Duration // -1: as if not sent
	}{
		{"Retry-After", "7", 7 * time.Second}, {"Retry-After", " 5\t", 5 * time.Second}, {"Retry-After", "0.25", 250 * time.Millisecond},
		{"Retry-After", "0.0000000001", 1}, {"Retry-After", "0", 0}, {"Retry-After-Ms", "0.5", 500 * time.Microsecond},
		{"X-Ms-Retry-After-Ms", "1500", 1500 * time.Millisecond}, {"Retry-After", "86400", 24 * time.Hour},
		{"Retry-After", "9223372036", 9223372036 * time.Second}, {"Retry-After", "9223372037", math.MaxInt64},
		{"Retry-After", "Thu, 01 Jan 2026 00:00:09 GMT", 9 * time.Second}, {"Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT", math.MaxInt64},
		{"Retry-After", "Thu, 01 Jan 2026 00:00:00 GMT", 0}, {"Retry-After", "Thu, 01 Jan 2026 00:00:09 PST", -1},
		{"Retry-After", "1.", -1}, {"Retry-After", ".5", -1}, {"Retry-After", "1.2.3", -1}, {"Retry-After", "+5", -1}, {"Retry-After", "１０", -1},
		{"Retry-After", "1_000", -1}, {"Retry-After", "Infinity", -1},
	} {
		got, ok := wire.RetryAfter(http.Header{tc.name: {tc.value}}, now)
		if want := max(tc.want, 0); got != want || ok != (tc.want >= 0) {
			t.Errorf("%s: %q: %v, %t; want %v", tc.name, tc.value, got, ok, tc.want)
		}
	}
}
