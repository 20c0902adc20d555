package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"

	"github.com/latchkey-go/latchkey/rotation"
)

// mostBody is the size in bytes of the largest invocation that is read.
const mostBody = 512 << 10

// newHandler returns what the host calls. An HTTP trigger is forwarded as it came
// (enableForwardingHttpRequest), another one under the function's name.
func newHandler(rotate func(context.Context) error, events http.Handler, logger *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/api/events", func(w http.ResponseWriter, r *http.Request) { take(events, w, r, logger) })
	mux.HandleFunc("POST /rotate", func(w http.ResponseWriter, r *http.Request) {
		// A conflict is another rotator at work. The error of a run is in its log.
		if err := rotate(r.Context()); err != nil && !errors.Is(err, rotation.ErrConflict) {
			http.Error(w, "not rotated", http.StatusInternalServerError)
			return
		}
		succeed(w)
	})
	mux.HandleFunc("POST /nearexpiry", func(w http.ResponseWriter, r *http.Request) {
		var invocation struct {
			Data struct{ Event json.RawMessage }
		}
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, mostBody)).Decode(&invocation); err != nil {
			logger.ErrorContext(r.Context(), "malformed invocation")
			http.Error(w, "malformed invocation", http.StatusBadRequest)
			return
		}
		event := r.Clone(r.Context())
		event.Body = io.NopCloser(bytes.NewReader(unquoted(invocation.Data.Event)))
		// The body of the answer is in the form of the host.
		if take(events, &status{ResponseWriter: w, quiet: true}, event, logger) == http.StatusOK {
			succeed(w)
		}
	})
	return mux
}

// unquoted returns the event, which the host may pass as text.
func unquoted(event json.RawMessage) []byte {
	var text string
	if json.Unmarshal(event, &text) == nil {
		return []byte(text)
	}
	return event
}

// succeed answers in the form of the custom handler protocol.
func succeed(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"Outputs": map[string]any{}, "Logs": []string{}, "ReturnValue": nil}) // the host may have left
}

// take answers an event, and logs one that is refused.
func take(events http.Handler, w http.ResponseWriter, r *http.Request, logger *slog.Logger) int {
	answer, ok := w.(*status)
	if !ok {
		answer = &status{ResponseWriter: w}
	}
	events.ServeHTTP(answer, r)
	if answer.code == 0 {
		return http.StatusOK
	}
	if answer.code >= http.StatusBadRequest {
		logger.WarnContext(r.Context(), "event refused", "status", answer.code)
	}
	return answer.code
}

// A status notes the status of an answer, and passes on its body unless it is quiet.
type status struct {
	http.ResponseWriter
	code  int
	quiet bool
}

// WriteHeader notes the status.
func (s *status) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

// Write writes the body.
func (s *status) Write(p []byte) (int, error) {
	if s.quiet {
		return len(p), nil
	}
	return s.ResponseWriter.Write(p)
}
