package client

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

const (
	doneMark    = "[DONE]"
	errorMark   = `{"error":`
	byteOrder   = "\xef\xbb\xbf"
	firstBuffer = 8 << 10
)

// A decoder reads server-sent events from r. An event's data of one line is
// handed out where it was read, without a copy.
type decoder struct {
	r    io.Reader
	buf  []byte
	from int // the unread part is buf[from:to]
	to   int
	seen int   // buf[from:seen] holds no end of line
	skip bool  // the line feed of a carriage return that ended the last line
	any  bool  // a line has been read: no byte order mark any more
	err  error // of r

	typ   string
	data  []byte // of an event with more than one data line
	lines int
}

func newDecoder(r io.Reader) *decoder { return &decoder{r: r, buf: make([]byte, firstBuffer)} }

// next returns the next event that has data. Its Data is valid until the next
// call. The error is io.EOF or the reader's; what has come of an unfinished
// event is dropped, as the specification says.
func (d *decoder) next() (Event, error) {
	d.typ, d.lines, d.data = "", 0, d.data[:0]
	for {
		line, err := d.line()
		if err != nil {
			return Event{}, err
		}
		if len(line) == 0 {
			if d.lines == 0 {
				d.typ = ""
				continue
			}
			return Event{Type: d.typ, Data: d.data}, nil
		}
		if value, ok := cutPrefix(line, "data:"); ok {
			if err := d.append(value); err != nil {
				return Event{}, err
			}
			continue
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch string(name) {
		case "event":
			d.typ = eventType(trimSpace(value))
		case "data":
			if err := d.append(nil); err != nil {
				return Event{}, err
			}
		}
	}
}

// append adds a data line. The copy costs less than keeping the buffer in
// place until the blank line.
func (d *decoder) append(value []byte) error {
	if d.lines > 0 {
		d.data = append(d.data, '\n')
	}
	d.lines++
	value = trimSpace(value)
	if len(d.data)+len(value) > MaxResponseBody {
		return errEventTooLarge()
	}
	d.data = append(d.data, value...)
	return nil
}

func cutPrefix(b []byte, prefix string) ([]byte, bool) {
	if len(b) >= len(prefix) && string(b[:len(prefix)]) == prefix {
		return b[len(prefix):], true
	}
	return b, false
}

func trimSpace(value []byte) []byte {
	if len(value) > 0 && value[0] == ' ' {
		return value[1:]
	}
	return value
}

// line returns the next line without its end: LF, CRLF or CR.
func (d *decoder) line() ([]byte, error) {
	for {
		if d.skip && d.from < d.to {
			if d.buf[d.from] == '\n' {
				d.from++
			}
			d.skip = false
			d.seen = max(d.seen, d.from)
		}
		if i := endOfLine(d.buf[d.seen:d.to]); i >= 0 {
			end := d.seen + i
			line := d.buf[d.from:end]
			d.skip = d.buf[end] == '\r'
			d.from, d.seen = end+1, end+1
			if !d.any {
				d.any = true
				line, _ = cutPrefix(line, byteOrder)
			}
			return line, nil
		}
		d.seen = d.to
		if err := d.fill(); err != nil {
			return nil, err
		}
	}
}

// endOfLine finds the first LF or CR. Nearly every stream has LF only.
func endOfLine(b []byte) int {
	i := bytes.IndexByte(b, '\n')
	head := b
	if i >= 0 {
		head = b[:i]
	}
	if j := bytes.IndexByte(head, '\r'); j >= 0 {
		return j
	}
	return i
}

func (d *decoder) fill() error {
	if d.err != nil {
		return d.err
	}
	if d.from > 0 {
		copy(d.buf, d.buf[d.from:d.to])
		d.to, d.seen, d.from = d.to-d.from, d.seen-d.from, 0
	}
	if d.to == len(d.buf) {
		if len(d.buf) >= MaxResponseBody {
			return errEventTooLarge()
		}
		grown := make([]byte, min(2*len(d.buf), MaxResponseBody))
		copy(grown, d.buf[:d.to])
		d.buf = grown
	}
	for range 100 { // a reader that returns nothing forever is broken
		n, err := d.r.Read(d.buf[d.to:])
		d.to += n
		if err != nil {
			d.err = err
		}
		if n > 0 {
			return nil
		}
		if err != nil {
			return err //nolint:wrapcheck // io.EOF has to stay bare
		}
	}
	return io.ErrNoProgress
}

// failure makes of io.EOF what it means: nothing at all, if the stream guard
// let it through, for then the stream is complete or the guard is off.
func (d *decoder) failure(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func errEventTooLarge() error { return fmt.Errorf("an event is larger than %d bytes", MaxResponseBody) }

// eventType spares the allocation for the commonest events of the Responses
// API.
func eventType(b []byte) string {
	switch string(b) {
	case "response.output_text.delta":
		return "response.output_text.delta"
	case "response.function_call_arguments.delta":
		return "response.function_call_arguments.delta"
	case "response.reasoning_summary_text.delta":
		return "response.reasoning_summary_text.delta"
	}
	return string(b)
}
