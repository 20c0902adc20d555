package leaf

import (
	"errors"
	"strings"
	"time"
)

// ParseExpiry reads when a key ends, as people write it beside the key: a time
// as in RFC 3339, or a day, which begins in UTC. Its error does not quote text.
func ParseExpiry(text string) (time.Time, error) {
	text = strings.TrimSpace(text)
	for _, layout := range [...]string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, errors.New("it is neither a time such as 2027-01-31T12:00:00Z nor a day such as 2027-01-31")
}
