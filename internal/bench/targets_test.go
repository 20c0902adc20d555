package bench_test

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/client"
)

// What does not depend on the machine is asserted: allocations, sends and
// connections. Times are for the benchmarks.

func allocs(tb testing.TB, call func() error) float64 {
	tb.Helper()
	must(tb, call())
	return testing.AllocsPerRun(100, func() { must(tb, call()) })
}

func TestCachedReadDoesNotAllocate(t *testing.T) {
	if n := allocs(t, latchkeyRead(t)); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func TestLayersAddFewAllocations(t *testing.T) {
	if raceDetector {
		t.Skip("sync.Pool forgets at random under the race detector; the run without it counts")
	}
	net := newMemory("application/json", chatAnswer)
	kinds := []struct {
		name string
		call func(http.RoundTripper) func() error
		most map[string]float64
	}{
		{"round trip with four headers", func(rt http.RoundTripper) func() error {
			req := newRequest(t, chatURL, chatPrompt)
			return func() error { return roundTrip(rt, req) }
		}, map[string]float64{"latchkey": 4, "latchkey+log": 8}},
		{"openai-go", openaiCall, map[string]float64{"latchkey": 6, "latchkey+log": 10}},
	}
	for _, k := range kinds {
		var bare float64
		for _, s := range stacks {
			n := allocs(t, k.call(s.wrap(t, net)))
			if s.name == "none" {
				bare = n
			}
			if most, ok := k.most[s.name]; ok && n-bare > most {
				t.Errorf("%s: %s adds %v allocations, want at most %v", k.name, s.name, n-bare, most)
			}
		}
	}
}

// TestLayersAddNothingPerChunk compares what the guard and the log add to a
// short stream and to a long one.
func TestLayersAddNothingPerChunk(t *testing.T) {
	if raceDetector {
		t.Skip("sync.Pool forgets at random under the race detector; the run without it counts")
	}
	long := chatStream()
	cut := 0
	for range 20 {
		cut += strings.Index(long[cut:], "\n\n") + 2
	}
	short := long[:cut] + "data: [DONE]\n\n"
	added := func(body string) float64 {
		net := newMemory("text/event-stream", body)
		count := func(cfg client.Config) float64 {
			cfg.Transport = net
			read := latchkeyStream(newClient(t, cfg))
			return allocs(t, func() error {
				n, err := read()
				if err == nil && n < 20 {
					err = fmt.Errorf("%d chunks", n)
				}
				return err
			})
		}
		return count(client.Config{Logger: jsonLogger()}) - count(client.Config{DisableStreamGuard: true})
	}
	if a, b := added(short), added(long); b-a >= 1 {
		t.Errorf("the layers add %v allocations to 20 chunks and %v to %d, want the same", a, b, streamChunks)
	}
}

// TestRetryKeepsTheConnection covers HTTP/1.1, where an answer that is not
// read to its end costs the connection.
func TestRetryKeepsTheConnection(t *testing.T) {
	ok := answer(http.StatusOK, answerHeader("application/json"), chatAnswer)
	for _, r := range refusals()[1:] {
		s := newLoopback(t, answer(http.StatusTooManyRequests, tooManyHeader(), r.body), ok)
		call := postPrompt(retryingClient(t, s.transport(t), s.url).HTTPClient(), s.url)
		for range 10 {
			must(t, call())
		}
		if n := s.next.Load(); n != 20 {
			t.Errorf("%s: %d sends for 10 calls, want 20", r.name, n)
		}
		if n := s.dials.Load(); n != 1 {
			t.Errorf("%s: %d connections for 10 calls, want 1", r.name, n)
		}
	}
}

// TestPromptIsNotCopied holds a call that succeeds at once, and one that is
// sent twice, to much less memory than the prompt has.
func TestPromptIsNotCopied(t *testing.T) {
	for _, r := range refusals() {
		call := postPrompt(retryingClient(t, newBusy(r), baseURL).HTTPClient(), baseURL)
		must(t, call())
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		const calls = 50
		for range calls {
			must(t, call())
		}
		runtime.ReadMemStats(&after)
		if n := (after.TotalAlloc - before.TotalAlloc) / calls; n > promptSize/4 {
			t.Errorf("answer %s: %d bytes per call for a prompt of %d", r.name, n, promptSize)
		}
	}
}
