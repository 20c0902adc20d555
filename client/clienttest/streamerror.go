package clienttest

import (
	"encoding/json"
	"fmt"
	"strings"
)

// InStream returns a [Fault] that breaks the next stream with the error of k, as
// an event, after so many events. Zero and below make it the first. A stream of
// chat/completions has one event before its first content, one of responses four.
func (k ErrorKind) InStream(after int) Fault {
	if after <= 0 {
		after = -1
	}
	return Fault{ErrorAfter: after, Error: k}
}

// errorEvent is the error as the stream of the route tells it.
func (w *faultWriter) errorEvent() []byte {
	_, _, body := ErrorBody(w.f.Error)
	if !strings.HasSuffix(w.path, "/responses") {
		return []byte("data: " + body + "\n\n")
	}
	var e struct {
		Error struct{ Message, Type, Code string }
	}
	_ = json.Unmarshal([]byte(body), &e) // without an error object it is empty
	if e.Error.Code == "" {
		e.Error.Code = e.Error.Type
	}
	return fmt.Appendf(nil, "event: error\ndata: {\"type\":\"error\",\"sequence_number\":%d,\"code\":%s,\"message\":%s,\"param\":null}\n\n",
		w.sent, quote(e.Error.Code), quote(e.Error.Message))
}
