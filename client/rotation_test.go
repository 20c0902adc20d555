package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
)

// A rehearsal has many callers make one call each, round after round.
type rehearsal struct {
	t       *testing.T
	service *clienttest.Service
	store   *credentialtest.Store
	client  *client.Client
	callers int
	call    func() error
	failed  atomic.Int64
	first   atomic.Pointer[error]
}

func keyOf(round int) string { return fmt.Sprintf("sk-CANARY-round-%04d", round) }

// round has every caller make one call at once.
func (r *rehearsal) round() {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for range r.callers {
		wg.Go(func() {
			<-start
			if err := r.call(); err != nil {
				r.failed.Add(1)
				r.first.CompareAndSwap(nil, &err)
			}
		})
	}
	close(start)
	wg.Wait()
}

type chatAnswer struct {
	Choices []struct{ Message struct{ Content string } }
}

var errWrongAnswer = errors.New("the answer is not the one to this call")

func (r *rehearsal) chat() error {
	var out chatAnswer
	_, err := r.client.Post(r.t.Context(), "chat/completions", map[string]any{
		"model": "m", "messages": []map[string]string{{"role": "user", "content": "hello"}},
	}, &out)
	if err == nil && (len(out.Choices) != 1 || out.Choices[0].Message.Content != "echo: hello") {
		err = errWrongAnswer
	}
	return err
}

// nobodyFailed also says how the rehearsal went.
func (r *rehearsal) nobodyFailed(rounds, least, most int) {
	r.t.Helper()
	reads := r.store.Reads()
	r.t.Logf("%d callers, %d rotations: %d store reads", r.callers, rounds, reads)
	if n := r.failed.Load(); n != 0 {
		r.t.Errorf("%d calls failed, the first: %v", n, *r.first.Load())
	}
	if reads < least || reads > most {
		r.t.Errorf("%d store reads, want %d to %d", reads, least, most)
	}
}

func rehearse(t *testing.T, callers int, base http.RoundTripper, service *clienttest.Service, url string) *rehearsal {
	t.Helper()
	store := credentialtest.NewStore(keyOf(0))
	c, err := client.New(client.Config{Source: store, BaseURL: url, Transport: base})
	if err != nil {
		t.Fatal(err)
	}
	r := &rehearsal{t: t, service: service, store: store, client: c, callers: callers}
	r.call = r.chat
	return r
}

// A gatedService accepts one key, and holds the first sends of a round until
// all callers are there: every one of them has the old key in hand.
type gatedService struct {
	bearer         atomic.Pointer[string]
	arrived, sends atomic.Int64
	callers        int64
	gate           atomic.Pointer[chan struct{}]
}

func (g *gatedService) open(key string) {
	bearer, gate := "Bearer "+key, make(chan struct{})
	g.bearer.Store(&bearer)
	g.arrived.Store(0)
	g.gate.Store(&gate)
}

func (g *gatedService) RoundTrip(req *http.Request) (*http.Response, error) {
	g.sends.Add(1)
	gate := *g.gate.Load()
	if g.arrived.Add(1) == g.callers {
		close(gate)
	}
	<-gate
	if req.Header.Get("Authorization") != *g.bearer.Load() {
		return answer(req, 401, `{"error":{"message":"Incorrect API key provided.","code":"invalid_api_key"}}`), nil
	}
	return answer(req, 200, "{}"), nil
}

// P1 and P2 with every layer in place.
func TestCallersSurviveAHundredRotations(t *testing.T) {
	callers, rotations := 10_000, 100
	switch {
	case raceEnabled:
		callers, rotations = 1_000, 25 // the detector makes each call ten times as long
	case !proofs():
		callers, rotations = 1_000, 100
	}
	service := &gatedService{callers: int64(callers)}
	r := rehearse(t, callers, service, nil, "https://api.example.com/v1/")
	r.call = func() error {
		_, err := r.client.Post(t.Context(), "chat/completions", json.RawMessage("{}"), nil)
		return err
	}
	for n := range rotations + 1 {
		r.store.Rotate(keyOf(n))
		service.open(keyOf(n))
		r.round()
	}
	r.nobodyFailed(rotations, rotations+1, rotations+1)
	if want := int64(callers * (2*rotations + 1)); service.sends.Load() != want {
		t.Errorf("%d sends, want %d: each call of a rotation is refused once and then served", service.sends.Load(), want)
	}
}

func TestFiveHundredCallersSurviveFiftyRotationsOverSockets(t *testing.T) {
	const rotations = 50
	server := clienttest.NewServer(keyOf(0))
	defer server.Close()
	r := rehearse(t, 500, nil, server.Service, server.URL)
	r.round()
	for n := 1; n <= rotations; n++ {
		r.store.Rotate(keyOf(n))
		server.Rotate(keyOf(n))
		r.round()
	}
	r.nobodyFailed(rotations, rotations+1, rotations+1)
}

func TestCallersWaitOutTheGapBetweenRevocationAndPublication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rotations = 6
		service := clienttest.NewService(keyOf(0))
		r := rehearse(t, scaled(10_000), service, service, "https://api.example.com/v1/")
		r.round()
		for n := 1; n <= rotations; n++ {
			service.Rotate(keyOf(n))
			time.AfterFunc(2*time.Second, func() { r.store.Rotate(keyOf(n)) })
			r.round()
		}
		r.nobodyFailed(rotations, rotations+1, 1+8*rotations)
	})
}

func TestCallersSurviveAStoreThatIsDownWhileTheKeyIsRotated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rotations = 6
		service := clienttest.NewService(keyOf(0))
		r := rehearse(t, scaled(10_000), service, service, "https://api.example.com/v1/")
		r.round()
		for n := 1; n <= rotations; n++ {
			r.store.Rotate(keyOf(n))
			service.Rotate(keyOf(n))
			if n%2 == 0 {
				r.store.Fail(errors.New("the store is down"))
				time.AfterFunc(3*time.Second, func() { r.store.Fail(nil) })
			}
			r.round()
		}
		r.nobodyFailed(rotations, rotations+1, 1+rotations/2+9*rotations/2)
	})
}

// proofs reports whether tests run at the full size that the README tells: .ci/run
// sets LATCHKEY_PROOFS. Without it the slowest of them are smaller, and test the same.
func proofs() bool { return os.Getenv("LATCHKEY_PROOFS") != "" }

// scaled makes a number smaller where the race detector makes each call slow, and
// where proofs at full size are not asked for.
func scaled(callers int) int {
	if raceEnabled || !proofs() {
		return callers / 10
	}
	return callers
}
