package parity_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	openai "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

func chatParams() openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model:    "m",
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("two and two?")},
	}
}

// chat makes one call with openai-go.
func chat(ctx context.Context, s *side, opts ...option.RequestOption) result {
	var resp *http.Response
	out, err := s.sdk.Chat.Completions.New(ctx, chatParams(), append(opts, option.WithResponseInto(&resp))...)
	r := answered(resp, err)
	if err == nil && len(out.Choices) > 0 {
		r.text = out.Choices[0].Message.Content
	}
	return r
}

// stream makes one streaming call with openai-go.
func stream(ctx context.Context, s *side) result {
	var resp *http.Response
	events := s.sdk.Chat.Completions.NewStreaming(ctx, chatParams(), option.WithResponseInto(&resp))
	var text strings.Builder
	for events.Next() {
		if chunk := events.Current(); len(chunk.Choices) > 0 {
			text.WriteString(chunk.Choices[0].Delta.Content)
		}
	}
	_ = events.Close()
	r := answered(resp, events.Err())
	if r.err == nil {
		r.text = text.String()
	}
	return r
}

// upload makes one call with openai-go whose body it cannot have again.
func upload(ctx context.Context, s *side, body io.Reader) result {
	return post(ctx, s, struct{ io.Reader }{body})
}

// post makes one call with openai-go. A body of bytes can be had again.
func post(ctx context.Context, s *side, body any, opts ...option.RequestOption) result {
	var resp *http.Response
	var out []byte
	err := s.sdk.Post(ctx, "responses", body, &out, append(opts, option.WithResponseInto(&resp))...)
	r := answered(resp, err)
	if err == nil {
		r.text = string(out)
	}
	return r
}

// list makes one call with openai-go that is a GET.
func list(ctx context.Context, s *side) result {
	var resp *http.Response
	var out []byte
	err := s.sdk.Get(ctx, "models", nil, &out, option.WithResponseInto(&resp))
	r := answered(resp, err)
	if err == nil {
		r.text = string(out)
	}
	return r
}

func answered(resp *http.Response, err error) result {
	r := result{err: err}
	if resp != nil {
		r.status = resp.StatusCode
	}
	if api := (*openai.Error)(nil); errors.As(err, &api) {
		r.status = api.StatusCode
		r.text = readAll(api.Response.Body)
	} else if resp != nil && err != nil && resp.StatusCode >= 400 {
		if slices.Equal(traits(err), []string{"other"}) {
			r.text = readAll(resp.Body) // openai-go could not parse it
		} else {
			r.status = 0 // nor read it
		}
	}
	return r
}

// do makes one call with net/http and reads the answer.
func do(s *side, req *http.Request, err error) result {
	if err != nil {
		return result{err: err}
	}
	return read(s.bare.Do(req))
}

// read reads an answer of net/http's.
func read(resp *http.Response, err error) result {
	if err != nil {
		return result{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return result{status: resp.StatusCode, text: string(body), err: err}
}

// post is a request whose body can be had again.
func (s *side) post(ctx context.Context, body string) (*http.Request, error) {
	return http.NewRequestWithContext(ctx, http.MethodPost, s.base+"chat/completions", strings.NewReader(body))
}

func readAll(r io.ReadCloser) string {
	b, _ := io.ReadAll(r)
	return string(b)
}

func once(call func(context.Context, *side) result) func(context.Context, *side) []result {
	return func(ctx context.Context, s *side) []result { return []result{call(ctx, s)} }
}

func chatOnce(ctx context.Context, s *side) []result { return []result{chat(ctx, s)} }
