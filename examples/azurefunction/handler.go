package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"github.com/latchkey-go/latchkey/client"
)

// maxText is the size in bytes of the longest text that is taken; a message in
// a queue has at most 64 KiB.
const maxText = 64 << 10

// A handler answers what the host sends.
type handler struct {
	ask    func(ctx context.Context, instruction, text string) (string, error)
	logger *slog.Logger
}

func (h *handler) routes() http.Handler {
	mux := http.NewServeMux()
	// An HTTP trigger is forwarded as it came (enableForwardingHttpRequest), a
	// queue trigger under the function's name.
	mux.HandleFunc("POST /api/ask", h.http)
	mux.HandleFunc("POST /summarize", h.queue)
	return mux
}

func (h *handler) http(w http.ResponseWriter, r *http.Request) {
	log := h.invocation(r, "ask")
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxText))
	if err != nil || len(text) == 0 {
		http.Error(w, "send a question of at most 64 KiB", http.StatusBadRequest)
		return
	}
	answer, err := h.ask(r.Context(), "Answer in one sentence.", string(text))
	if err != nil {
		log.ErrorContext(r.Context(), "not answered", "error", err, "hint", hint(err))
		http.Error(w, "the service cannot answer now", http.StatusBadGateway)
		return
	}
	log.InfoContext(r.Context(), "answered", "bytes", len(answer))
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, answer) // the host may have left
}

// queue answers in the form of the custom handler protocol. After a status
// other than 2xx the host shows the message again later, at most
// maxDequeueCount times, and then puts it into the poison queue.
func (h *handler) queue(w http.ResponseWriter, r *http.Request) {
	log := h.invocation(r, "summarize")
	var invocation struct{ Data struct{ Text string } }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4*maxText)).Decode(&invocation); err != nil {
		log.ErrorContext(r.Context(), "malformed invocation")
		http.Error(w, "malformed invocation", http.StatusBadRequest)
		return
	}
	summary, err := h.ask(r.Context(), "Summarize in one sentence.", unquoted(invocation.Data.Text))
	if err != nil {
		log.ErrorContext(r.Context(), "not summarized", "error", err, "hint", hint(err))
		http.Error(w, "not summarized", http.StatusInternalServerError)
		return
	}
	log.InfoContext(r.Context(), "summarized", "bytes", len(summary))
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{ // the host may have left
		"Outputs": map[string]any{"summary": summary}, "Logs": []string{}, "ReturnValue": nil,
	})
}

// unquoted returns the text of a message, which the host passes as JSON if it
// is some.
func unquoted(message string) string {
	var text string
	if json.Unmarshal([]byte(message), &text) == nil {
		return text
	}
	return message
}

// invocation returns the log of one invocation. Application Insights finds the
// lines of one request by operation_Id: the trace of the header traceparent.
func (h *handler) invocation(r *http.Request, function string) *slog.Logger {
	trace := ""
	if parts := strings.Split(r.Header.Get("Traceparent"), "-"); len(parts) == 4 && len(parts[1]) == 32 {
		trace = parts[1]
	}
	return h.logger.With("function", function, "invocation", r.Header.Get("X-Azure-Functions-Invocationid"), "operation_Id", trace)
}

// hint is what to do about a refusal of the service.
func hint(err error) string {
	if refusal, ok := client.AsError(err); ok {
		return refusal.Hint()
	}
	return ""
}

// asker returns what calls the model.
func asker(c *client.Client, model string) func(context.Context, string, string) (string, error) {
	return func(ctx context.Context, instruction, text string) (string, error) {
		var answer struct {
			Choices []struct{ Message struct{ Content string } }
		}
		_, err := c.Post(ctx, "chat/completions", map[string]any{
			"model":    model,
			"messages": []map[string]string{{"role": "system", "content": instruction}, {"role": "user", "content": text}},
		}, &answer)
		if err != nil {
			return "", fmt.Errorf("ask %s: %w", model, err)
		}
		if len(answer.Choices) == 0 {
			return "", fmt.Errorf("ask %s: an answer without a choice", model)
		}
		return answer.Choices[0].Message.Content, nil
	}
}
