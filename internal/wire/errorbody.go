package wire

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"unicode"

	"github.com/latchkey-go/latchkey/internal/sse"
)

const (
	// maxUnknown is how much is shown of a body whose shape nobody knows.
	maxUnknown = 500
	// maxDepth bounds how deep an error is looked for.
	maxDepth = 5
	// maxParts bounds how many of a list of errors are told.
	maxParts = 3
)

// An Error is what an error body says. What it does not say is empty.
type Error struct {
	Code, Type, Param, Message string
}

// QuotaSpent reports whether the error is of a quota that waiting does not
// restore, as a rate limit is restored. Codes:
// https://platform.openai.com/docs/guides/error-codes and
// https://help.openai.com/en/articles/6614457.
func (e Error) QuotaSpent() bool {
	for _, code := range [...]string{
		"insufficient_quota", "credit_balance_exhausted", "organization_spend_limit_exceeded",
		"project_spend_limit_exceeded", "organization_usage_limit_exceeded", "billing_hard_limit_reached",
	} {
		if e.Code == code || e.Type == code {
			return true
		}
	}
	return false
}

// ParseError reads an error body in any of the shapes that are known: those of
// OpenAI and Azure OpenAI ({"error":{...}}, also as a text or a list), API
// Management ({"statusCode":...,"message":...}), FastAPI ({"detail":...}),
// problem details (RFC 9457), lists of errors ({"errors":[...]}), faults of
// gateways ({"fault":{...}}), AWS ({"Message":...}), OAuth
// ({"error":...,"error_description":...}), and their like. Names are compared
// in any case, with and without underscores. An error in an event of a stream,
// a page of HTML and a document of XML are read as well. Of JSON of another
// shape the first 500 bytes are the message; other text is the message.
func ParseError(body []byte) Error { return parseError(body, true) }

// parseError is ParseError. Without events, an event of a stream is text: an
// event in an event in an event would take quadratic time.
func parseError(body []byte, events bool) Error {
	body = bytes.TrimSpace(bytes.TrimPrefix(bytes.TrimSpace(body), []byte("\xef\xbb\xbf")))
	if v, ok := firstValue(body); ok {
		if text, isText := v.(string); isText { // JSON that was encoded twice
			if inner, ok := firstValue([]byte(strings.TrimSpace(text))); ok {
				v = inner
			}
		}
		e := ofValue(v, maxDepth)
		if e == (Error{}) && len(body) > len("{}") {
			e.Message = clipped(string(body), maxUnknown)
		}
		return e
	}
	switch {
	case bytes.HasPrefix(body, []byte("<")):
		return ofMarkup(string(body))
	case events && (bytes.HasPrefix(body, []byte("data:")) || bytes.HasPrefix(body, []byte("event:"))):
		if e, ok := ofEvents(body); ok {
			return e
		}
	}
	if string(body) == "null" {
		return Error{}
	}
	return Error{Message: string(bytes.ToValidUTF8(body, []byte("\uFFFD")))}
}

// firstValue decodes the JSON value that body begins with; what comes behind
// it does not make it less true.
func firstValue(body []byte) (v any, ok bool) {
	if len(body) == 0 || strings.IndexByte(`{["`, body[0]) < 0 {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return nil, false
	}
	return v, true
}

// ofEvents reads the first event that has data: some gateways answer a request
// for a stream with a status of 400 and an event.
func ofEvents(body []byte) (Error, bool) {
	p := sse.NewParser(len(body), 0)
	if _, ended := p.Feed(append(bytes.Clone(body), "\n\n"...)); !ended {
		return Error{}, false
	}
	data, _ := p.Data()
	return parseError(data, false), true
}

func ofValue(v any, depth int) Error {
	if depth == 0 {
		return Error{}
	}
	switch v := v.(type) {
	case string:
		return Error{Message: v}
	case []any:
		return ofList(v, depth-1)
	case map[string]any:
		return ofObject(normal(v), depth-1)
	}
	return Error{}
}

// ofList joins the messages; the rest is that of the first element that says it.
func ofList(list []any, depth int) Error {
	var all Error
	var messages []string
	for _, v := range list {
		e := ofValue(v, depth)
		all = all.or(e)
		if e.Message != "" && !slices.Contains(messages, e.Message) && len(messages) < maxParts {
			messages = append(messages, e.Message)
		}
	}
	all.Message = strings.Join(messages, "; ")
	return all
}

// or fills what e does not say with what other says.
func (e Error) or(other Error) Error {
	for _, f := range [...]struct{ to, from *string }{
		{&e.Code, &other.Code}, {&e.Type, &other.Type}, {&e.Param, &other.Param}, {&e.Message, &other.Message},
	} {
		if *f.to == "" {
			*f.to = *f.from
		}
	}
	return e
}

// normal returns the object with its names in lower case and without
// underscores and hyphens. Of two names that become one, the first that is not
// empty counts.
func normal(o map[string]any) map[string]any {
	names := make([]string, 0, len(o))
	for name := range o {
		names = append(names, name)
	}
	slices.Sort(names)
	out := make(map[string]any, len(o))
	for _, name := range names {
		short := strings.Map(plain, name)
		if old, ok := out[short]; !ok || emptyValue(old) {
			out[short] = o[name]
		}
	}
	return out
}

// plain is a letter of a name in lower case, and nothing of an underscore or a hyphen.
func plain(r rune) rune {
	if r == '_' || r == '-' {
		return -1
	}
	return unicode.ToLower(r)
}

// ofObject reads the object's own members, and the error that it wraps: what
// the inner one says counts for more.
func ofObject(o map[string]any, depth int) Error {
	own := Error{
		Code:    scalarOf(o, "code", "errorcode", "errcode"),
		Type:    typeOf(o),
		Param:   scalarOf(o, "param", "parameter", "target", "field"),
		Message: messageOf(o, depth),
	}
	if loc, ok := o["loc"].([]any); ok && own.Param == "" { // FastAPI
		own.Param = pathOf(loc)
	}
	if reason := reasonOf(o); reason != "" && strings.Trim(own.Code, "0123456789") == "" { // Google
		own.Code = reason
	}
	for _, name := range [...]string{"error", "err", "fault", "errors", "detail", "exception"} {
		switch inner := o[name].(type) {
		case string:
			own = withText(own, name, inner)
		case map[string]any, []any:
			e := ofValue(inner, depth)
			if fields, ok := inner.(map[string]any); ok && e == (Error{}) && name == "errors" {
				e = ofFields(fields)
			}
			own = e.or(own)
		}
	}
	return own
}

// withText adds {"error":"text"}: the message, or beside a message the code, as
// in OAuth.
func withText(own Error, name, text string) Error {
	switch {
	case name == "detail" || text == "":
	case own.Message == "" || own.Message == text:
		own.Message = text
	case own.Code == "" && !strings.ContainsAny(text, " \t\n"):
		own.Code = text
	}
	return own
}

// typeOf reads the class of the error. An AWS service puts a namespace before it.
func typeOf(o map[string]any) string {
	if t := scalarOf(o, "type", "errortype"); t != "" && t != "about:blank" {
		return t[strings.IndexByte(t, '#')+1:]
	}
	status, _ := o["status"].(string) // Google's and Kubernetes' are in capitals
	if status != "" && strings.Trim(status, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == "" {
		return status
	}
	return ""
}

// messageOf reads the message. A title and the detail of it (RFC 9457) belong
// together.
func messageOf(o map[string]any, depth int) string {
	for _, name := range [...]string{"message", "msg", "errormessage", "errordescription", "errmsg", "faultstring", "reason", "description"} {
		if text := textOf(o[name], depth); text != "" {
			return text
		}
	}
	title, _ := o["title"].(string)
	detail, _ := o["detail"].(string)
	switch {
	case title == "" || strings.HasPrefix(detail, title):
		return detail
	case detail == "":
		return title
	}
	return strings.TrimSuffix(title, ".") + ": " + detail
}

func textOf(v any, depth int) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case []any:
		return ofValue(v, depth).Message
	case map[string]any:
		if text, ok := v["value"].(string); ok { // OData
			return text
		}
		return ofValue(v, depth).Message
	}
	return ""
}

func scalarOf(o map[string]any, names ...string) string {
	for _, name := range names {
		switch v := o[name].(type) {
		case string:
			if v != "" {
				return v
			}
		case json.Number:
			return v.String()
		}
	}
	return ""
}

// reasonOf reads the reason in the details of Google's errors.
func reasonOf(o map[string]any) string {
	details, _ := o["details"].([]any)
	for _, d := range details {
		if fields, ok := d.(map[string]any); ok {
			if reason, ok := fields["reason"].(string); ok {
				return reason
			}
		}
	}
	return ""
}

// pathOf names a member as FastAPI tells it: ["body","messages",0].
func pathOf(loc []any) string {
	var steps []string
	for i, step := range loc {
		if text := textOf(step, 1); text != "" && !(i == 0 && text == "body") {
			steps = append(steps, text)
		}
	}
	return strings.Join(steps, ".")
}

// ofFields reads the messages of ASP.NET for each member of the request.
func ofFields(fields map[string]any) Error {
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	var e Error
	var messages []string
	for _, name := range names {
		text := textOf(fields[name], 2)
		if text == "" || len(messages) == maxParts {
			continue
		}
		if e.Param == "" {
			e.Param = name
		}
		messages = append(messages, text)
	}
	e.Message = strings.Join(messages, "; ")
	return e
}

// emptyValue reports whether v says nothing: null, false, 0, "", [] or {}.
func emptyValue(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case string:
		return v == ""
	case json.Number:
		return v == "0"
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// clipped returns at most n bytes of text, and no half of a character.
func clipped(text string, n int) string {
	if len(text) > n {
		text = text[:n]
	}
	return strings.ToValidUTF8(text, "")
}
