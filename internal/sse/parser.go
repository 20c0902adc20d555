package sse

import "bytes"

const (
	byteOrderMark = "\xef\xbb\xbf"
	// headSize is how many bytes of a line tell its field: a byte order mark,
	// the longest name, the colon, the space after it and one more.
	headSize = len(byteOrderMark) + len("event") + len(": ") + 1
	// maxType bounds the type of an event, in bytes.
	maxType = 1 << 10
)

// A field is what a line sets.
type field uint8

const (
	undecided field = iota // too little of the line has come
	dataField
	eventField
	otherField // a comment, an id or a retry time
	foreign    // no line of an event stream
)

// A Parser splits a stream into events. The zero Parser keeps no data; make one
// with [NewParser]. It is not safe for concurrent use.
type Parser struct {
	maxData, maxForeign int
	pieces              func([]byte) // takes what is too long for the buffer; nil is none

	// The line so far.
	field field
	head  [headSize]byte
	n     int  // bytes in head, while field is undecided
	cr    bool // the last byte was a CR: a LF belongs to it
	clear int  // so many bytes ahead hold no LF
	later bool // the first line is over
	size  int  // of the line, in bytes

	// The event so far.
	ended     bool
	lines     int // of data
	data      []byte
	view      []byte // the data, while it is still where it was read; else nil
	typ       []byte
	truncated bool
	typeCut   bool
	tooLong   bool // a line of it that is no data
	spilled   bool // its data goes to pieces
	feed      [1]byte

	// The stream so far.
	events  bool   // it has brought events
	fields  bool   // or at least lines of an event stream
	strange int    // bytes of others, since the last event
	text    []byte // the beginning of those
}

// NewParser returns a Parser that keeps at most maxData bytes of the data of an
// event, and at most maxForeign bytes of lines that belong to no event stream.
// Neither may be negative.
func NewParser(maxData, maxForeign int) Parser {
	return Parser{maxData: maxData, maxForeign: maxForeign}
}

// Buffer makes room the buffer of the data, until an event needs a larger one.
// It must be called before Feed.
func (s *Parser) Buffer(room []byte) { s.data = room[:0] }

// Pieces makes f take the data of events for which the buffer is too small: it
// is called with each piece of it, and Data is empty then. The data of an event
// that comes in one piece is not copied, and Data is all of it. It must be called
// before Feed.
func (s *Parser) Pieces(f func(piece []byte)) { s.pieces = f }

// Feed takes the bytes of p up to the end of the next event, or all of them. It
// returns how many it took, and whether an event has ended with them: then
// Type and Data describe it until the next call. The next call must begin with
// the bytes that this one did not take.
func (s *Parser) Feed(p []byte) (n int, ended bool) {
	if s.ended {
		s.nextEvent()
	}
	for n < len(p) {
		if s.cr {
			if s.cr = false; p[n] == '\n' {
				n++
				continue
			}
		}
		end := s.endOfLine(p[n:])
		if end < 0 {
			s.part(p[n:])
			n = len(p)
			break
		}
		line := p[n : n+end]
		s.cr = p[n+end] == '\r'
		n += end + 1
		if s.line(line) {
			return n, true
		}
	}
	s.keepView()
	return n, false
}

// endOfLine returns the index of the first LF or CR in p, or -1. It searches no
// byte twice for a LF, so that a stream of nothing but CRs takes linear time.
func (s *Parser) endOfLine(p []byte) int {
	lf := min(s.clear, len(p))
	if i := bytes.IndexByte(p[lf:], '\n'); i >= 0 {
		lf += i
	} else {
		lf = len(p)
	}
	end := bytes.IndexByte(p[:lf], '\r')
	if end < 0 && lf < len(p) {
		end = lf
	}
	if end < 0 {
		s.clear = 0 // all of p will be taken
	} else {
		s.clear = max(0, lf-end-1)
	}
	return end
}

// part takes bytes of a line whose end has not come.
func (s *Parser) part(p []byte) {
	s.measure(p)
	if s.field == undecided {
		k := copy(s.head[s.n:], p)
		s.n += k
		p = p[k:]
		value, ok := s.decide(s.head[:s.n], false)
		if !ok {
			return
		}
		s.append(value)
	}
	s.append(p)
}

// measure bounds lines that no event is made of: they cost nothing, but one
// without end would keep the reader for ever.
func (s *Parser) measure(p []byte) {
	if s.size += len(p); s.size > s.maxData+headSize {
		s.tooLong = true
	}
}

// line takes the last bytes of a line and reports whether an event has ended.
func (s *Parser) line(p []byte) (ended bool) {
	if s.n == 0 && s.field == undecided {
		if len(p) == 0 {
			s.later = true
			return s.endEvent()
		}
		s.measure(p)
		value, _ := s.decide(p, true)
		s.take(value)
	} else {
		if s.part(p); s.field == undecided {
			value, _ := s.decide(s.head[:s.n], true)
			s.append(value)
		}
	}
	if s.field == foreign {
		s.append(s.lineFeed())
	}
	s.field, s.n, s.size, s.later = undecided, 0, 0, true
	return false
}

// decide finds out which field a line sets, and returns what of line is its
// value. It is not ok as long as more of the line is needed. A line of nothing
// but a byte order mark stays undecided.
func (s *Parser) decide(line []byte, whole bool) (value []byte, ok bool) {
	if !s.later {
		line = bytes.TrimPrefix(line, []byte(byteOrderMark))
	}
	const longest = len("event")
	colon := bytes.IndexByte(line[:min(len(line), longest+1)], ':')
	switch {
	case len(line) == 0:
		return nil, false
	case colon < 0 && len(line) <= longest && !whole:
		return nil, false
	case colon >= 0 && len(line) == colon+1 && !whole:
		return nil, false // there may be a space
	}
	name := line
	if colon >= 0 {
		name, value = line[:colon], line[colon+1:]
		if len(value) > 0 && value[0] == ' ' {
			value = value[1:]
		}
	}
	switch string(name) {
	case "data":
		s.field = dataField
	case "event":
		s.field, s.typeCut, s.typ = eventField, false, s.typ[:0]
	case "", "id", "retry":
		s.field = otherField
	default:
		s.field = foreign
		return line, true
	}
	s.fields = true
	if s.field == dataField {
		s.beginData()
	}
	return value, true
}

// beginData begins a line of data.
func (s *Parser) beginData() {
	if s.lines++; s.lines > 1 {
		s.keepView()
		s.appendData(s.lineFeed())
	}
}

// lineFeed is a slice that does not have to be allocated.
func (s *Parser) lineFeed() []byte {
	s.feed[0] = '\n'
	return s.feed[:]
}

// take is append for a value that is there as a whole. The only line of data is
// left where it is until Feed returns.
func (s *Parser) take(value []byte) {
	if s.field == dataField && s.lines == 1 {
		s.view = value
		return
	}
	s.append(value)
}

func (s *Parser) append(value []byte) {
	switch s.field {
	case dataField:
		s.appendData(value)
	case eventField:
		if room := maxType - len(s.typ); len(value) > room {
			value, s.typeCut = value[:room], true
		}
		s.typ = append(s.typ, value...)
	case foreign:
		if s.strange += len(value); s.strange > s.maxData {
			s.tooLong = true
		}
		if room := s.maxForeign - len(s.text); len(value) > room {
			value = value[:room]
		}
		s.text = append(s.text, value...)
	}
}

// appendData doubles the buffer: append would allocate five times what the
// largest event holds until it is there.
func (s *Parser) appendData(value []byte) {
	if s.pieces != nil && (s.spilled || len(s.data)+len(value) > s.maxData) {
		s.spill(value)
		return
	}
	if room := s.maxData - len(s.data); len(value) > room {
		value, s.truncated = value[:room], true
	}
	need := len(s.data) + len(value)
	if need > cap(s.data) {
		grown := make([]byte, len(s.data), min(max(need, 2*cap(s.data), 256), max(need, s.maxData)))
		copy(grown, s.data)
		s.data = grown
	}
	s.data = append(s.data, value...)
}

func (s *Parser) spill(value []byte) {
	if !s.spilled {
		s.spilled = true
		s.pieces(s.data)
		s.data = s.data[:0]
	}
	s.pieces(value)
}

// keepView copies data that is still in the bytes of Feed's caller.
func (s *Parser) keepView() {
	if s.view != nil {
		view := s.view
		s.view = nil
		s.appendData(view)
	}
}

// endEvent dispatches the event. One without data is none.
func (s *Parser) endEvent() bool {
	if s.lines == 0 {
		s.typ, s.typeCut = s.typ[:0], false
		return false
	}
	if len(s.view) > s.maxData && s.pieces == nil {
		s.view, s.truncated = s.view[:s.maxData], true
	}
	s.ended, s.events = true, true
	s.strange, s.text = 0, s.text[:0]
	return true
}

func (s *Parser) nextEvent() {
	s.ended, s.lines, s.truncated, s.typeCut, s.tooLong, s.spilled = false, 0, false, false, false, false
	s.data, s.view, s.typ = s.data[:0], nil, s.typ[:0]
}

// Finish tells that the stream has ended. It reports whether data of an event
// was there that the stream did not dispatch, and which Type and Data describe
// then. It may be cut.
func (s *Parser) Finish() bool {
	if s.ended {
		s.nextEvent()
	}
	if s.n > 0 {
		s.line(nil)
	}
	return s.lines > 0
}

// Type is the type of the event; whole is false if it was too long.
func (s *Parser) Type() (name []byte, whole bool) { return s.typ, !s.typeCut }

// Data is the data of the event, lines joined by LF; whole is false if it was
// longer than the Parser keeps. It is valid until the next call of Feed.
func (s *Parser) Data() (data []byte, whole bool) {
	if s.view != nil {
		return s.view, !s.truncated
	}
	return s.data, !s.truncated
}

// Lines is the number of data lines of the event.
func (s *Parser) Lines() int { return s.lines }

// TooLong reports whether there is more data than the Parser keeps, or as much
// in a line that is no data, or in lines that belong to no event stream.
func (s *Parser) TooLong() bool { return s.truncated || s.tooLong }

// Done reports whether the event is the "[DONE]" that ends a stream. Some
// services put blanks behind it.
func (s *Parser) Done() bool {
	data, whole := s.Data()
	return whole && len(data) >= len("[DONE]") && data[0] == '[' && string(bytes.TrimRight(data, " \t")) == "[DONE]"
}

// Events reports whether the stream has brought an event.
func (s *Parser) Events() bool { return s.events }

// IsStream reports whether what has come looks like an event stream: it has
// brought events, or lines of an event stream and no others.
func (s *Parser) IsStream() bool { return s.events || s.fields && s.strange == 0 }

// Foreign is the beginning of the lines that belong to no event stream, since
// the last event: a page or a document in place of the stream, or behind it.
func (s *Parser) Foreign() []byte { return s.text }
