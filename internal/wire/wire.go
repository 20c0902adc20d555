// Package wire reads what OpenAI, Azure OpenAI and API Management put beside
// an answer: error bodies and header fields.
package wire

import (
	"bytes"
	"encoding/json"
	"net/http"
)

// An Error is what an error body says. Fields that are missing or of another
// JSON type are empty.
type Error struct {
	Code, Type, Param, Message string
}

// ParseError reads the forms {"error":{...}}, {"error":"text"} and
// {"code":...,"message":...}. A body that is none of them is the message.
func ParseError(body []byte) Error {
	var doc map[string]json.RawMessage
	if json.Unmarshal(body, &doc) != nil {
		return Error{Message: string(bytes.ToValidUTF8(body, []byte("\uFFFD")))}
	}
	fields := doc
	if inner, ok := doc["error"]; ok {
		var nested map[string]json.RawMessage
		if json.Unmarshal(inner, &nested) == nil && nested != nil {
			fields = nested
		} else if text := scalar(inner); text != "" {
			return Error{Code: scalar(doc["code"]), Message: text}
		}
	}
	return Error{
		Code:    scalar(fields["code"]),
		Type:    scalar(fields["type"]),
		Param:   scalar(fields["param"]),
		Message: scalar(fields["message"]),
	}
}

// scalar returns a JSON string or number as text.
func scalar(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var n json.Number
	if json.Unmarshal(raw, &n) == nil {
		return n.String()
	}
	return ""
}

// RequestID returns the service's name for the request: x-request-id is
// OpenAI's, apim-request-id and x-ms-request-id are Azure's.
func RequestID(h http.Header) string {
	for _, name := range [...]string{"X-Request-Id", "Apim-Request-Id", "X-Ms-Request-Id"} {
		if vv := h[name]; len(vv) > 0 && vv[0] != "" {
			return vv[0]
		}
	}
	return ""
}
