package client

import (
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/internal/azurename"
	"github.com/latchkey-go/latchkey/internal/sent"
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
	// RequestID identifies the call to the support of the service.
	RequestID string
	// RetryAfter is how long the service asks to wait; zero if it does not say.
	RetryAfter time.Duration

	host string // of an Azure address, for the hint; empty for others
}

// Error returns the status, the code, the message's first 500 bytes, the hint
// and the request id. The message about a refused key is left out: the services
// quote a part of the key in it.
func (e *Error) Error() string {
	var b strings.Builder
	if e.StatusCode >= 200 && e.StatusCode <= 299 {
		fmt.Fprintf(&b, "client: the service answered %d with an error", e.StatusCode)
	} else {
		fmt.Fprintf(&b, "client: the service answered %d", e.StatusCode)
		if text := http.StatusText(e.StatusCode); text != "" {
			b.WriteString(" " + text)
		}
	}
	for _, s := range []string{e.Type, e.Code} {
		if s != "" {
			fmt.Fprintf(&b, ", %s", printed(s))
		}
	}
	hint := e.Hint()
	switch {
	case !e.refusesKey() && e.Message != "":
		fmt.Fprintf(&b, ": %q", clip(e.Message))
	case e.refusesKey() && hint == "":
		hint = "check the credential's source and its permissions"
	}
	if hint != "" {
		b.WriteString(" (" + hint + ")")
	}
	if e.RequestID != "" {
		fmt.Fprintf(&b, " (request %s)", printed(e.RequestID))
	}
	return b.String()
}

// refusesKey reports whether the error is about the credential.
func (e *Error) refusesKey() bool {
	return e.StatusCode == http.StatusUnauthorized || e.Code == "invalid_api_key" || e.Code == "401"
}

// printed is a text of the service's without quotes, in one line.
func printed(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029' {
			return '?'
		}
		return r
	}, clip(s))
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

func errorOf(resp *http.Response, body []byte) *Error { return errorFrom(resp, wire.ParseError(body)) }

func errorFrom(resp *http.Response, e wire.Error) *Error {
	wait, _ := wire.RetryAfter(resp.Header, time.Now())
	host := ""
	if resp.Request != nil && resp.Request.URL != nil {
		if _, ok := azurename.OfInference(resp.Request.URL.Host); ok {
			host = resp.Request.URL.Host
		}
	}
	return &Error{
		host:       host,
		StatusCode: resp.StatusCode,
		Code:       e.Code,
		Type:       e.Type,
		Param:      e.Param,
		Message:    e.Message,
		RequestID:  wire.RequestID(resp.Header),
		RetryAfter: wait,
	}
}

// onlyError returns the error of an answer with a status of 2xx that holds
// nothing else; nil if the answer is none. secrets are what was sent for it.
func onlyError(resp *http.Response, body []byte, secrets *sent.Credentials) *Error {
	e, ok := wire.OnlyError(body)
	if !ok {
		return nil
	}
	return (&stream{resp: resp, secrets: secrets}).refused(e)
}

func mediaType(h http.Header) string {
	mt, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		return "no media type"
	}
	return mt
}
