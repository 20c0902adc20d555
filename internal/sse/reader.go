package sse

import (
	"fmt"
	"io"
)

const (
	bufferSize = 8 << 10
	// maxEmptyReads bounds the reads in a row that return no byte and no
	// error: a reader that goes on like this is broken.
	maxEmptyReads = 100
	// maxForeignText is how much a Reader keeps of what is no event stream.
	maxForeignText = 64 << 10
)

// An Event is one event of a stream.
type Event struct {
	// Type is the event field; it may be empty.
	Type string
	// Data is the data field. It is valid until the next event is read.
	Data []byte
}

// A Reader reads the events of a stream. It is not safe for concurrent use.
type Reader struct {
	r        io.Reader
	buf      []byte
	from, to int // the unread part is buf[from:to]
	parser   Parser
	maxEvent int
	lastType string // so that a row of events of one type costs one string
	err      error
}

// NewReader returns a Reader of r. An event whose data is longer than maxEvent
// bytes is an error.
func NewReader(r io.Reader, maxEvent int) *Reader {
	return &Reader{r: r, buf: make([]byte, bufferSize), parser: NewParser(maxEvent, maxForeignText), maxEvent: maxEvent}
}

// Next returns the next event that has data. The error is io.EOF, that of the
// underlying reader, io.ErrNoProgress, or says that an event is too large; it
// stays. What has come of an event that was not finished is dropped, as the
// specification says; see Pending.
func (r *Reader) Next() (Event, error) {
	for {
		n, ended := r.parser.Feed(r.buf[r.from:r.to])
		r.from += n
		switch {
		case r.parser.TooLong():
			r.from, r.to = 0, 0
			r.err = fmt.Errorf("an event is larger than %d bytes", r.maxEvent)
		case ended:
			return r.event(), nil
		}
		if r.err != nil {
			return Event{}, r.err
		}
		r.fill()
	}
}

func (r *Reader) fill() {
	r.from = 0
	for range maxEmptyReads {
		n, err := r.r.Read(r.buf)
		r.to, r.err = n, err
		if n > 0 || err != nil {
			return
		}
	}
	r.err = io.ErrNoProgress
}

func (r *Reader) event() Event {
	name, _ := r.parser.Type()
	if string(name) != r.lastType {
		r.lastType = string(name)
	}
	data, _ := r.parser.Data()
	return Event{Type: r.lastType, Data: data}
}

// Done reports whether the event that Next returned is the "[DONE]" that ends
// a stream.
func (r *Reader) Done() bool { return r.parser.Done() }

// Pending returns, after Next has failed, the event that the stream did not
// finish. It may be cut anywhere. It is not ok if there is none.
func (r *Reader) Pending() (ev Event, ok bool) {
	if r.parser.TooLong() || !r.parser.Finish() {
		return Event{}, false
	}
	return r.event(), true
}

// IsStream reports whether what was read looks like an event stream.
func (r *Reader) IsStream() bool { return r.parser.IsStream() }

// Foreign returns, after Next has failed, the beginning of the lines that belong
// to no event stream, since the last event.
func (r *Reader) Foreign() []byte {
	r.parser.Finish()
	return r.parser.Foreign()
}
