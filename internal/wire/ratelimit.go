package wire

import (
	"net/http"
	"strconv"
	"time"
)

// A RateLimit holds the x-ratelimit headers; middleware.RateLimit says what they
// are.
type RateLimit struct {
	LimitRequests, RemainingRequests int
	LimitTokens, RemainingTokens     int
	ResetRequests, ResetTokens       time.Duration
}

// ParseRateLimit reads the x-ratelimit headers.
func ParseRateLimit(h http.Header) RateLimit {
	return RateLimit{
		LimitRequests:     number(h, "X-Ratelimit-Limit-Requests"),
		RemainingRequests: number(h, "X-Ratelimit-Remaining-Requests"),
		LimitTokens:       number(h, "X-Ratelimit-Limit-Tokens"),
		RemainingTokens:   number(h, "X-Ratelimit-Remaining-Tokens"),
		ResetRequests:     span(h, "X-Ratelimit-Reset-Requests"),
		ResetTokens:       span(h, "X-Ratelimit-Reset-Tokens"),
	}
}

func number(h http.Header, name string) int {
	vv := h[name]
	if len(vv) == 0 {
		return -1
	}
	n, err := strconv.Atoi(vv[0])
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// span reads OpenAI's form, 6m0s, and Azure's, whole seconds.
func span(h http.Header, name string) time.Duration {
	vv := h[name]
	if len(vv) == 0 || vv[0] == "" {
		return 0
	}
	if last := vv[0][len(vv[0])-1]; last >= '0' && last <= '9' {
		return time.Duration(min(max(0, number(h, name)), 366*24*60*60)) * time.Second
	}
	d, err := time.ParseDuration(vv[0])
	if err != nil {
		return 0
	}
	return max(0, d)
}
