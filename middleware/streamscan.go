package middleware

import "bytes"

// A dialect tells how a stream says that it is done.
type dialect uint8

const (
	otherStream dialect = iota
	doneStream          // data: [DONE]
	typedStream         // an event of a terminal type
)

// keptLine is how much of a line is looked at. The longest that matters is
// `data: {"type": "response.incomplete"` with some spaces.
const keptLine = 96

// A streamScan reads server-sent events (WHATWG HTML, section 9.2) and finds
// the terminal one. Its state is of a fixed size, whatever the peer sends, and
// how the bytes are cut into chunks makes no difference.
type streamScan struct {
	dialect dialect
	done    bool // the terminal event was there

	line   [keptLine]byte
	length int  // of the line, kept or not; it stops at keptLine+1
	cr     bool // the last byte was a CR: a LF belongs to it
	later  bool // the first line is over

	// The event so far.
	data     int  // data lines, up to 2
	marker   bool // its first data line is [DONE]
	terminal bool // its type is a terminal one

	// What was understood of the stream.
	events bool // it has brought events
	typed  bool // and their types could be read
}

// write takes the next bytes. IndexByte is much faster than a loop over them,
// and two nested passes keep it linear for a peer that sends nothing but CRs.
func (s *streamScan) write(p []byte) {
	for len(p) > 0 && !s.done {
		lf := bytes.IndexByte(p, '\n')
		if lf < 0 {
			s.writeLine(p)
			return
		}
		s.writeLine(p[:lf])
		if s.cr {
			s.cr = false // CR LF is one end
		} else {
			s.endLine()
		}
		p = p[lf+1:]
	}
}

// writeLine takes bytes without LF; a CR among them ends a line.
func (s *streamScan) writeLine(p []byte) {
	for len(p) > 0 {
		cr := bytes.IndexByte(p, '\r')
		if cr < 0 {
			s.cr = false
			s.keep(p)
			return
		}
		s.keep(p[:cr])
		s.endLine()
		s.cr = true
		p = p[cr+1:]
	}
}

func (s *streamScan) keep(part []byte) {
	if s.length < keptLine {
		copy(s.line[s.length:], part)
	}
	s.length = min(s.length+len(part), keptLine+1)
}

func (s *streamScan) endLine() {
	line := s.line[:min(s.length, keptLine)]
	whole := s.length <= keptLine
	s.length = 0
	if !s.later {
		s.later = true
		line = bytes.TrimPrefix(line, []byte("\xEF\xBB\xBF"))
	}
	if len(line) == 0 {
		s.endEvent()
		return
	}
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(name) {
	case "event":
		s.setType(value, whole)
	case "data":
		if s.data = min(s.data+1, 2); s.data == 1 {
			s.marker = whole && string(bytes.TrimRight(value, " \t")) == "[DONE]"
			s.typeFirst(value)
		}
	}
}

// endEvent takes the event as dispatched. One without data is none.
func (s *streamScan) endEvent() {
	if s.data > 0 {
		s.events = true
		s.done = s.marked() || s.terminal && s.dialect == typedStream
	}
	s.data, s.marker, s.terminal = 0, false, false
}

func (s *streamScan) marked() bool { return s.marker && s.data == 1 }

func (s *streamScan) setType(name []byte, whole bool) {
	s.terminal = false
	if !whole {
		return
	}
	switch string(name) {
	case "response.completed", "response.failed", "response.incomplete", "error":
		s.typed, s.terminal = true, true
	default:
		s.typed = s.typed || bytes.HasPrefix(name, []byte("response."))
	}
}

// typeFirst reads the type from data that begins with {"type":"...": some
// gateways drop the event lines.
func (s *streamScan) typeFirst(data []byte) {
	for _, token := range [...]string{"{", `"type"`, ":", `"`} {
		data = bytes.TrimLeft(data, " \t")
		if len(data) < len(token) || string(data[:len(token)]) != token {
			return
		}
		data = data[len(token):]
	}
	if name, _, ok := bytes.Cut(data, []byte(`"`)); ok {
		terminal := s.terminal
		s.setType(name, true)
		s.terminal = s.terminal || terminal
	}
}

// complete reports, at the end of the stream, whether it may end here. A last
// [DONE] counts without the empty line after it. An event that was not
// dispatched does not, for its data may be cut. A stream whose events have no
// type that we can read is not judged.
func (s *streamScan) complete() bool {
	if s.done {
		return true
	}
	if s.length > 0 {
		s.endLine()
	}
	if s.marked() {
		s.done = true
		return true
	}
	return s.dialect == typedStream && s.events && !s.typed
}
