package sse_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/internal/sse"
)

// Wherever a stream is split in two, its events are those of the specification.
func TestEventsAreTheSameWhereverTheyAreSplit(t *testing.T) {
	for _, body := range []string{
		": a\rdata: 1\n\ndata: 2\r\ndata: 3\r\n\r\n",
		"\xef\xbb\xbf\rdata: 1\r\n\n\rdata: 2\n\r",
		"data: 1\n\xef\xbb\xbfdata: 2\n\n",
		"\n\xef\xbb\xbfdata: 1\n\ndata: 2\n\n",
		"\xef\xbbdata: 1\n\n\xefdata\n\nevent\ndata: 2\n\n",
		"data: 1\n{\"error\":1}\n",
		"data: [DONE]\rdata:\r\n\r\n",
		"\xef\xbb\xbf\n", "{",
	} {
		want, foreign, isStream := slow(body)
		for at := range len(body) + 1 {
			r := sse.NewReader(io.MultiReader(strings.NewReader(body[:at]), strings.NewReader(body[at:])), 1<<20)
			got, err := read(r)
			if !errors.Is(err, io.EOF) || fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
				t.Errorf("%q split at %d: %q (%v), want %q", body, at, got, err, want)
			}
			if text := string(r.Foreign()); text != foreign || r.IsStream() != isStream {
				t.Errorf("%q split at %d: %q is foreign, a stream: %t; want %q, %t", body, at, text, r.IsStream(), foreign, isStream)
			}
		}
	}
}

// each calls f for each event of body, which comes in pieces of n bytes.
func each(p *sse.Parser, body string, n int, f func()) {
	for rest := []byte(body); len(rest) > 0; {
		taken, ended := p.Feed(rest[:min(n, len(rest))])
		if rest = rest[taken:]; ended {
			f()
		}
	}
}

// A type that is too long is known to be cut, and makes no other one cut.
func TestATypeThatIsCutIsKnownToBe(t *testing.T) {
	long := "event: " + strings.Repeat("t", 2000) + "\n"
	const whole, cut = "true", "false"
	for body, want := range map[string]string{
		"event: a\ndata: 1\n\n":             whole,
		long + "data: 1\n\n":                cut,
		long + "event: a\ndata: 1\n\n":      whole,
		long + "\ndata: 1\n\n":              whole, // an event without data is none
		long + "data: 1\n\ndata: 2\n\n":     cut + whole,
		"event: a\n" + long + "data: 1\n\n": cut,
	} {
		for _, n := range []int{1, 7, 1 << 20} {
			p, got := sse.NewParser(100, 100), ""
			each(&p, body, n, func() {
				_, whole := p.Type()
				got += fmt.Sprint(whole)
			})
			if got != want {
				t.Errorf("%.20q..., %d bytes, in pieces of %d: %s, want %s", body, len(body), n, got, want)
			}
		}
	}
}

// What is too long is so however it arrives, and spoils no later event.
func TestTooLongIsTheSameHoweverItArrives(t *testing.T) {
	long := strings.Repeat("x", 200)
	for body, want := range map[string]string{
		"data: 1\n\n" + ": " + long + "\ndata: 1\n\ndata: 2\n\n":        "false true false ",
		"id: " + long + "\ndata: 1\n\ndata: 2\n\n":                      "true false ",
		"data: " + long + "\n\ndata: 2\n\n":                             "true false ",
		long + "\ndata: 1\n\ndata: 2\n\n":                               "true false ",
		"other\ndata: 1\n\n" + "other\ndata: 2\n\n":                     "false false ",
		strings.Repeat("some other line\ndata: 1\n\n", 20):              strings.Repeat("false ", 20),
		strings.Repeat(": a comment, and a comment\n", 20) + "data\n\n": "false ",
	} {
		for _, n := range []int{1, 7, 1 << 20} {
			p, got := sse.NewParser(100, 100), ""
			each(&p, body, n, func() { got += fmt.Sprint(p.TooLong(), " ") })
			if got != want {
				t.Errorf("%.20q... in pieces of %d: %s, want %s", body, n, got, want)
			}
		}
	}
}

// The room for the data is no larger than the data may be.
func TestTheRoomForTheDataIsBounded(t *testing.T) {
	for _, limit := range []int{10, 300, 1000} {
		p := sse.NewParser(limit, 0)
		each(&p, "data: "+strings.Repeat("x", 2*limit)+"\n\n", 1, func() {
			if data, whole := p.Data(); len(data) != limit || cap(data) > limit || whole {
				t.Errorf("%d bytes in a room of %d, whole: %t; want %d of a longer one", len(data), cap(data), whole, limit)
			}
		})
	}
}

// What begins with [DONE] and was cut there is not the end.
func TestDoneIsWhole(t *testing.T) {
	p := sse.NewParser(len("[DONE]"), 0)
	var got []bool
	each(&p, "data: [DONE], says the model\n\ndata: [DONE]\n\n", 5, func() { got = append(got, p.Done()) })
	if fmt.Sprint(got) != "[false true]" {
		t.Errorf("done: %v, want the second alone", got)
	}
}

// A pausing reader brings nothing for so many reads, and then its text.
type pausing struct {
	pauses int
	text   string
}

func (p *pausing) Read(b []byte) (int, error) {
	if p.pauses--; p.pauses >= 0 {
		return 0, nil
	}
	if p.text == "" {
		return 0, io.EOF
	}
	n := copy(b, p.text)
	p.text = p.text[n:]
	return n, nil
}

func TestAReaderMayBringNothingNowAndThen(t *testing.T) {
	got, err := read(sse.NewReader(&pausing{pauses: 99, text: "data: 1\n\n"}, 100))
	if !errors.Is(err, io.EOF) || len(got) != 1 {
		t.Errorf("%q, %v, want one event", got, err)
	}
	if _, err := read(sse.NewReader(&pausing{pauses: 100, text: "data: 1\n\n"}, 100)); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("after 100 reads of nothing: %v", err)
	}
}

// Of an event that is too large nothing is given away, nor of what follows it.
func TestNothingComesAfterAnEventThatIsTooLarge(t *testing.T) {
	for name, body := range map[string]string{
		"its end has come":     "data: " + strings.Repeat("x", 200) + "\n\ndata: 2\n\ndata: 3",
		"its end has not come": "data: " + strings.Repeat("x", 200),
	} {
		for _, n := range []int{1, 7, 1 << 20} {
			r := sse.NewReader(&pieces{body, n}, 100)
			for range 3 {
				if ev, err := r.Next(); err == nil || !strings.Contains(err.Error(), "larger than 100 bytes") {
					t.Errorf("%s, in pieces of %d: %q, %v", name, n, ev.Data, err)
				}
			}
			if ev, ok := r.Pending(); ok {
				t.Errorf("%s, in pieces of %d: %d bytes are pending", name, n, len(ev.Data))
			}
		}
	}
}
