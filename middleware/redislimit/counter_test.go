package redislimit_test

import (
	"context"
	"math"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/latchkey-go/latchkey/middleware/limit"
	"github.com/latchkey-go/latchkey/middleware/redislimit"
)

func TestAReservationAddsAllChargesOrNone(t *testing.T) {
	s := start(t)
	c, client := s.counter(redislimit.Options{})
	a, b, soft := minute("a", 10, 4), day("b", 6, 3), day("soft", unlimited, 1<<40)

	got := reserve(t, c, a, b, soft)
	for _, ch := range got {
		if now := time.Now().Unix(); ch.At < now-60 || ch.At > now {
			t.Errorf("At of %s = %d, now is %d", ch.Key, ch.At, now)
		}
	}
	reserve(t, c, a, b, soft)
	if reset := refused(t, c, 1, settle(a, 2), b, soft); !reset.Equal(b.End) {
		t.Errorf("reset = %v, want %v", reset, b.End)
	}
	if reset := refused(t, c, 0, a, b, soft); reset.Unix() != got[0].At+61 {
		t.Errorf("reset = %v, want 61 s after %d", reset, got[0].At)
	}
	refused(t, c, 1, settle(a, 1), settle(a, 2)) // both are of one count
	for ch, want := range map[*limit.Charge]int64{&a: 8, &b: 6, &soft: 2 << 40} {
		if n := used(t, client, *ch); n != want {
			t.Errorf("%s has %d, want %d", ch.Key, n, want)
		}
	}
}

func TestWhatIsGivenBackIsFreeAgainAndMoreUseIsCounted(t *testing.T) {
	s := start(t)
	c, client := s.counter(redislimit.Options{})
	got := reserve(t, c, minute("a", 10, 10), day("b", 10, 10))
	refused(t, c, 0, minute("a", 10, 1))
	c.Settle([]limit.Charge{settle(got[0], -4), settle(got[1], 5)})
	refused(t, c, 1, minute("a", 10, 4), day("b", 10, 0))
	reserve(t, c, minute("a", 10, 4))
	if a, b := used(t, client, got[0]), used(t, client, got[1]); a != 10 || b != 15 {
		t.Errorf("used %d and %d, want 10 and 15", a, b)
	}
	// No count goes below 0, and nothing is taken from another second.
	c.Settle([]limit.Charge{settle(got[0], -1000), settle(got[1], -1000)})
	flush(t, c)
	if a, b := used(t, client, got[0]), used(t, client, got[1]); a < 0 || a > 4 || b != 0 {
		t.Errorf("used %d and %d, want at most 4, and 0", a, b)
	}
}

func TestASettlementForAWindowThatIsOverIsDropped(t *testing.T) {
	s := start(t)
	c, client := s.counter(redislimit.Options{})
	now := reserve(t, c, minute("a", 10, 5))[0].At
	old := minute("a", 10, 7)
	old.At = now - 61
	yesterday := day("b", 10, 7)
	yesterday.Start, yesterday.End = yesterday.Start.AddDate(0, 0, -1), yesterday.Start
	c.Settle([]limit.Charge{old, yesterday, settle(old, -3)})
	flush(t, c)
	if a, b := used(t, client, old), used(t, client, yesterday); a != 5 || b != 0 {
		t.Errorf("used %d and %d, want 5 and 0", a, b)
	}
}

// What a process used without the counter comes with its own time, or with none.
func TestUseThatWasNotReservedIsCountedNow(t *testing.T) {
	s := start(t)
	c, client := s.counter(redislimit.Options{})
	a, b, d := minute("a", 100, 3), minute("b", 100, 4), day("d", 100, 5)
	b.At = time.Now().Unix() + 1000
	c.Settle([]limit.Charge{a, b, d, settle(minute("c", 0, 0), math.MaxInt64), settle(day("e", 0, 0), math.MinInt64)})
	flush(t, c)
	refused(t, c, 0, minute("a", 100, 98))
	refused(t, c, 0, minute("b", 100, 97))
	refused(t, c, 0, day("d", 100, 96))
	if n := used(t, client, minute("c", 0, 0)); n != 1<<53-1 {
		t.Errorf("used %d", n)
	}
	c.Settle([]limit.Charge{settle(minute("c", 0, 0), 1), settle(d, math.MinInt64)})
	flush(t, c)
	if n := used(t, client, minute("c", 0, 0)); n != 1<<53-1 {
		t.Errorf("used %d", n)
	}
	reserve(t, c, day("d", 100, 100))
}

func TestSettlementsAreSentWithoutAReserve(t *testing.T) {
	s := start(t)
	c, client := s.counter(redislimit.Options{})
	got := reserve(t, c, day("a", 10, 10))
	c.Settle([]limit.Charge{settle(got[0], -7)})
	await(t, func() bool { return used(t, client, got[0]) == 3 })
}

// A hook counts the commands of a client.
type hook struct {
	redis.Hook
	n atomic.Int64
}

func (h *hook) DialHook(next redis.DialHook) redis.DialHook { return next }
func (h *hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		h.n.Add(1)
		return next(ctx, cmd)
	}
}

func TestAReserveIsOneRoundTripWithItsSettlements(t *testing.T) {
	s := start(t)
	c, client := s.counter(redislimit.Options{})
	got := reserve(t, c, minute("a", 1000, 5), day("b", 1000, 5)) // loads the script
	h := &hook{}
	client.AddHook(h)
	const n = 100
	for range n {
		c.Settle([]limit.Charge{settle(got[0], -1), settle(got[1], -1)})
		got = reserve(t, c, minute("a", 1000, 5), day("b", 1000, 5))
	}
	if h.n.Load() != n {
		t.Errorf("%d commands for %d reservations", h.n.Load(), n)
	}
	if b := used(t, client, got[1]); b != 5+4*n {
		t.Errorf("used %d, want %d", b, 5+4*n)
	}
}

func TestNumbersThatAScriptCannotCountToAreRefused(t *testing.T) {
	s := start(t)
	c, client := s.counter(redislimit.Options{})
	const most = 1<<53 - 1
	for name, ch := range map[string]limit.Charge{
		"amount":   day("x", unlimited, most+1),
		"ceiling":  day("x", most+1, 1),
		"negative": day("x", 10, -1),
		"window":   {Key: "x", Window: 9, Max: 1, Amount: 1},
		"no end":   {Key: "x", Window: limit.Day, Max: 1, Amount: 1},
	} {
		if full, _, err := c.Reserve(t.Context(), []limit.Charge{ch}); err == nil || full != -1 {
			t.Errorf("%s: Reserve = %d, %v; want an error", name, full, err)
		}
	}
	// At the edge it is exact to one.
	reserve(t, c, day("edge", most, most-1), minute("edge-m", most, most-1))
	refused(t, c, 0, day("edge", most, 2))
	refused(t, c, 0, minute("edge-m", most, 2))
	reserve(t, c, day("edge", most, 1), minute("edge-m", most, 1))
	refused(t, c, 0, day("edge", most, 1))
	refused(t, c, 0, minute("edge-m", most, 1))
	// A soft limit stops there.
	reserve(t, c, day("edge", unlimited, most), minute("edge-m", unlimited, most))
	if a, b := used(t, client, day("edge", 0, 0)), used(t, client, minute("edge-m", 0, 0)); a != most || b != most {
		t.Errorf("used %d and %d, want %d", a, b, int64(most))
	}
}

func TestKeysOfAnyBytesAndLengthNeverMeet(t *testing.T) {
	s := start(t)
	c, client := s.counter(redislimit.Options{})
	long := strings.Repeat("x", 5000)
	keys := []string{"", ":", "a", "a:", "a\x00", "a\xff", "k:a", "h:a", "{a}", "}", "a\r\nb", "epoch", "s:", long, long + "y", long[:128], long[:129]}
	for _, key := range keys {
		month := day(key, 1, 1)
		month.Window = limit.Month
		reserve(t, c, minute(key, 1, 1), day(key, 1, 1), month)
	}
	for _, key := range keys {
		refused(t, c, 0, minute(key, 1, 1))
		refused(t, c, 0, day(key, 1, 1))
	}
	names, err := client.Keys(t.Context(), "*").Result()
	if err != nil || len(names) != 2+3*len(keys) {
		t.Errorf("%d keys, want %d, %v", len(names), 2+3*len(keys), err)
	}
	for _, name := range names {
		if len(name) > 256 || !strings.HasPrefix(name, "{latchkey:limit:}") {
			t.Errorf("the key %.300q", name)
		}
		if ttl := client.TTL(t.Context(), name).Val(); !strings.HasSuffix(name, "}epoch") && ttl <= 0 {
			t.Errorf("%.300q stays for ever", name)
		}
	}
}

// A model counts as the script should, in the plainest way.
type model struct {
	sum map[int64]int64
}

func (m *model) total(now int64) (n int64) {
	for at, v := range m.sum {
		if at >= now-60 {
			n += v
		}
	}
	return n
}

func TestAMinuteIsTheLastSixtySecondsOfTheClockOfRedis(t *testing.T) {
	s := start(t)
	client := s.client(s.socket)
	now := int64(1_000_000)
	setClock := func() {
		if err := client.Set(t.Context(), "clock", now, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	c := newCounter(t, client, redislimit.Options{})
	redislimit.UseClock(c, client)
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	t.Logf("seed %d", seed)
	m := &model{sum: map[int64]int64{}}
	const most = 100
	for i := range 1500 {
		switch r.IntN(12) {
		case 0:
			now += r.Int64N(70)
		case 1, 2, 3:
			now += r.Int64N(3)
		}
		setClock()
		if r.IntN(3) == 0 { // a settlement, of a second that may be over
			at, amount := now-r.Int64N(65), r.Int64N(21)-10
			c.Settle([]limit.Charge{{Key: "a", Window: limit.Minute, Amount: amount, At: at}})
			flush(t, c)
			if at >= now-60 {
				m.sum[at] = max(0, m.sum[at]+amount)
			}
		}
		ch := []limit.Charge{minute("a", most, r.Int64N(30))}
		full, reset, err := c.Reserve(t.Context(), ch)
		if err != nil {
			t.Fatal(err)
		}
		fits := m.total(now)+ch[0].Amount <= most
		if fits != (full == -1) {
			t.Fatalf("step %d at %d: Reserve(%d) = %d, the model has %d", i, now, ch[0].Amount, full, m.total(now))
		}
		if fits {
			m.sum[now] += ch[0].Amount
			if ch[0].At != now {
				t.Fatalf("At = %d at %d", ch[0].At, now)
			}
			continue
		}
		open := now
		for m.total(open)+ch[0].Amount > most {
			open++
		}
		if reset.Unix() != open {
			t.Fatalf("step %d at %d: reset = %d, want %d", i, now, reset.Unix(), open)
		}
	}
}

func TestAClockThatGoesBackOpensNothingTooEarly(t *testing.T) {
	s := start(t)
	client := s.client(s.socket)
	c := newCounter(t, client, redislimit.Options{})
	redislimit.UseClock(c, client)
	at := func(now int64) { client.Set(t.Context(), "clock", now, 0) }
	at(1_000_000)
	got := reserve(t, c, minute("a", 10, 6))
	at(999_970) // by a little: time stands still until the clock is there again
	if reset := refused(t, c, 0, minute("a", 10, 5)); reset.Unix() != 1_000_061 {
		t.Errorf("reset = %d", reset.Unix())
	}
	at(900_000) // far: all of it was just now
	if reset := refused(t, c, 0, minute("a", 10, 5)); reset.Unix() != 900_061 {
		t.Errorf("reset = %d", reset.Unix())
	}
	c.Settle([]limit.Charge{settle(got[0], -6)}) // of a second that is not any more
	refused(t, c, 0, minute("a", 10, 5))
	at(900_060)
	refused(t, c, 0, minute("a", 10, 5))
	at(900_061)
	reserve(t, c, minute("a", 10, 10))
}

func TestUseAtTheWrongTimeDoesNotStay(t *testing.T) {
	k := startClocked(t)
	c := k.counter(1_000_300)
	ahead := minute("a", 10, 10)
	ahead.At = k.now + 1000
	c.Settle([]limit.Charge{ahead})
	flush(t, c)
	refused(t, c, 0, minute("a", 10, 1))
	k.set(1_000_030)
	refused(t, c, 0, minute("a", 10, 1))
	k.set(1_000_061)
	reserve(t, c, minute("a", 10, 10))
	// The window ended while the settlement waited.
	k.set(tomorrow("", 0, 0).Start.Unix())
	c.Settle([]limit.Charge{today("d", 10, 5)})
	flush(t, c)
	if n := used(t, k.client, today("d", 0, 0)); n != 0 {
		t.Errorf("used %d of a day that is over", n)
	}
}

func TestADayThatIsNotThePresentOneOfRedisIsRefused(t *testing.T) {
	s := start(t)
	client := s.client(s.socket)
	c := newCounter(t, client, redislimit.Options{})
	redislimit.UseClock(c, client)
	ch := limit.Charge{Key: "a", Window: limit.Day, Start: time.Unix(1_000_000, 0), End: time.Unix(1_086_400, 0), Max: 10, Amount: 1}
	for now, ok := range map[int64]bool{
		999_989: false, 999_990: true, 1_000_000: true, 1_086_399: true, 1_086_409: true, 1_086_410: false,
	} {
		client.Set(t.Context(), "clock", now, 0)
		if _, _, err := c.Reserve(t.Context(), []limit.Charge{ch}); (err == nil) != ok {
			t.Errorf("at %d: %v", now, err)
		}
	}
}
