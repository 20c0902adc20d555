package client

import (
	"net/http"

	"github.com/openai/openai-go/v3/option"
)

// DecodeError is what Post makes of an error of encoding/json.
func DecodeError(err error) error { return decodeError(err) }

// OnlyError is what Post makes of an answer with a status of 2xx that holds
// nothing but an error.
func OnlyError(resp *http.Response, body []byte) *Error { return onlyError(resp, body, nil) }

// MarkStream is the middleware for the official SDK.
func MarkStream(req *http.Request, next option.MiddlewareNext) (*http.Response, error) {
	return markStream(req, next)
}
