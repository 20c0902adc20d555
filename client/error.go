package client

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/internal/wire"
	"github.com/latchkey-go/latchkey/middleware"
)

const maxMessage = 500

// An Error is the service's own refusal of a call, in the form that OpenAI,
// Azure OpenAI and API Management send it. Retries and the replacement of a
// rejected credential are over when it is returned.
type Error struct {
	// StatusCode is the HTTP status; 200 if the error came within a stream.
	StatusCode int
	// Code is the service's code, for example "model_not_found"; it may be empty.
	Code string
	// Type is the service's class of error, for example "invalid_request_error".
	Type string
	// Param names the offending parameter, if any.
	Param string
	// Message is the service's text. It may quote the request.
	Message string
	// RequestID is what the service's support asks for.
	RequestID string
	// RetryAfter is how long the service asks to wait; zero if it does not say.
	RetryAfter time.Duration
}

// Error returns the status, the code, the message's first 500 bytes, the hint
// and the request id. The message of a 401 is left out: the services quote a part of
// the key in it.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "client: the service answered %d", e.StatusCode)
	if text := http.StatusText(e.StatusCode); text != "" {
		b.WriteString(" " + text)
	}
	for _, s := range []string{e.Type, e.Code} {
		if s != "" {
			fmt.Fprintf(&b, ", %s", clip(s))
		}
	}
	hint := e.Hint()
	switch {
	case e.StatusCode != http.StatusUnauthorized && e.Message != "":
		fmt.Fprintf(&b, ": %q", clip(e.Message))
	case e.StatusCode == http.StatusUnauthorized && hint == "":
		hint = "check the credential's source and its permissions"
	}
	if hint != "" {
		b.WriteString(" (" + hint + ")")
	}
	if e.RequestID != "" {
		fmt.Fprintf(&b, " (request %s)", clip(e.RequestID))
	}
	return b.String()
}

func clip(s string) string {
	if len(s) > maxMessage {
		return strings.ToValidUTF8(s[:maxMessage], "") + "..."
	}
	return s
}

func newError(resp *http.Response) *Error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, middleware.DefaultMaxErrorBody)) // what came will do
	return errorOf(resp, body)
}

func errorOf(resp *http.Response, body []byte) *Error {
	e := wire.ParseError(body)
	if mt := mediaType(resp.Header); mt == "text/html" {
		e.Message = "" // a proxy's page
	}
	wait, _ := wire.RetryAfter(resp.Header, time.Now())
	return &Error{
		StatusCode: resp.StatusCode,
		Code:       e.Code,
		Type:       e.Type,
		Param:      e.Param,
		Message:    e.Message,
		RequestID:  wire.RequestID(resp.Header),
		RetryAfter: wait,
	}
}

func mediaType(h http.Header) string {
	mt, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		return "no media type"
	}
	return mt
}

var errNotStream = errors.New(`client: the answer is not an event stream; put "stream": true into the request`)
