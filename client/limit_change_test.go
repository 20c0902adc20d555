package client_test

import (
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/middleware/limit"
)

// limitOf is a limit of requests a day.
func limitOf(n int64) []limit.Limit {
	return []limit.Limit{{Name: "day", Per: limit.Day, Requests: n}}
}

// TestALimitIsLoweredBelowWhatIsUnderWay: what is under way ends as it began, and
// nothing more is sent.
func TestALimitIsLoweredBelowWhatIsUnderWay(t *testing.T) {
	const flying = 20
	l := newLimiter(t, nil, limitOf(2*flying)...)
	var sent atomic.Int64
	all, answer := make(chan struct{}), make(chan struct{})
	c := limitedClient(t, l, client.Config{}, func(w http.ResponseWriter, _ *http.Request) {
		n := sent.Add(1)
		if n == flying {
			close(all)
		}
		if n <= flying {
			<-answer
		}
		answerWith(200, usageChunk)(w)
	})
	call := func() error {
		_, err := c.Post(t.Context(), "/chat/completions", chatOf("m", 1), nil)
		return err
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if served, _ := together(t, flying, call); served != flying {
			t.Errorf("%d of %d that were under way were served", served, flying)
		}
	})
	<-all
	for _, ceiling := range []int64{flying / 2, flying} {
		if err := l.Set(limitOf(ceiling)); err != nil {
			t.Fatal(err)
		}
		var limited *limit.Error
		if err := call(); !errors.As(err, &limited) {
			t.Errorf("at a ceiling of %d with %d under way: %v", ceiling, flying, err)
		}
	}
	if err := l.Set(limitOf(0)); err == nil {
		t.Error("a limit without a ceiling was taken")
	}
	close(answer)
	wg.Wait()
	var limited *limit.Error
	if err := call(); !errors.As(err, &limited) || sent.Load() != flying {
		t.Errorf("%v, %d sent", err, sent.Load())
	}
}

// TestALimitIsChangedWhileCallsAreUnderWay: maximhq/bifrost#4794. A budget could be
// changed only by making it anew, with a count of 0.
func TestALimitIsChangedWhileCallsAreUnderWay(t *testing.T) {
	const lowest, highest = 40, 100
	l := newLimiter(t, nil, limitOf(lowest)...)
	var sent atomic.Int64
	c := limitedClient(t, l, client.Config{}, answering(&sent))
	call := func() error {
		_, err := c.Post(t.Context(), "/chat/completions", chatOf("m", 1), nil)
		return err
	}
	stop := make(chan struct{})
	var changes sync.WaitGroup
	changes.Go(func() {
		for n := int64(0); ; n++ {
			if err := l.Set(limitOf(lowest + n%(highest-lowest+1))); err != nil {
				t.Error(err)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	together(t, 300, call)
	close(stop)
	changes.Wait()
	if n, _ := used(l, "requests"); sent.Load() < lowest || sent.Load() > highest || n != sent.Load() {
		t.Errorf("%d sent, %d counted, the ceilings were %d to %d", sent.Load(), n, lowest, highest)
	}
	if err := l.Set(limitOf(highest)); err != nil {
		t.Fatal(err)
	}
	together(t, 300, call)
	if sent.Load() != highest {
		t.Errorf("%d sent, the ceiling is %d", sent.Load(), highest)
	}
}

// TestAWebSocketKeepsItsReservation: nobody but its two ends knows what a WebSocket
// uses, so it is counted with the worst case.
func TestAWebSocketKeepsItsReservation(t *testing.T) {
	var sent atomic.Int64
	l := newLimiter(t, nil, limit.Limit{Per: limit.Day, Tokens: 15_000})
	c := limitedClient(t, l, client.Config{}, answering(&sent))
	dial := func() (*websocket.Conn, error) {
		conn, _, err := websocket.Dial(t.Context(), c.BaseURL()+"realtime?model=m", &websocket.DialOptions{HTTPClient: c.HTTPClient()})
		return conn, err
	}
	for i := range int64(2) {
		conn, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		for _, when := range []string{"open", "closed"} {
			if n, held := used(l, "tokens"); n != (i+1)*6000 || held != 0 {
				t.Errorf("connection %d, %s: %d tokens counted, %d held; want 6,000 for each", i+1, when, n, held)
			}
			_ = conn.CloseNow()
		}
	}
	var limited *limit.Error
	if _, err := dial(); !errors.As(err, &limited) || sent.Load() != 2 {
		t.Errorf("%v, %d sent", err, sent.Load())
	}
}
