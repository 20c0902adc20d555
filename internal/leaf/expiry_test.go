package leaf_test

import (
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/internal/leaf"
)

func TestAnExpiryIsATimeOrADay(t *testing.T) {
	day := time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"2027-01-31":                    day,
		" 2027-01-31\n":                 day,
		"2027-01-31T12:30:00Z":          day.Add(12*time.Hour + 30*time.Minute),
		"2027-01-31T12:30:00.250+02:00": day.Add(10*time.Hour + 30*time.Minute + 250*time.Millisecond),
	} {
		if got, err := leaf.ParseExpiry(text); err != nil || !got.Equal(want) {
			t.Errorf("%q is %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "CANARY", "31.01.2027", "01/31/2027", "2027-02-30", "1800000000", "2027-01-31 12:30"} {
		if _, err := leaf.ParseExpiry(text); err == nil || text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
