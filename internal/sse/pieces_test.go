package sse_test

import (
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/internal/sse"
)

func TestDataThatIsTooLongComesInPiecesAndInOrder(t *testing.T) {
	long := "0123456789abcdefghijklmnopqrstuvwxyz"
	for n := 1; n <= 20; n++ {
		p := sse.NewParser(8, 0)
		var got strings.Builder
		p.Pieces(func(piece []byte) { got.Write(piece) })
		var ends []string
		each(&p, "data: 01234\ndata: 56789\n\ndata: short\n\ndata: "+long+"\n\n", n, func() {
			data, whole := p.Data()
			if !whole {
				t.Errorf("in pieces of %d: the data is cut", n)
			}
			ends = append(ends, got.String()+string(data))
			got.Reset()
		})
		if want := []string{"01234\n56789", "short", long}; strings.Join(ends, "|") != strings.Join(want, "|") {
			t.Errorf("in pieces of %d: %q, want %q", n, ends, want)
		}
	}
}

func TestDataThatComesAtOnceIsNotCopied(t *testing.T) {
	p := sse.NewParser(8, 0)
	p.Pieces(func(piece []byte) { t.Errorf("a piece of %d bytes", len(piece)) })
	body := []byte("data: 0123456789\n\n")
	if _, ended := p.Feed(body); !ended {
		t.Fatal("no event")
	}
	if data, whole := p.Data(); !whole || string(data) != "0123456789" || &data[0] != &body[len("data: ")] {
		t.Errorf("%q, whole: %t, want all of it where it was", data, whole)
	}
}
