package wire

import (
	"math"
	"net/http"
	"strings"
	"time"
)

// RetryAfter returns how long the service asks to wait. Azure's headers in
// milliseconds are more precise and come first, as in azcore and openai-go.
// A date is measured from the Date of the same answer, for the clocks may
// differ, or from now if there is none; one that has gone by asks for no wait.
// A header that cannot be read counts as not sent; one that asks for longer
// than a Duration can hold gives the longest Duration.
func RetryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	if len(h) == 0 {
		return 0, false
	}
	for _, name := range [...]string{"Retry-After-Ms", "X-Ms-Retry-After-Ms"} {
		if d, ok := parseDelay(h.Get(name), time.Millisecond); ok {
			return d, true
		}
	}
	v := h.Get("Retry-After")
	if d, ok := parseDelay(v, time.Second); ok {
		return d, true
	}
	if len(v) > 64 { // dates have 29 bytes, in the longest old form 33
		return 0, false
	}
	date, err := http.ParseTime(v)
	if err != nil {
		return 0, false
	}
	// Date has whole seconds: less than two after it the clocks agree.
	if sent, err := http.ParseTime(h.Get("Date")); err == nil && (now.Before(sent) || now.Sub(sent) >= 2*time.Second) {
		now = sent
	}
	return max(0, date.Sub(now)), true // Sub saturates
}

// parseDelay reads a decimal number of units: digits with an optional
// fraction. RFC 9110 (section 10.2.3) has digits only; OpenAI's SDKs read
// fractions too. There is no sign, exponent, NaN or infinity to be wrong about.
func parseDelay(s string, unit time.Duration) (time.Duration, bool) {
	s = strings.Trim(s, " \t")
	whole, fraction, dot := strings.Cut(s, ".")
	if s == "" || len(s) > 64 || whole == "" || dot && fraction == "" {
		return 0, false
	}
	value, place := 0.0, 1.0
	for i := range len(s) {
		c := s[i]
		switch {
		case i == len(whole): // the dot
		case c < '0' || c > '9':
			return 0, false
		case i < len(whole):
			value = value*10 + float64(c-'0')
		default:
			place /= 10
			value += place * float64(c-'0')
		}
	}
	// Up to the next nanosecond, so that no wait ends too early.
	if value = math.Ceil(value * float64(unit)); value >= math.MaxInt64 {
		return math.MaxInt64, true
	}
	return time.Duration(value), true
}
