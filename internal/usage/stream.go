package usage

import (
	"bytes"

	"github.com/latchkey-go/latchkey/internal/sse"
)

// maxSmall is the longest event that is kept until it is complete, in bytes.
const maxSmall = 4 << 10

// A stream follows an event stream. A small event is looked at as a whole, and
// nearly all are passed over for having no word that matters. A larger one is
// scanned, as it comes.
type stream struct {
	parser  sse.Parser
	room    [1 << 10]byte // for an event that comes in pieces; most fit
	json    *scanner
	found   *values // while write runs
	begun   bool    // the model is known
	partial bool    // a part of the event has been scanned
	interim bool    // the counts are those of a part of the answer
}

func newStream(json *scanner) *stream {
	s := &stream{json: json, parser: sse.NewParser(maxSmall, 0)}
	s.parser.Buffer(s.room[:])
	s.parser.Pieces(s.piece)
	return s
}

func (s *stream) write(p []byte, found *values) {
	s.found = found
	for len(p) > 0 {
		n, ended := s.parser.Feed(p)
		if p = p[n:]; ended {
			s.event()
		}
	}
	s.found = nil
}

// piece takes a part of the data of a large event.
func (s *stream) piece(p []byte) {
	if !s.partial {
		s.partial = true
		s.document()
	}
	s.json.scan(p, s.found)
}

func (s *stream) document() {
	s.json.begin()
	s.found.document()
	if s.isError() {
		s.found.erring, s.found.failed = true, true
	}
}

// isError reports whether the event has the name "error".
func (s *stream) isError() bool {
	kind, _ := s.parser.Type()
	return string(kind) == "error"
}

// event takes the end of an event.
func (s *stream) event() {
	data, _ := s.parser.Data()
	switch {
	case s.parser.Done():
		s.interim = false
		return
	case !s.partial:
		if s.begun && len(data) <= maxSmall && !s.isError() && !matters(data) {
			return
		}
		s.document()
		s.json.scan(data, s.found)
	}
	if s.found.counted {
		s.interim = s.found.chosen || s.json.state != over
	}
	s.begun, s.partial = s.begun || s.found.Model != "", false
}

// end takes an event that the stream did not finish, and reports whether the
// counts are those of the whole answer.
func (s *stream) end(found *values) bool {
	s.found = found
	if s.parser.Finish() && !s.partial {
		s.event()
	}
	s.found = nil
	return !s.interim
}

// matters reports whether data may tell something: a member of one of these
// names that is not null. It looks from colon to colon, which is much faster than
// to search for each name: a chunk has a dozen.
func matters(data []byte) bool {
	for rest := data; ; {
		colon := bytes.IndexByte(rest, ':')
		if colon < 0 {
			return false
		}
		end := colon
		for end > 0 && rest[end-1] <= ' ' {
			end--
		}
		if end > 1 && rest[end-1] == '"' && tells(rest[:end-1], rest[colon+1:]) {
			return true
		}
		rest = rest[colon+1:]
	}
}

// tells reports whether what ends with a name has one that matters, with this value.
func tells(name, value []byte) bool {
	is := func(want string) bool { return len(name) >= len(want) && string(name[len(name)-len(want):]) == want }
	switch name[len(name)-1] {
	case 'e':
		if is(`"type`) {
			return begins(value, `"response.refusal`) || begins(value, `"refusal`) || begins(value, `"error"`)
		}
		if is(`"code`) {
			return begins(value, `"content_filter`)
		}
		return (is("usage") || is(`"response`)) && !begins(value, "null")
	case 'n':
		return is(`"finish_reason`) && !begins(value, "null")
	case 'l':
		return is(`"refusal`) && !begins(value, "null")
	case 'r':
		return is(`"error`) && !begins(value, "null")
	case 's', 't':
		return is("_results") || is("_result") || is(`"content_filters`) || is(`"prompt_annotations`)
	}
	return false
}

// begins reports whether a value begins with text, after blanks.
func begins(value []byte, text string) bool {
	for len(value) > 0 && value[0] <= ' ' {
		value = value[1:]
	}
	return len(value) >= len(text) && string(value[:len(text)]) == text
}
