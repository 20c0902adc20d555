package interop_test

import (
	"context"
	"errors"
	"strings"

	openai "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"
)

func openaiGo(c openai.Client) sdk {
	return sdk{
		name: "openai-go",
		calls: []call{
			{"chat", "/chat/completions", func(ctx context.Context) error {
				res, err := c.Chat.Completions.New(ctx, chatParams())
				if err != nil {
					return err
				}
				if len(res.Choices) != 1 || res.Choices[0].Message.Content != echo {
					return wrong("chat", res.RawJSON())
				}
				return nil
			}},
			{"responses", "/responses", func(ctx context.Context) error {
				res, err := c.Responses.New(ctx, responseParams())
				if err != nil {
					return err
				}
				if res.OutputText() != echo {
					return wrong("responses", res.RawJSON())
				}
				return nil
			}},
			{"embeddings", "/embeddings", func(ctx context.Context) error { return officialEmbedding(ctx, c) }},
			{"file upload", "/files", func(ctx context.Context) error { return officialUpload(ctx, c) }},
			{"models", "/models", func(ctx context.Context) error {
				res, err := c.Models.List(ctx)
				if err == nil && len(res.Data) == 0 {
					return wrong("models", res.RawJSON())
				}
				return err
			}},
		},
		streams: []call{
			{"chat stream", "/chat/completions", func(ctx context.Context) error { return officialChatStream(ctx, c) }},
			{"responses stream", "/responses", func(ctx context.Context) error { return officialResponseStream(ctx, c) }},
		},
		refused: func(ctx context.Context, kind refusal) error { return officialRefusal(ctx, c, kind) },
		status: func(err error) (int, string, bool) {
			e := (*openai.Error)(nil)
			if !errors.As(err, &e) {
				return 0, "", false
			}
			return e.StatusCode, e.Message, true
		},
	}
}

func chatParams() openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model:    model,
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(prompt)},
	}
}

func responseParams() responses.ResponseNewParams {
	return responses.ResponseNewParams{
		Model: model,
		Input: responses.ResponseNewParamsInputUnion{OfString: openai.String(prompt)},
	}
}

func officialEmbedding(ctx context.Context, c openai.Client) error {
	res, err := c.Embeddings.New(ctx, openai.EmbeddingNewParams{
		Model: "text-embedding-3-small",
		Input: openai.EmbeddingNewParamsInputUnion{OfString: openai.String(prompt)},
	})
	if err != nil {
		return err
	}
	if len(res.Data) != 1 || len(res.Data[0].Embedding) == 0 {
		return wrong("embeddings", res.RawJSON())
	}
	return nil
}

func officialUpload(ctx context.Context, c openai.Client) error {
	content := strings.Repeat(`{"custom_id":"1"}`+"\n", 1000)
	res, err := c.Files.New(ctx, openai.FileNewParams{
		File:    openai.File(strings.NewReader(content), "batch.jsonl", "application/jsonl"),
		Purpose: openai.FilePurposeBatch,
	})
	if err != nil {
		return err
	}
	if res.Filename != "batch.jsonl" || res.Bytes != int64(len(content)) {
		return wrong("upload", res.RawJSON())
	}
	return nil
}

func officialChatStream(ctx context.Context, c openai.Client) error {
	stream := c.Chat.Completions.NewStreaming(ctx, chatParams())
	defer stream.Close()
	var text strings.Builder
	for stream.Next() {
		for _, choice := range stream.Current().Choices {
			text.WriteString(choice.Delta.Content)
		}
	}
	return streamed(stream.Err(), text.String())
}

func officialResponseStream(ctx context.Context, c openai.Client) error {
	stream := c.Responses.NewStreaming(ctx, responseParams())
	defer stream.Close()
	var text strings.Builder
	for stream.Next() {
		if event := stream.Current(); event.Type == "response.output_text.delta" {
			text.WriteString(event.Delta)
		}
	}
	return streamed(stream.Err(), text.String())
}

// errHalf says that a stream ended without an error and without all its text:
// what nobody would notice.
var errHalf = errors.New("half an answer, and no error")

func streamed(err error, text string) error {
	switch {
	case err != nil:
		return err
	case text == echo:
		return nil
	case strings.HasPrefix(echo, text):
		return errHalf
	}
	return wrong("stream", text)
}

func officialRefusal(ctx context.Context, c openai.Client, kind refusal) error {
	switch kind {
	case unknownModel:
		_, err := c.Models.Get(ctx, "no-such-model")
		return err
	case noMessages:
		_, err := c.Chat.Completions.New(ctx, openai.ChatCompletionNewParams{Model: model})
		return err
	}
	_, err := c.Chat.Completions.New(ctx, chatParams())
	return err
}
