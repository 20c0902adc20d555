package sse_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/internal/sse"
)

// pieces returns at most n bytes of text at once.
type pieces struct {
	text string
	n    int
}

func (p *pieces) Read(b []byte) (int, error) {
	if p.text == "" {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.n)], p.text)
	p.text = p.text[n:]
	return n, nil
}

func read(r *sse.Reader) (out []string, err error) {
	for {
		ev, err := r.Next()
		if err != nil {
			return out, err
		}
		out = append(out, ev.Type+"|"+string(ev.Data))
	}
}

// slow is the specification's algorithm, word by word, on the whole text. It
// also returns the lines that belong to no event stream.
func slow(body string) (out []string, foreign string, isStream bool) {
	body = strings.TrimPrefix(body, "\xef\xbb\xbf")
	body = strings.ReplaceAll(strings.ReplaceAll(body, "\r\n", "\n"), "\r", "\n")
	lines := strings.Split(body, "\n")
	typ, data, any, fields, strange := "", "", false, false, false
	for i, line := range lines {
		if line == "" {
			if any && i < len(lines)-1 {
				out, foreign, strange = append(out, typ+"|"+data), "", false
			}
			if i < len(lines)-1 {
				typ, data, any = "", "", false
			}
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "event":
			typ = value[:min(len(value), 1<<10)]
			fields = true
		case "data":
			if any {
				data += "\n"
			}
			data, any, fields = data+value, true, true
		case "", "id", "retry":
			fields = true
		default:
			foreign, strange = foreign+line+"\n", true
		}
	}
	return out, foreign, len(out) > 0 || fields && !strange
}

func TestEventsAreTheSameHoweverTheyArrive(t *testing.T) {
	for name, tc := range map[string]struct {
		body string
		want []string
	}{
		"LF":            {"data: {\"a\":1}\n\ndata: {\"a\":2}\n\n", []string{`|{"a":1}`, `|{"a":2}`}},
		"CRLF":          {"data: 1\r\n\r\ndata: 2\r\n\r\n", []string{"|1", "|2"}},
		"CR":            {"data: 1\r\rdata: 2\r\r", []string{"|1", "|2"}},
		"mixed":         {"data: 1\r\n\ndata: 2\n\r\ndata: 3\r\r\n", []string{"|1", "|2", "|3"}},
		"no space":      {"data:1\n\nevent:a\ndata:2\n\n", []string{"|1", "a|2"}},
		"two spaces":    {"data:  1\n\n", []string{"| 1"}},
		"lines":         {"data: 1\ndata: 2\ndata\ndata: 3\n\n", []string{"|1\n2\n\n3"}},
		"comments":      {": hello\n\n:\ndata: 1\n: x\n\n", []string{"|1"}},
		"mark":          {"\xef\xbb\xbfdata: 1\n\n", []string{"|1"}},
		"mark, alone":   {"\xef\xbb\xbf\ndata: 1\n\n", []string{"|1"}},
		"mark, cut":     {"\xef\xbb data: 1\n\ndata: 2\n\n", []string{"|2"}},
		"mark, later":   {"data: 1\n\n\xef\xbb\xbfdata: 2\n\n", []string{"|1"}},
		"types":         {"event: a\ndata: 1\n\ndata: 2\n\nevent:b\nid: 7\nretry: 1\ndata: 3\n\n", []string{"a|1", "|2", "b|3"}},
		"two types":     {"event: a\nevent: b\ndata: 1\n\n", []string{"b|1"}},
		"only a type":   {"event: a\n\ndata: 2\n\n", []string{"|2"}},
		"long type":     {"event: " + strings.Repeat("t", 2000) + "\ndata: 1\n\n", []string{strings.Repeat("t", 1024) + "|1"}},
		"other fields":  {"datum: 1\neventual: x\ndata: 1\n\n", []string{"|1"}},
		"empty data":    {"data\n\ndata:\n\n", []string{"|", "|"}},
		"not finished":  {"data: 1\n\ndata: 2\n", []string{"|1"}},
		"long":          {"data: " + strings.Repeat("x", 100_000) + "\n\n", []string{"|" + strings.Repeat("x", 100_000)}},
		"nothing":       {"", nil},
		"blank":         {"\n\r\n\r", nil},
		"spaced fields": {" data: 1\ndata : 2\n\n", nil},
	} {
		for _, n := range []int{1, 2, 3, 5, 7, 64, 1 << 20} {
			got, err := read(sse.NewReader(&pieces{tc.body, n}, 1<<20))
			if !errors.Is(err, io.EOF) || fmt.Sprintf("%q", got) != fmt.Sprintf("%q", tc.want) {
				t.Errorf("%s in pieces of %d: %.100q (%v), want %.100q", name, n, got, err, tc.want)
			}
		}
	}
}

func TestWhatIsNoStreamIsKeptApart(t *testing.T) {
	for name, tc := range map[string]struct {
		body, foreign string
		isStream      bool
	}{
		"events":           {"data: 1\n\n", "", true},
		"comments alone":   {": ping\n\n", "", true},
		"nothing":          {"", "", false},
		"JSON":             {"{\"error\":\n{\"code\":1}}", "{\"error\":\n{\"code\":1}}\n", false},
		"a page":           {"<html>\n\n: css\n</html>\n", "<html>\n</html>\n", false},
		"JSON behind":      {"data: 1\n\n{\"error\":1}", "{\"error\":1}\n", true},
		"JSON before":      {"{\"error\":1}\ndata: 1\n\n", "", true},
		"more than a keep": {strings.Repeat("x", 1<<20), strings.Repeat("x", 64<<10), false},
	} {
		for _, n := range []int{1, 3, 1 << 20} {
			r := sse.NewReader(&pieces{tc.body, n}, 1<<20)
			_, _ = read(r)
			if got := string(r.Foreign()); got != tc.foreign || r.IsStream() != tc.isStream {
				t.Errorf("%s in pieces of %d: %d bytes are foreign, a stream: %t; want %d, %t", name, n, len(got), r.IsStream(), len(tc.foreign), tc.isStream)
			}
		}
	}
}

func TestTheUnfinishedEventCanBeAskedFor(t *testing.T) {
	for body, want := range map[string]string{
		"": "none", "data: 1\n\n": "none", "data: 1\n\nevent: x\n": "none", "data: 1\n\n: c": "none",
		"data: 1": "|1", "data: 1\n": "|1", "event: a\ndata: 1\nda": "a|1", "data: 1\n\ndata: [DON": "|[DON", "data: 1\n\nevent: e\ndata:": "e|",
	} {
		for n := 1; n < 4; n++ {
			r, got := sse.NewReader(&pieces{body, n}, 1<<20), "none"
			_, _ = read(r)
			if ev, ok := r.Pending(); ok {
				got = ev.Type + "|" + string(ev.Data)
			}
			if got != want {
				t.Errorf("%q in pieces of %d: %q, want %q", body, n, got, want)
			}
		}
	}
}

func TestAParserKeepsNoMoreDataThanItMay(t *testing.T) {
	const body = "event: e\ndata: 123456\n\ndata: 12\ndata: 34\n\ndata: 123\n\n"
	for n := 1; n <= len(body); n++ {
		p := sse.NewParser(4, 0)
		p.Buffer(make([]byte, 4))
		var got []string
		for rest := []byte(body); len(rest) > 0; {
			piece := rest[:min(n, len(rest))]
			taken, ended := p.Feed(piece)
			if rest = rest[taken:]; ended {
				data, whole := p.Data()
				got = append(got, fmt.Sprint(string(data), whole, p.TooLong(), p.Lines()))
			}
		}
		if want := []string{"1234false true 1", "12\n3false true 2", "123true false 1"}; fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Fatalf("in pieces of %d: %q, want %q", n, got, want)
		}
	}
}

func TestDoneMayHaveBlanksBehindIt(t *testing.T) {
	for body, want := range map[string]bool{
		"data: [DONE]\n\n": true, "data:[DONE]\n\n": true, "data: [DONE] \t\n\n": true, "event: x\ndata: [DONE]\n\n": true,
		"data: [DONE]x\n\n": false, "data: \"[DONE]\"\n\n": false, "data: [DONE]\ndata: x\n\n": false, "data:  [DONE]\n\n": false, "data: x\n\n": false,
	} {
		r := sse.NewReader(&pieces{body, 3}, 1<<20)
		if _, err := r.Next(); err != nil || r.Done() != want {
			t.Errorf("%q: done is %t (%v), want %t", body, r.Done(), err, want)
		}
	}
}

type forever string

func (f forever) Read(p []byte) (n int, err error) {
	for n < len(p) {
		n += copy(p[n:], f)
	}
	return n, nil
}

func TestAnEventWithoutEndCostsASmallMultipleOfTheLimit(t *testing.T) {
	const limit = 4 << 20
	for name, body := range map[string]io.Reader{
		"a line of data":     io.MultiReader(strings.NewReader("data: "), forever("x")),
		"many lines of data": forever("data: 0123456789\n"),
		"no field":           forever("x"),
		"a page":             forever("<p>\n"),
		"a type":             io.MultiReader(strings.NewReader("event: "), forever("x")),
		"a comment":          io.MultiReader(strings.NewReader(": "), forever("x")),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r := sse.NewReader(body, limit)
		_, err := read(r)
		runtime.ReadMemStats(&after)
		if !strings.Contains(err.Error(), "larger than 4194304 bytes") {
			t.Errorf("%s: %v", name, err)
		}
		most := uint64(3 * limit)
		if !strings.HasSuffix(name, "of data") {
			most = 512 << 10
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > most {
			t.Errorf("%s: %d KiB allocated, want at most %d", name, used>>10, most>>10)
		}
		if _, again := r.Next(); again == nil || again.Error() != err.Error() {
			t.Errorf("%s: the error did not stay: %v", name, again)
		}
	}
}

// If each CR cost a search through the rest, this would take hours.
func TestAStreamOfCRsTakesLinearTime(t *testing.T) {
	p := sse.NewParser(64, 64)
	body := bytes.Repeat([]byte("data:\r\r"), 8<<20)
	events := 0
	for len(body) > 0 {
		n, ended := p.Feed(body)
		if body = body[n:]; ended {
			events++
		}
	}
	if events != 8<<20 {
		t.Errorf("%d events, want %d", events, 8<<20)
	}
}

type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

func TestCommentsMayGoOnForLong(t *testing.T) {
	body := io.MultiReader(strings.NewReader(strings.Repeat(": ping\n\n", 1000)+"data: 1\n\n"), strings.NewReader(strings.Repeat("retry: 1\nid: 2\n", 1000)))
	if got, err := read(sse.NewReader(body, 100)); !errors.Is(err, io.EOF) || len(got) != 1 {
		t.Errorf("%q, %v", got, err)
	}
}

func TestAReaderThatBringsNothingIsAnError(t *testing.T) {
	if _, err := sse.NewReader(idle{}, 1<<20).Next(); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("got %v, want io.ErrNoProgress", err)
	}
}

func TestTheReadersOwnErrorComesAfterItsBytes(t *testing.T) {
	broken := errors.New("broken")
	r := sse.NewReader(io.MultiReader(strings.NewReader("data: 1\n\ndata: 2"), errReader{broken}), 1<<20)
	if got, err := read(r); !errors.Is(err, broken) || len(got) != 1 {
		t.Errorf("%q, %v", got, err)
	}
	if ev, ok := r.Pending(); !ok || string(ev.Data) != "2" {
		t.Errorf("the unfinished event is %q, %t", ev.Data, ok)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestReadingAllocatesNothingPerEvent(t *testing.T) {
	for _, chunk := range []string{"data: {\"choices\":[]}\n\n", "event: response.output_text.delta\ndata: {}\n\n", "data: 1\r\ndata: 2\r\n\r\n"} {
		r := sse.NewReader(forever(chunk), 1<<20)
		for range 2000 { // the buffers have grown
			_, _ = r.Next()
		}
		if n := testing.AllocsPerRun(1000, func() { _, _ = r.Next() }); n != 0 {
			t.Errorf("%q: %v allocations, want none", chunk, n)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add("data: 1\n\ndata: [DONE]\n\n", uint8(1), uint8(200))
	f.Add("event: a\r\ndata: 1\r\ndata: 2\r\n\r\n\xef\xbb\xbf:x\n\n", uint8(3), uint8(4))
	f.Add("\xef\xbb\xbfdata\n\ndata\r\rdata:\n\r\n{\"error\":1}", uint8(2), uint8(9))
	f.Fuzz(func(t *testing.T, body string, n, limit uint8) {
		if len(body) > 1<<16 {
			return
		}
		want, foreign, isStream := slow(body)
		r := sse.NewReader(&pieces{body, int(n) + 1}, 1<<20)
		got, err := read(r)
		if !errors.Is(err, io.EOF) || fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Fatalf("%q (%v), want %q", got, err, want)
		}
		if text := string(r.Foreign()); text != foreign[:min(len(foreign), 64<<10)] || r.IsStream() != isStream {
			t.Fatalf("%q is foreign, a stream: %t; want %q, %t", text, r.IsStream(), foreign, isStream)
		}
		// With a small limit the same events come until one is too long.
		short := sse.NewReader(&pieces{body, int(n) + 1}, int(limit))
		for i := 0; ; i++ {
			ev, err := short.Next()
			switch {
			case errors.Is(err, io.EOF) && i == len(want):
				return
			case err != nil && strings.Contains(err.Error(), "larger than"):
				return
			case err != nil || i == len(want) || len(ev.Data) > int(limit) || ev.Type+"|"+string(ev.Data) != want[i]:
				t.Fatalf("limit %d: event %d of %d: %q, %v", limit, i, len(want), ev.Data, err)
			}
		}
	})
}
