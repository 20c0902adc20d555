package redislimit_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware/limit"
	"github.com/latchkey-go/latchkey/middleware/redislimit"
)

// clientTokens is the ceiling of tokens for a test of clients.
const clientTokens = 30_000

// A service is what the calls of a process arrive at. It knows what was really
// used.
type service struct {
	mu   sync.Mutex
	uses []use
}

// RoundTrip answers with a usage, without one, with a refusal, or not at all.
func (s *service) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	var asked struct {
		Most int64 `json:"max_tokens"`
	}
	if err := json.Unmarshal(body, &asked); err != nil {
		return nil, err
	}
	// As much as the request allows, or a little less.
	input, output := int64(len(body))-rand.Int64N(4), asked.Most-rand.Int64N(asked.Most)/2
	status, answer := http.StatusOK, fmt.Sprintf(`{"usage":{"prompt_tokens":%d,"completion_tokens":%d}}`, input, output)
	var broken error
	switch rand.IntN(8) {
	case 0:
		answer = `{}`
	case 1:
		status, input, output = http.StatusServiceUnavailable, 0, 0
	case 2:
		broken = io.ErrUnexpectedEOF
	}
	now := time.Now().Unix()
	s.mu.Lock()
	s.uses = append(s.uses, use{At: now, Minute: true, Amount: 1}, use{At: now, Amount: input + output})
	s.mu.Unlock()
	if broken != nil {
		return nil, broken
	}
	return &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req, ContentLength: int64(len(answer)),
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(answer)),
	}, nil
}

type clientWorker struct{ c *client.Client }

// clientChild is a program that calls through a client.
func clientChild(rdb *redis.Client) (worker, func(*report), error) {
	counter, err := redislimit.New(rdb, &redislimit.Options{NewUntil: newUntil(), Timeout: 5 * time.Second})
	if err != nil {
		return nil, nil, err
	}
	fallback, err := strconv.ParseFloat(os.Getenv("LATCHKEY_TEST_FALLBACK"), 64)
	if err != nil {
		return nil, nil, err
	}
	l, err := limit.New([]limit.Limit{
		{Name: "day", Requests: requests, Tokens: clientTokens, Per: limit.Day},
	}, &limit.Options{Counter: counter, Processes: processes, Fallback: fallback, WorstInput: 100, WorstOutput: 100})
	if err != nil {
		return nil, nil, err
	}
	s := &service{}
	c, err := client.New(client.Config{
		BaseURL: "http://127.0.0.1/v1/", Transport: s, Limits: l,
		Source: credential.Static(credential.NewSecret("sk-CANARY-of-a-process"), credential.APIKey),
	})
	return clientWorker{c}, func(rep *report) {
		flushAll(counter, rep)
		rep.Uses = s.uses
	}, err
}

func (w clientWorker) turn(ctx context.Context, r *rand.Rand, rep *report) error {
	_, err := w.c.Post(ctx, "chat/completions", map[string]any{"model": "m", "max_tokens": 1 + r.IntN(9)}, nil)
	var full *limit.Error
	switch {
	case errors.Is(err, limit.ErrCounter):
		rep.Down++
	case errors.As(err, &full):
		rep.Refused++
	default:
		return nil // what came of it is the service's to tell
	}
	return err
}

// TestClientsOfFourProcessesNeverPassACeiling: what the services of four processes
// have really got stays below the ceilings, while the Redis is killed and
// started again, under both policies for that.
func TestClientsOfFourProcessesNeverPassACeiling(t *testing.T) {
	for _, fallback := range []string{"0", "0.02"} {
		t.Run(fallback, func(t *testing.T) {
			sameDay(t)
			s := start(t)
			rdb := s.client(s.socket)
			f := launch(t, s, "client", "LATCHKEY_TEST_ONCE=yes", "LATCHKEY_TEST_FALLBACK="+fallback)
			for range 3 {
				calls(t, rdb, 150)
				s.kill()
				s.boot()
			}
			calls(t, rdb, 2000)
			rep := f.stop()
			var sends, tokens int64
			for _, u := range rep.Uses {
				if u.Minute {
					sends++
				} else {
					tokens += u.Amount
				}
			}
			if sends > requests || tokens > clientTokens {
				t.Errorf("%d requests and %d tokens were used, the ceilings are %d and %d", sends, tokens, requests, clientTokens)
			}
			if rep.NotFlushed > 0 || rep.Refused == 0 || sends == 0 || rep.Down == 0 {
				t.Errorf("%d not flushed, %d refused, %d sent, %d for want of the counter", rep.NotFlushed, rep.Refused, sends, rep.Down)
			}
			t.Logf("%d requests, %d tokens; %d refused, %d for want of the counter", sends, tokens, rep.Refused, rep.Down)
		})
	}
}
