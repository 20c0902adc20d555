package client_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/middleware"
)

// streamed calls and returns the data of each event.
func streamed(ctx context.Context, c *client.Client, path string) ([]string, error) {
	var got []string
	for event, err := range c.Stream(ctx, path, map[string]any{"model": "chat", "stream": true}) {
		if err != nil {
			return got, err
		}
		got = append(got, string(event.Data))
	}
	return got, nil
}

func stream(events ...string) func(int, *http.Request, string) (*http.Response, error) {
	return func(int, *http.Request, string) (*http.Response, error) {
		return reply(200, strings.Join(events, ""), "Content-Type", "text/event-stream"), nil
	}
}

const (
	chatRole    = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n"
	chatFilter  = "data: {\"choices\":[],\"prompt_filter_results\":[{\"prompt_index\":0}]}\n\n"
	chatWord    = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hello\"}}]}\n\n"
	chatDone    = "data: [DONE]\n\n"
	created     = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\"}}\n\n"
	inProgress  = "event: response.in_progress\ndata: {\"type\":\"response.in_progress\",\"response\":{\"id\":\"resp_1\"}}\n\n"
	textDelta   = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"hello\"}\n\n"
	completed   = "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\"}}\n\n"
	quotaEvent  = "event: error\ndata: {\"type\":\"error\",\"code\":\"insufficient_quota\",\"message\":\"no money\"}\n\n"
	chatQuota   = "data: {\"error\":{\"message\":\"no money\",\"type\":\"insufficient_quota\",\"code\":\"insufficient_quota\"}}\n\n"
	chatServer  = "data: {\"error\":{\"message\":\"oops\",\"type\":\"server_error\"}}\n\n"
	chatBad     = "data: {\"error\":{\"message\":\"your fault\",\"type\":\"invalid_request_error\"}}\n\n"
	failedEvent = "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"oops\"}}}\n\n"
)

// TestAnErrorBeforeContentGoesElsewhere: of what the first endpoint began, the
// caller sees nothing.
func TestAnErrorBeforeContentGoesElsewhere(t *testing.T) {
	for name, tt := range map[string]struct {
		path string
		say  func(int, *http.Request, string) (*http.Response, error)
	}{
		"chat, quota at once":              {"chat/completions", stream(chatQuota)},
		"chat, quota after the role":       {"chat/completions", stream(chatFilter, chatRole, chatQuota)},
		"chat, server error":               {"chat/completions", stream(": keep-alive\n\n", chatRole, chatServer, chatDone)},
		"chat, dead before its content":    {"chat/completions", stream(chatRole)},
		"responses, quota":                 {"responses", stream(created, inProgress, quotaEvent)},
		"responses, failed":                {"responses", stream(created, failedEvent)},
		"responses, dead before a content": {"responses", stream(created, inProgress)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(east, west, vendor)
				w[east].set(tt.say)
				good := stream(chatRole, chatWord, chatDone)
				if tt.path == "responses" {
					good = stream(created, textDelta, completed)
				}
				w[west].set(good)
				c := regions(t, w, func(cfg *client.Config) { cfg.HoldBack = true })
				got, err := streamed(t.Context(), c, tt.path)
				if err != nil {
					t.Fatal(err)
				}
				text := strings.Join(got, "\n")
				if strings.Contains(text, "money") || strings.Contains(text, "oops") || !strings.Contains(text, "hello") {
					t.Errorf("the caller got\n%s", text)
				}
				if w[east].count() != 1 || w[west].count() != 1 {
					t.Errorf("%d and %d sends, want 1 and 1", w[east].count(), w[west].count())
				}
			})
		})
	}
}

// TestNothingIsSentAgainAfterContent: P8 holds for a stream that is held back.
func TestNothingIsSentAgainAfterContent(t *testing.T) {
	for name, say := range map[string]func(int, *http.Request, string) (*http.Response, error){
		"quota after a word":     stream(chatRole, chatWord, chatQuota),
		"server error":           stream(chatRole, chatWord, chatServer),
		"cut after a word":       stream(chatRole, chatWord),
		"what the caller asked":  stream(chatRole, chatBad),
		"8 KiB without content":  stream(strings.Repeat(chatRole, client8k/len(chatRole)+1), chatQuota),
		"an event nobody knows":  stream("data: {\"novel\":1}\n\n", chatQuota),
		"one that is no JSON":    stream("data: hm\n\n", chatQuota),
		"an error beside a text": stream("data: {\"choices\":[{\"text\":\"a\"}]}\n\n", chatServer),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(east, west, vendor)
				w[east].set(say)
				c := regions(t, w, func(cfg *client.Config) { cfg.HoldBack = true })
				_, err := streamed(t.Context(), c, "chat/completions")
				if err == nil {
					t.Error("a stream with an error in it had none")
				}
				if n := w[west].count() + w[vendor].count(); w[east].count() != 1 || n != 0 {
					t.Errorf("%d sends to the first and %d to others, want 1 and 0", w[east].count(), n)
				}
			})
		})
	}
}

const client8k = 8 << 10

// TestAStreamThatIsHeldBackIsWhole: not a byte is lost, added or moved.
func TestAStreamThatIsHeldBackIsWhole(t *testing.T) {
	long := "data: {\"choices\":[{\"delta\":{\"content\":\"" + strings.Repeat("a", 20<<10) + "\"}}]}\n\n"
	for _, want := range []string{
		chatRole + chatWord + chatDone, chatDone, long + chatDone,
		chatFilter + ": hm\n\n" + chatRole + long + chatWord + chatDone, strings.Repeat(chatRole, 200) + chatWord + chatDone,
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(east, west, vendor)
			w[east].set(stream(want))
			c := regions(t, w, func(cfg *client.Config) { cfg.HoldBack = true })
			req, err := http.NewRequestWithContext(t.Context(), "POST", c.BaseURL()+"chat/completions", strings.NewReader(`{"model":"chat","stream":true}`))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			resp, err := c.HTTPClient().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			if err != nil || !bytes.Equal(got, []byte(want)) {
				t.Errorf("%d bytes for %d: %v", len(got), len(want), err)
			}
		})
	}
}

// TestOneEndpointRetriesWhatIsHeldBack: HoldBack needs no fallback.
func TestOneEndpointRetriesWhatIsHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(east)
		w[east].set(func(n int, req *http.Request, body string) (*http.Response, error) {
			if n == 1 {
				return stream(chatRole, chatServer)(n, req, body)
			}
			return stream(chatRole, chatWord, chatDone)(n, req, body)
		})
		c := regions(t, w, func(cfg *client.Config) { cfg.HoldBack, cfg.Fallbacks = true, nil })
		if _, err := streamed(t.Context(), c, "chat/completions"); err != nil {
			t.Fatal(err)
		}
		if w[east].count() != 2 {
			t.Errorf("%d sends, want 2", w[east].count())
		}
	})
}

// TestTheErrorOfAHeldStreamIsWhatItSays: where nothing can better it, the
// caller gets the error as if it had come before the stream.
func TestTheErrorOfAHeldStreamIsWhatItSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(east)
		w[east].set(stream(chatRole, chatQuota))
		c := regions(t, w, func(cfg *client.Config) { cfg.HoldBack, cfg.Fallbacks = true, nil })
		_, err := streamed(t.Context(), c, "chat/completions")
		e := (*client.Error)(nil)
		if !errors.As(err, &e) || e.StatusCode != 429 || e.Code != "insufficient_quota" {
			t.Errorf("%v", err)
		}
	})
}

// TestAHeldStreamEndsWithItsContext: nobody waits for content for longer.
func TestAHeldStreamEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(east)
		w[east].set(func(_ int, req *http.Request, _ string) (*http.Response, error) {
			resp := reply(200, "", "Content-Type", "text/event-stream")
			resp.ContentLength = -1
			resp.Body = &stalled{ctx: req.Context(), first: strings.NewReader(chatRole)}
			return resp, nil
		})
		c := regions(t, w, func(cfg *client.Config) { cfg.HoldBack, cfg.Fallbacks = true, nil })
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := streamed(ctx, c, "chat/completions"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want the deadline", err)
		}
		if w[east].count() != 1 {
			t.Errorf("%d sends", w[east].count())
		}
	})
}

type stalled struct {
	ctx   context.Context
	first io.Reader
}

func (s *stalled) Read(p []byte) (int, error) {
	if n, _ := s.first.Read(p); n > 0 {
		return n, nil
	}
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}

func (*stalled) Close() error { return nil }

// TestTheRecordOfAHeldStreamHasItsError: the send was answered with 200, and
// yet it is none that served. The next one is.
func TestTheRecordOfAHeldStreamHasItsError(t *testing.T) {
	for name, body := range map[string]io.Reader{
		"that goes on":                       io.MultiReader(strings.NewReader(chatRole+chatQuota), strings.NewReader(chatDone)),
		"whose end comes with its last byte": iotest.DataErrReader(strings.NewReader(chatRole + chatQuota)),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(east, west, vendor)
				w[east].set(func(int, *http.Request, string) (*http.Response, error) {
					resp := reply(200, "", "Content-Type", "text/event-stream")
					resp.Body, resp.ContentLength = io.NopCloser(body), -1
					return resp, nil
				})
				w[west].set(stream(chatRole, chatWord, chatDone))
				var sends []*middleware.Send
				c := regions(t, w, func(cfg *client.Config) {
					cfg.HoldBack = true
					cfg.Observe = func(_ context.Context, s *middleware.Send) { sends = append(sends, s) }
				})
				if _, err := streamed(t.Context(), c, "chat/completions"); err != nil {
					t.Fatal(err)
				}
				if len(sends) != 2 || sends[0].Endpoint != east || !errors.Is(sends[0].Err, io.ErrUnexpectedEOF) {
					t.Fatalf("%d records, the first with %v, want the error of the stream", len(sends), sends[0].Err)
				}
				if text := sends[0].Err.Error(); name == "that goes on" && !strings.Contains(text, "insufficient_quota") {
					t.Errorf("the record says %s", text)
				}
				if sends[1].Endpoint != west || sends[1].Err != nil {
					t.Errorf("the send that served has %v", sends[1].Err)
				}
			})
		})
	}
}
