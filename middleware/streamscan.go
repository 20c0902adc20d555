package middleware

import (
	"bytes"

	"github.com/latchkey-go/latchkey/internal/sse"
	"github.com/latchkey-go/latchkey/internal/wire"
)

// A dialect tells how a stream says that it is done.
type dialect uint8

const (
	otherStream dialect = iota // nobody knows
	doneStream                 // data: [DONE]
	typedStream                // an event of a terminal type
)

const (
	// keptData is how much of the data of an event is looked at. The longest
	// that matters is {"type": "response.incomplete" with some spaces.
	keptData = 96
	// keptText is how much is kept of what comes in place of a stream.
	keptText = 4 << 10
)

// A streamScan follows a stream and finds its terminal event. Its state is of a
// bounded size, whatever the peer sends, and how the bytes are cut into chunks
// makes no difference.
type streamScan struct {
	dialect dialect
	asked   bool // the request asked for a stream
	done    bool // the terminal event was there
	typed   bool // the types of its events could be read
	parser  sse.Parser
	room    [keptData]byte
}

func (s *streamScan) init(d dialect, asked bool) {
	s.dialect, s.asked, s.parser = d, asked, sse.NewParser(keptData, keptText)
	s.parser.Buffer(s.room[:])
}

// write takes the next bytes.
func (s *streamScan) write(p []byte) {
	for len(p) > 0 && !s.done {
		n, ended := s.parser.Feed(p)
		if p = p[n:]; ended {
			s.done = s.parser.Done() || s.dialect == typedStream && s.terminal()
		}
	}
}

// terminal reports whether the event is the last of its stream. The type is
// that of the event, or of its data: some gateways drop the event lines.
func (s *streamScan) terminal() bool {
	name, whole := s.parser.Type()
	ends := whole && s.ends(name)
	data, _ := s.parser.Data()
	for _, token := range [...]string{"{", `"type"`, ":", `"`} {
		data = bytes.TrimLeft(data, " \t\n")
		if len(data) < len(token) || string(data[:len(token)]) != token {
			return ends
		}
		data = data[len(token):]
	}
	if end := bytes.IndexByte(data, '"'); end >= 0 && s.ends(data[:end]) {
		return true
	}
	return ends
}

// ends reports whether an event of that type is the last one.
func (s *streamScan) ends(name []byte) bool {
	switch string(name) {
	case "response.completed", "response.failed", "response.incomplete", "error":
		s.typed = true
		return true
	}
	s.typed = s.typed || bytes.HasPrefix(name, []byte("response."))
	return false
}

// complete reports, at the end of the stream, whether it may end here. A last
// [DONE] counts without the empty line after it. An event that was not
// dispatched does not, for its data may be cut. A stream whose events have no
// type that we can read is not judged.
func (s *streamScan) complete() bool {
	if s.done {
		return true
	}
	if s.parser.Finish() && s.parser.Done() {
		s.done = true
		return true
	}
	switch {
	case !s.parser.IsStream():
		return !s.asked && len(s.parser.Foreign()) == 0 // nothing at all may be what a path has
	case s.dialect == typedStream:
		return s.parser.Events() && !s.typed
	}
	// Of another path nobody knows the end; an error behind the last event is one.
	_, _, refused := wire.Instead(s.parser.Foreign())
	return s.dialect == otherStream && !refused
}
