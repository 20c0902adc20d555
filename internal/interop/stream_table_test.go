package interop_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	openai "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/ssestream"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

// A protocol is a kind of stream: how its chunks look, how it ends, and how
// both readers ask for it.
type protocol struct {
	name, path  string
	chunk, done string
	official    func(ctx context.Context, c openai.Client) (chunks int, err error)
}

func protocols() []protocol {
	return []protocol{
		{"chat", "chat/completions", "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"error\"}}]}\n\n", "data: [DONE]\n\n",
			func(ctx context.Context, c openai.Client) (int, error) {
				return drain(c.Chat.Completions.NewStreaming(ctx, chatParams()), nil)
			}},
		{"completions", "completions", "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"text\":\"x\"}]}\n\n", "data: [DONE]\n\n",
			func(ctx context.Context, c openai.Client) (int, error) {
				return drain(c.Completions.NewStreaming(ctx, openai.CompletionNewParams{Model: model, Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String(prompt)}}), nil)
			}},
		{"responses", "responses", "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"x\"}\n\n", "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"error\":null}}\n\n",
			func(ctx context.Context, c openai.Client) (int, error) {
				s := c.Responses.NewStreaming(ctx, responseParams())
				return drain(s, func() bool { return s.Current().Type == "response.completed" })
			}},
		{"unknown", "images/generations", "event: image_generation.partial_image\ndata: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"eA==\"}\n\n", "event: image_generation.completed\ndata: {\"type\":\"image_generation.completed\"}\n\n",
			func(ctx context.Context, c openai.Client) (int, error) {
				s := c.Images.GenerateStreaming(ctx, openai.ImageGenerateParams{Prompt: prompt})
				return drain(s, func() bool { return s.Current().Type == "image_generation.completed" })
			}},
	}
}

// drain counts the chunks of a stream of openai-go, without the terminal one.
func drain[T any](s *ssestream.Stream[T], last func() bool) (chunks int, err error) {
	defer s.Close()
	for s.Next() {
		if last == nil || !last() {
			chunks++
		}
	}
	return chunks, s.Err()
}

// yielded counts the chunks of Client.Stream, without the terminal one.
func yielded(ctx context.Context, c *client.Client, p protocol) (chunks int, err error) {
	for ev, err := range c.Stream(ctx, p.path, map[string]any{"model": model, "stream": true}) {
		if err != nil {
			return chunks, err
		}
		if !strings.HasSuffix(ev.Type, ".completed") {
			chunks++
		}
	}
	return chunks, nil
}

// told is an outcome in words: the chunks, and what kind of error ended them.
func told(chunks int, err error) string {
	refused, streamed := (*client.Error)(nil), (*ssestream.StreamError)(nil)
	syntax, kind := (*json.SyntaxError)(nil), ""
	switch {
	case err == nil:
	case errors.As(err, &refused):
		kind = " error " + refused.Code
	case errors.As(err, &streamed):
		kind = " error"
	case errors.Is(err, middleware.ErrNotStream):
		kind = " no stream"
	case errors.Is(err, io.ErrUnexpectedEOF):
		kind = " cut"
	case errors.As(err, &syntax):
		kind = " not JSON"
	default:
		kind = fmt.Sprintf(" other: %v", err)
	}
	return strings.TrimSpace(fmt.Sprint(chunks) + kind)
}

// canned answers every request with the same.
type canned struct {
	mediaType []string
	body      string
}

func (a canned) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		_, _ = io.Copy(io.Discard, req.Body)
		_ = req.Body.Close()
	}
	resp := &http.Response{
		StatusCode: 200, Status: "200 OK", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{},
		Body: io.NopCloser(strings.NewReader(a.body)), ContentLength: int64(len(a.body)), Request: req,
	}
	if a.mediaType != nil {
		resp.Header["Content-Type"] = a.mediaType
	}
	if a.body == "" {
		resp.Body = http.NoBody
	}
	return resp, nil
}

// outcomes are what Client.Stream yields, what openai-go over us reports, and
// what openai-go alone does.
func outcomes(t *testing.T, p protocol, a canned) [3]string {
	t.Helper()
	const base = "https://api.example.com/v1/"
	c, err := client.New(client.Config{BaseURL: base, Source: credential.Static(credential.NewSecret(fakeKey(0)), credential.APIKey), Transport: a})
	if err != nil {
		t.Fatal(err)
	}
	alone := openai.NewClient(option.WithBaseURL(base), option.WithAPIKey("k"), option.WithMaxRetries(0), option.WithHTTPClient(&http.Client{Transport: a}))
	return [3]string{
		told(yielded(t.Context(), c, p)),
		told(p.official(t.Context(), openai.NewClient(c.Options()...))),
		told(p.official(t.Context(), alone)),
	}
}

// optionsMarkStreams says that Client.Options tells the guard which calls of
// openai-go ask for a stream. Without it openai-go over us is what it is alone
// where the media type is not that of a stream.
const optionsMarkStreams = true

func TestStreamsAreToldSideBySide(t *testing.T) {
	count := 0
	for _, r := range streamRows() {
		for i, p := range protocols() {
			count++
			want := strings.Split(r.want[min(i, len(r.want)-1)], "|")
			got := outcomes(t, p, canned{r.mediaType, r.text(p)})
			for j, who := range []string{"Client.Stream", "openai-go over us", "openai-go alone"} {
				if j == 1 && !optionsMarkStreams && (len(r.mediaType) == 0 || !strings.HasPrefix(r.mediaType[0], "text/event-stream")) {
					continue
				}
				if j == 1 && !optionsMarkStreams && p.name == "unknown" && r.body == "" {
					continue
				}
				if got[j] != want[j] {
					t.Errorf("%s, %q, %s: %s: %s, want %s", r.name, r.mediaType, p.name, who, got[j], want[j])
				}
			}
		}
	}
	if count < 120 {
		t.Errorf("only %d streams", count)
	}
	t.Logf("%d streams", count)
}

// Wherever a stream is cut, what came whole is yielded, and then there is an
// error, unless the end had come.
func TestAStreamThatIsCutAnywhereIsAnError(t *testing.T) {
	for _, p := range protocols() {
		body := p.chunk + p.chunk + p.done
		ends := len(body) // of the terminal event
		if strings.HasPrefix(p.done, "data: [DONE]") {
			ends = len(p.chunk+p.chunk) + len("data: [DONE]") // it counts without the empty line
		}
		for cut := range len(body) + 1 {
			got := outcomes(t, p, canned{[]string{"text/event-stream"}, body[:cut]})
			chunks := strings.Count(body[:min(cut, len(p.chunk+p.chunk))], "\n\n")
			for i, who := range []string{"Client.Stream", "openai-go over us"} {
				whole := got[i] == fmt.Sprint(chunks)
				failed := got[i] == fmt.Sprint(chunks, " cut") || got[i] == fmt.Sprint(chunks, " no stream")
				switch unknown := p.name == "unknown"; {
				case !whole && !failed, whole && cut < ends && !unknown, failed && cut >= ends:
					t.Errorf("%s, cut at %d of %d: %s: %s", p.name, cut, len(body), who, got[i])
				}
			}
		}
	}
}
