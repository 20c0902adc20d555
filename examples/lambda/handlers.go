package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
)

// margin is kept of the invocation's time, to answer and to log.
const margin = 500 * time.Millisecond

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

type request struct {
	Model    string    `json:"model"`
	Messages []message `json:"messages"`
	Stream   bool      `json:"stream,omitempty"`
}

type completion struct {
	Choices []struct {
		Message message `json:"message"`
		Delta   message `json:"delta"`
	} `json:"choices"`
}

func (f *function) request(prompt string, stream bool) request {
	return request{Model: f.model, Messages: []message{{Role: "user", Content: prompt}}, Stream: stream}
}

// early ends ctx a little before the invocation's time is up.
func early(ctx context.Context) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok {
		return context.WithDeadline(ctx, deadline.Add(-margin))
	}
	return context.WithCancel(ctx)
}

// complete is the call, the same in Lambda and on a laptop.
func (f *function) complete(ctx context.Context, prompt string) (string, error) {
	ctx, cancel := early(ctx)
	defer cancel()
	var out completion
	if _, err := f.client.Post(ctx, "chat/completions", f.request(prompt, false), &out); err != nil {
		return "", err
	}
	if len(out.Choices) == 0 {
		return "", errors.New("an answer without a choice")
	}
	return out.Choices[0].Message.Content, nil
}

// once answers a prompt on a laptop.
func (f *function) once(prompt string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	text, err := f.complete(ctx, prompt)
	if err == nil {
		fmt.Println(text)
	}
	return err
}

// answer handles an event of an API Gateway HTTP API (payload version 2.0):
// {"prompt": "..."} in, {"text": "..."} out.
func (f *function) answer(ctx context.Context, in events.APIGatewayV2HTTPRequest) (events.APIGatewayV2HTTPResponse, error) {
	prompt, ok := promptOf(in.Body, in.IsBase64Encoded)
	if !ok {
		return reply(http.StatusBadRequest, map[string]string{"error": `want {"prompt": "..."}`}), nil
	}
	text, err := f.complete(ctx, prompt)
	if err != nil {
		f.log.ErrorContext(ctx, "call failed", "error", err)
		// The caller learns that it failed, not what our account answers.
		status := statusOf(err)
		return reply(status, map[string]string{"error": http.StatusText(status)}), nil
	}
	return reply(http.StatusOK, map[string]string{"text": text}), nil
}

func promptOf(body string, encoded bool) (prompt string, ok bool) {
	data := []byte(body)
	if encoded {
		var err error
		if data, err = base64.StdEncoding.DecodeString(body); err != nil {
			return "", false
		}
	}
	var in struct {
		Prompt string `json:"prompt"`
	}
	err := json.Unmarshal(data, &in)
	return in.Prompt, err == nil && in.Prompt != ""
}

// statusOf tells a client when to come back and when not to. A credential that is
// missing, that cannot be read, or that the service refuses, is not the client's
// mistake and may be mended soon: 503.
func statusOf(err error) int {
	refusal, refused := client.AsError(err)
	var unread *credential.SourceError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout
	case refused && refusal.StatusCode == http.StatusTooManyRequests:
		return http.StatusTooManyRequests
	case refused && refusal.StatusCode == http.StatusUnauthorized, // the service's own, where no other key is left
		errors.As(err, &unread), errors.Is(err, credential.ErrUnavailable):
		return http.StatusServiceUnavailable
	}
	return http.StatusBadGateway
}

func reply(status int, body any) events.APIGatewayV2HTTPResponse {
	data, err := json.Marshal(body)
	if err != nil {
		status, data = http.StatusInternalServerError, nil
	}
	return events.APIGatewayV2HTTPResponse{
		StatusCode: status,
		Headers:    map[string]string{"Content-Type": "application/json"},
		Body:       string(data),
	}
}

// stream handles an event of a function URL whose InvokeMode is
// RESPONSE_STREAM: {"prompt": "..."} in, the text out as it comes.
func (f *function) stream(ctx context.Context, in events.LambdaFunctionURLRequest) (*events.LambdaFunctionURLStreamingResponse, error) {
	plain := map[string]string{"Content-Type": "text/plain; charset=utf-8"}
	prompt, ok := promptOf(in.Body, in.IsBase64Encoded)
	if !ok {
		return &events.LambdaFunctionURLStreamingResponse{StatusCode: http.StatusBadRequest, Headers: plain}, nil
	}
	call, cancel := early(ctx)
	next, stop := iter.Pull2(f.client.Stream(call, "chat/completions", f.request(prompt, true)))
	t := &text{
		next:   next,
		stop:   func() { stop(); cancel() },
		failed: func(err error) { f.log.ErrorContext(ctx, "call failed", "error", err) },
	}
	// The status is sent with the first byte: it has to wait for it.
	if err := t.fill(); err != nil && !errors.Is(err, io.EOF) {
		_ = t.Close() // always nil
		return &events.LambdaFunctionURLStreamingResponse{StatusCode: statusOf(err), Headers: plain}, nil
	}
	return &events.LambdaFunctionURLStreamingResponse{StatusCode: http.StatusOK, Headers: plain, Body: t}, nil
}

// text reads the text of a stream of events.
type text struct {
	next   func() (client.Event, error, bool)
	stop   func()
	failed func(error)
	rest   string
	err    error
}

// fill waits for more text.
func (t *text) fill() error {
	for t.rest == "" && t.err == nil {
		ev, err, ok := t.next()
		switch {
		case err != nil:
			t.err = err
			t.failed(err)
		case !ok:
			t.err = io.EOF
		default:
			var chunk completion
			// An event of another kind has no text.
			if json.Unmarshal(ev.Data, &chunk) == nil && len(chunk.Choices) > 0 {
				t.rest = chunk.Choices[0].Delta.Content
			}
		}
	}
	if t.rest != "" {
		return nil
	}
	return t.err
}

// Read returns the text that has come, without waiting for more.
func (t *text) Read(p []byte) (int, error) {
	if err := t.fill(); err != nil {
		return 0, err
	}
	n := copy(p, t.rest)
	t.rest = t.rest[n:]
	return n, nil
}

// Close ends the call if its answer has not ended.
func (t *text) Close() error {
	t.stop()
	return nil
}
