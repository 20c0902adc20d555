// Package wire reads what OpenAI, Azure OpenAI, API Management and other
// gateways put beside an answer or in its place: error bodies and header fields.
package wire

import "net/http"

// RequestID returns the service's name for the request: OpenAI
// sends x-request-id, Azure apim-request-id and x-ms-request-id.
func RequestID(h http.Header) string {
	for _, name := range [...]string{"X-Request-Id", "Apim-Request-Id", "X-Ms-Request-Id"} {
		if vv := h[name]; len(vv) > 0 && vv[0] != "" {
			return vv[0]
		}
	}
	return ""
}
