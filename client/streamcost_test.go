package client_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/middleware"
)

// chunks is a stream of n chunks that come one by one.
func chunks(n int) io.Reader {
	const chunk = "data: {\"choices\":[{\"delta\":{\"content\":\"word \"},\"index\":0}],\"error\":null,\"usage\":null}\n\n"
	return &pieces{strings.Repeat(chunk, n) + "data: [DONE]\n\n", len(chunk)}
}

// Neither the layers nor the reader allocate anything for a chunk, with a log
// and an observer or without, and where the usage is asked for.
func TestAStreamCostsNoAllocationPerChunk(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for name, cfg := range map[string]client.Config{
		"bare":    {},
		"watched": {Logger: slog.New(slog.DiscardHandler), Observe: func(context.Context, *middleware.Send) {}},
		"asked":   {IncludeUsage: true, Observe: func(context.Context, *middleware.Send) {}},
	} {
		allocations := func(n int) float64 {
			var body io.Reader
			c := inMemory(t, cfg, func(req *http.Request) (*http.Response, error) {
				resp := answer(req, 200, "", "Content-Type", "text/event-stream")
				resp.Body, resp.ContentLength = io.NopCloser(body), -1
				return resp, nil
			})
			return testing.AllocsPerRun(10, func() {
				body = chunks(n)
				seen := 0
				for _, err := range c.Stream(t.Context(), "chat/completions", map[string]any{"model": "m", "stream": true}) {
					if err != nil {
						t.Fatal(err)
					}
					seen++
				}
				if seen != n {
					t.Fatalf("%d chunks, want %d", seen, n)
				}
			})
		}
		if few, many := allocations(10), allocations(1010); many > few+5 {
			t.Errorf("%s: %v allocations for 10 chunks, %v for 1010", name, few, many)
		}
	}
}
