package interop_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"

	goopenai "github.com/sashabaranov/go-openai"
)

func goOpenAI(c *goopenai.Client) sdk {
	return sdk{
		name: "go-openai",
		calls: []call{
			{"chat", "/chat/completions", func(ctx context.Context) error {
				res, err := c.CreateChatCompletion(ctx, communityChat())
				if err == nil && (len(res.Choices) != 1 || res.Choices[0].Message.Content != echo) {
					return wrong("chat", "")
				}
				return err
			}},
			{"responses", "/responses", func(ctx context.Context) error {
				res, err := c.CreateResponse(ctx, goopenai.CreateResponseRequest{Model: model, Input: prompt})
				if err == nil && res.GetOutputText() != echo {
					return wrong("responses", res.GetOutputText())
				}
				return err
			}},
			{"embeddings", "/embeddings", func(ctx context.Context) error {
				res, err := c.CreateEmbeddings(ctx, goopenai.EmbeddingRequest{Model: goopenai.SmallEmbedding3, Input: prompt})
				if err == nil && (len(res.Data) != 1 || len(res.Data[0].Embedding) == 0) {
					return wrong("embeddings", "")
				}
				return err
			}},
			{"file upload", "/files", func(ctx context.Context) error { return communityUpload(ctx, c) }},
			{"models", "/models", func(ctx context.Context) error {
				res, err := c.ListModels(ctx)
				if err == nil && len(res.Models) == 0 {
					return wrong("models", "")
				}
				return err
			}},
		},
		streams: []call{
			{"chat stream", "/chat/completions", func(ctx context.Context) error { return communityChatStream(ctx, c) }},
			{"responses stream", "/responses", func(ctx context.Context) error { return communityResponseStream(ctx, c) }},
		},
		refused: func(ctx context.Context, kind refusal) error { return communityRefusal(ctx, c, kind) },
		status: func(err error) (int, string, bool) {
			e := (*goopenai.APIError)(nil)
			if !errors.As(err, &e) {
				return 0, "", false
			}
			return e.HTTPStatusCode, e.Message, true
		},
	}
}

func communityChat() goopenai.ChatCompletionRequest {
	return goopenai.ChatCompletionRequest{
		Model:    model,
		Messages: []goopenai.ChatCompletionMessage{{Role: goopenai.ChatMessageRoleUser, Content: prompt}},
	}
}

func communityUpload(ctx context.Context, c *goopenai.Client) error {
	content := bytes.Repeat([]byte(`{"custom_id":"1"}`+"\n"), 1000)
	res, err := c.CreateFileBytes(ctx, goopenai.FileBytesRequest{Name: "batch.jsonl", Bytes: content, Purpose: goopenai.PurposeBatch})
	if err == nil && (res.FileName != "batch.jsonl" || res.Bytes != len(content)) {
		return wrong("upload", res.FileName)
	}
	return err
}

func communityChatStream(ctx context.Context, c *goopenai.Client) error {
	stream, err := c.CreateChatCompletionStream(ctx, communityChat())
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }() // nothing to do about it
	var text strings.Builder
	for {
		res, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return streamed(nil, text.String())
		}
		if err != nil {
			return err
		}
		for _, choice := range res.Choices {
			text.WriteString(choice.Delta.Content)
		}
	}
}

func communityResponseStream(ctx context.Context, c *goopenai.Client) error {
	stream, err := c.CreateResponseStream(ctx, goopenai.CreateResponseRequest{Model: model, Input: prompt})
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }() // nothing to do about it
	var text strings.Builder
	for {
		event, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return streamed(nil, text.String())
		}
		if err != nil {
			return err
		}
		if event.Type == goopenai.ResponseStreamEventOutputTextDelta {
			text.WriteString(event.Delta)
		}
	}
}

func communityRefusal(ctx context.Context, c *goopenai.Client, kind refusal) error {
	request := communityChat()
	switch kind {
	case unknownModel:
		_, err := c.GetModel(ctx, "no-such-model")
		return err
	case noMessages:
		request.Messages = nil
	}
	_, err := c.CreateChatCompletion(ctx, request)
	return err
}
