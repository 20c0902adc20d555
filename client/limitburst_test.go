package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware/limit"
)

// A burst is a service with two servers and many callers, whose calls have numbers.
type burst struct {
	client *client.Client
	spent  atomic.Int64 // the tokens that the servers have used
	worst  atomic.Int64 // what a call could use at the most
	served atomic.Int64
	turned atomic.Int64 // refused by the limit
}

// mostOutput is how many tokens of output a call of a burst asks for at the most.
const mostOutput = 100

// serve answers with a stream. A tenth of the calls fail at the first server, and
// a fifth of the answers do not tell their usage.
func (b *burst) serve(first bool) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		var asked struct{ Seed int }
		_ = json.Unmarshal(body, &asked)
		if first && asked.Seed%10 == 3 {
			answerWith(503, `{}`)(w)
			return
		}
		input, output := len(body)/4, asked.Seed%mostOutput+1
		b.spent.Add(int64(input + output))
		usage := fmt.Sprintf(`"usage":{"prompt_tokens":%d,"completion_tokens":%d}`, input, output)
		if asked.Seed%5 == 1 {
			usage = `"usage":null`
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, eventStream(contentChunk("a")))
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, eventStream(`{"choices":[],`+usage+`}`, "[DONE]"))
	}
}

// call makes call n; a fifth are canceled at their first event.
func (b *burst) call(ctx context.Context, n int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	body := map[string]any{"model": "m", "stream": true, "max_tokens": mostOutput, "seed": n, "messages": strings.Repeat("x", n%97)}
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	for most := int64(len(text) + mostOutput); ; {
		if was := b.worst.Load(); was >= most || b.worst.CompareAndSwap(was, most) {
			break
		}
	}
	for _, err = range b.client.Stream(ctx, "/chat/completions", body) {
		if err != nil {
			break
		}
		if b.served.Add(1); n%5 == 2 {
			cancel()
		}
	}
	if limited := (*limit.Error)(nil); errors.As(err, &limited) {
		b.turned.Add(1)
	}
	return err
}

// 10,000 calls from 200 goroutines: a fifth is canceled, a fifth does not tell its
// usage, a tenth fails over. What the servers have used is never above the
// ceiling, and what is left at the end has no room for one call more.
func TestABurstNeverPassesTheCeiling(t *testing.T) {
	const calls, callers, ceiling = 10_000, 200, 400_000
	b := &burst{}
	second := httptest.NewServer(b.serve(false))
	defer second.Close()
	l := newLimiter(t, nil, limit.Limit{Name: "tokens", Per: limit.Month, Tokens: ceiling}, limit.Limit{Name: "flight", InFlight: callers})
	b.client = limitedClient(t, l, client.Config{
		Fallbacks: []client.Endpoint{{BaseURL: second.URL + "/v1/", Source: credential.Static(credential.NewSecret(usageKey), credential.APIKey)}},
	}, b.serve(true))
	var wg sync.WaitGroup
	next := make(chan int)
	for range callers {
		wg.Go(func() {
			for n := range next {
				_ = b.call(t.Context(), n)
			}
		})
	}
	for n := range calls {
		next <- n
	}
	close(next)
	wg.Wait()
	// The last refusals may have come while others held what they gave back later.
	refused := (*limit.Error)(nil)
	for n := 0; !errors.As(b.call(t.Context(), n*5), &refused); n++ {
		if n > calls {
			t.Fatal("no end")
		}
	}
	counted, held := used(l, "tokens")
	if b.spent.Load() > ceiling || counted > ceiling || held != 0 {
		t.Errorf("%d spent and %d counted of %d, %d still held", b.spent.Load(), counted, ceiling, held)
	}
	if b.turned.Load() < 2 || b.served.Load() == 0 || ceiling-counted > b.worst.Load() {
		t.Errorf("%d events, %d calls refused, %d of %d left: more than a call could use (%d)", b.served.Load(), b.turned.Load(), ceiling-counted, ceiling, b.worst.Load())
	}
}
