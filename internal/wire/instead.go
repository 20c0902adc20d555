package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// InEvent returns the error that an event of a stream tells, whatever else is
// in the event: an object, a text or a list at "error", an event of the type
// "error", or a response that has failed. It is not ok if the event tells none;
// "error": null is none.
func InEvent(typ string, data []byte) (e Error, ok bool) {
	if typ != "error" && typ != "response.failed" && !mayTellError(data) {
		return Error{}, false
	}
	var o map[string]json.RawMessage
	if json.Unmarshal(data, &o) != nil {
		return ParseError(data), typ == "error" || beginsWithError(data)
	}
	if t := member(o, "type"); typ == "" || t == "error" || t == "response.failed" {
		typ = t
	}
	raw, has := o["error"]
	switch {
	case has && !emptyJSON(raw):
		return ParseError(data), true
	case typ == "response.failed":
		return ofFailure(o["response"]), true
	case typ == "error":
		e = ParseError(data)
		return e, !has || e.Code != "" || e.Message != "" && len(o) > 1
	}
	return Error{}, false
}

// mayTellError is false for data without the name or the value "error", and for
// data that has it as "error": null alone. Each chunk of a stream is asked about.
// In JSON these bytes are never a part of a text: there the quotes are escaped.
func mayTellError(data []byte) bool {
	const name = `"error"`
	found := false
	for rest := data; ; found = true {
		i := bytes.Index(rest, []byte(name))
		if i < 0 {
			return found && bytes.Contains(data, []byte(`"response.failed"`))
		}
		rest = bytes.TrimLeft(rest[i+len(name):], " \t\r\n")
		if len(rest) == 0 || rest[0] != ':' {
			return true
		}
		rest = bytes.TrimLeft(rest[1:], " \t\r\n")
		if !bytes.HasPrefix(rest, []byte("null")) {
			return true
		}
	}
}

// ofFailure reads the error of a response object that has failed.
func ofFailure(response []byte) Error {
	var r struct{ Error json.RawMessage }
	if json.Unmarshal(response, &r) == nil && !emptyJSON(r.Error) {
		return ParseError(r.Error)
	}
	return Error{Message: "the response has failed, and the service does not say why"}
}

// beginsWithError is for an event that was cut, or is malformed.
func beginsWithError(data []byte) bool {
	for _, token := range [...]string{"{", `"error"`, ":"} {
		data = bytes.TrimLeft(data, " \t\r\n")
		if !bytes.HasPrefix(data, []byte(token)) {
			return false
		}
		data = data[len(token):]
	}
	data = bytes.TrimLeft(data, " \t\r\n")
	return len(data) > 0 && strings.IndexByte(`{["`, data[0]) >= 0
}

// OnlyError returns the error of a body that holds an error and no result:
// some gateways send one with the status 200. It is not ok for any other body.
func OnlyError(body []byte) (e Error, ok bool) {
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))
	if !bytes.HasPrefix(body, []byte("{")) || !bytes.Contains(body, []byte("error")) {
		return Error{}, false
	}
	var o map[string]json.RawMessage
	if json.Unmarshal(body, &o) != nil {
		return Error{}, false
	}
	for _, result := range [...]string{"choices", "data", "output", "result", "content", "text", "response", "candidates", "embeddings", "usage"} {
		if !emptyJSON(o[result]) {
			return Error{}, false
		}
	}
	if object := member(o, "object"); object != "" && object != "error" {
		return Error{}, false
	}
	if emptyJSON(o["error"]) && emptyJSON(o["errors"]) && member(o, "object") != "error" && member(o, "type") != "error" {
		return Error{}, false
	}
	return ParseError(body), true
}

// Instead describes what came in place of a stream. It returns what it is, as
// "an HTML page", and the error that it tells, if it tells one.
func Instead(body []byte) (what string, e Error, refused bool) {
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))
	switch {
	case len(body) == 0:
		return "empty", Error{}, false
	case body[0] == '{' || body[0] == '[':
		if e, ok := OnlyError(body); ok {
			return "an error", e, true
		}
		var o struct{ Object string }
		if json.Unmarshal(body, &o) == nil && o.Object != "" && len(o.Object) <= 64 {
			return fmt.Sprintf("a JSON document (%q)", o.Object), Error{}, false
		}
		return "a JSON document", Error{}, false
	case body[0] == '<' && isPage(string(body)):
		if title := pageTitle(string(body)); title != "" {
			return fmt.Sprintf("an HTML page (%q)", clipped(title, maxShown)), Error{}, false
		}
		return "an HTML page", Error{}, false
	case body[0] == '<':
		return "a document of XML", Error{}, false
	}
	return fmt.Sprintf("text (%q)", clipped(string(body), maxShown)), Error{}, false
}

// maxShown is how much is quoted of what came in place of a stream.
const maxShown = 200

func member(o map[string]json.RawMessage, name string) string {
	var text string
	_ = json.Unmarshal(o[name], &text) // what is no string is none
	return text
}

// emptyJSON reports whether raw is missing or says nothing.
func emptyJSON(raw json.RawMessage) bool {
	if len(raw) == 0 {
		return true
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	return d.Decode(&v) != nil || emptyValue(v)
}
