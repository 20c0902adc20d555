package middleware

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/latchkey-go/latchkey/internal/sse"
	"github.com/latchkey-go/latchkey/internal/wire"
	"github.com/latchkey-go/latchkey/internal/wraperr"
)

// maxHoldBack is how much of a stream HoldBack holds back, in bytes.
const maxHoldBack = 8 << 10

// HoldBack returns a layer that keeps the header of an event stream and its
// events without content until the first content or error event. An error that
// another send may not meet, of a rate limit, a spent quota or the server, then
// becomes an answer of its own with status 429, 500 or 503, which [Retry] and
// [Failover] treat as such; the caller has not received a byte. So does a stream
// that ends before its first content: it becomes an error of the connection.
//
// Without content are response.created, response.queued and
// response.in_progress, a chunk that names a role, and one that has no choices,
// such as the first one of Azure, with prompt_filter_results. After 8 KiB the
// stream is passed on as it is. The layer belongs right below Retry, or into
// each Route of Failover before its other layers.
//
// With the layer the header of a stream comes later: when the model has begun to
// answer. What was sent before an error may have been billed.
func HoldBack() Middleware {
	return func(next http.RoundTripper) http.RoundTripper {
		return &holdBack{next: next.RoundTrip}
	}
}

type holdBack struct {
	next roundTrip
}

func (l *holdBack) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := l.next(req)
	if err != nil || !eventStream(resp.Header) || !mayHoldStream(req, resp) {
		return resp, err
	}
	return hold(req.Context(), resp, dialectOf(req))
}

// hold reads resp up to what decides about it.
func hold(ctx context.Context, resp *http.Response, d dialect) (*http.Response, error) {
	var held []byte
	parser := sse.NewParser(maxHoldBack, maxHoldBack)
	chunk := make([]byte, 2<<10)
	for len(held) < maxHoldBack {
		n, err := resp.Body.Read(chunk[:min(len(chunk), maxHoldBack-len(held))])
		held = append(held, chunk[:n]...)
		for rest := chunk[:n]; len(rest) > 0; {
			used, ended := parser.Feed(rest)
			rest = rest[used:]
			if !ended {
				continue
			}
			name, _ := parser.Type()
			typ := string(name)
			data, _ := parser.Data() // whole: no more is read than the parser keeps
			e, failed := wire.InEvent(typ, data)
			switch status := statusOfError(e); {
			case failed && status != 0:
				clean := redactBody(data, carriedIn(ctx), false)
				e, _ = wire.InEvent(typ, clean)
				closeBroken(ctx, resp, errorInStream(e))
				return errorInPlace(resp, status, clean), nil
			case failed, hasContent(d, typ, data):
				return given(resp, held, err), nil
			}
		}
		if err != nil {
			if !parser.Events() {
				return given(resp, held, err), nil // no stream: StreamGuard says what it is
			}
			_ = resp.Body.Close()
			if ctx.Err() != nil || !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return nil, wraperr.Context(ctx, err)
			}
			// Bare, for the end is to be taken for one of the connection.
			return nil, fmt.Errorf("middleware: the stream ended before its first content: %w", io.EOF)
		}
	}
	return given(resp, held, nil), nil
}

// given returns resp with what was read of it before the rest.
func given(resp *http.Response, held []byte, err error) *http.Response {
	resp.Body = &heldBody{held: held, err: err, body: resp.Body}
	return resp
}

type heldBody struct {
	held []byte
	err  error // of the read that came last
	body io.ReadCloser
}

func (b *heldBody) Read(p []byte) (int, error) {
	switch {
	case len(b.held) > 0:
		n := copy(p, b.held)
		b.held = b.held[n:]
		return n, nil
	case b.err != nil:
		return 0, b.err
	}
	return b.body.Read(p) //nolint:wrapcheck // io.EOF has to stay bare
}

func (b *heldBody) Close() error { return b.body.Close() } //nolint:wrapcheck // as the transport says it

// closeBroken closes a stream whose rest is not wanted, and gives the record of
// its send err, unless the stream has ended by itself.
func closeBroken(ctx context.Context, resp *http.Response, err error) {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		c.broke.Store(&err)
		defer c.broke.Store(nil) // it is not for the next send
	}
	_ = resp.Body.Close()
}

// errorInPlace returns the answer that an error event stands for.
func errorInPlace(resp *http.Response, status int, data []byte) *http.Response {
	out := *resp
	body := string(data)
	out.StatusCode, out.Status = status, fmt.Sprintf("%d %s", status, http.StatusText(status))
	out.Header.Set("Content-Type", "application/json")
	out.Header.Del("Content-Length")
	out.Body, out.ContentLength, out.Trailer = io.NopCloser(strings.NewReader(body)), int64(len(body)), nil
	return &out
}

// statusOfError returns the status that an error would have had before the
// stream began, or 0 for one that no other send betters.
func statusOfError(e wire.Error) int {
	if e.QuotaSpent() {
		return http.StatusTooManyRequests
	}
	for _, name := range [...]string{strings.ToLower(e.Code), strings.ToLower(e.Type)} {
		switch name {
		case "rate_limit_exceeded", "rate_limit_error", "too_many_requests", "tokens", "requests", "429":
			return http.StatusTooManyRequests
		case "server_error", "internal_error", "internal_server_error", "internalservererror", "api_error", "500":
			return http.StatusInternalServerError
		case "overloaded", "overloaded_error", "service_unavailable", "server_overloaded", "engine_overloaded", "serviceunavailable", "503":
			return http.StatusServiceUnavailable
		}
	}
	return 0
}

// hasContent reports whether an event gives the caller anything of the answer.
// One that nobody knows does.
func hasContent(d dialect, typ string, data []byte) bool {
	if d == typedStream {
		if typ == "" {
			var e struct{ Type string }
			_ = json.Unmarshal(data, &e) // what is no JSON has no type
			typ = e.Type
		}
		switch typ {
		case "response.created", "response.queued", "response.in_progress":
			return false
		}
		return true
	}
	if d != doneStream {
		return true
	}
	var chunk struct {
		Choices *[]struct {
			Text         string          `json:"text"`
			FinishReason json.RawMessage `json:"finish_reason"`
			Delta        map[string]json.RawMessage
		}
	}
	if json.Unmarshal(data, &chunk) != nil || chunk.Choices == nil {
		return true
	}
	for _, c := range *chunk.Choices {
		if c.Text != "" || !empty(c.FinishReason) {
			return true
		}
		for name, value := range c.Delta {
			if name != "role" && !empty(value) {
				return true
			}
		}
	}
	return false
}

// empty reports whether a JSON value says nothing.
func empty(v json.RawMessage) bool {
	switch string(v) {
	case "", "null", `""`, "[]", "{}":
		return true
	}
	return false
}
