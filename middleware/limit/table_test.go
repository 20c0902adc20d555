package limit

import (
	"testing"
	"time"
)

// What happens between find and begin cannot be seen from outside: another
// goroutine drops the count, or makes one.

func tableOf(t *testing.T, maxKeys int) (*Limiter, *rule) {
	t.Helper()
	l, err := New([]Limit{{InFlight: 5, By: ByTenant}}, &Options{MaxKeys: maxKeys, Now: func() time.Time { return time.Unix(1000, 0) }})
	if err != nil {
		t.Fatal(err)
	}
	return l, (*l.rules.Load())[0]
}

func (r *rule) begins(t *testing.T, l *Limiter, c *count, tenant string) bool {
	t.Helper()
	err, _, ok := r.table.begin(&hold{count: c, rule: r}, key{tenant: tenant}, l, &amounts{}, local, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

func TestACountThatWasDroppedTakesNothing(t *testing.T) {
	l, r := tableOf(t, 1)
	c := r.table.find(key{tenant: "a"}, l, 1000)
	if other := r.table.find(key{tenant: "b"}, l, 1000); other == r.table.shared {
		t.Fatal("an idle count has not made room")
	}
	if r.begins(t, l, c, "a") {
		t.Error("a count that was dropped has taken a reservation")
	}
}

func TestTheSharedCountTakesNothingOfAKeyThatHasOne(t *testing.T) {
	l, r := tableOf(t, 1)
	r.begins(t, l, r.table.find(key{tenant: "own"}, l, 1000), "own")
	c := r.table.find(key{tenant: "a"}, l, 1000)
	if c != r.table.shared {
		t.Fatal("there are two counts, want one and the shared one")
	}
	r.table.maxKeys = 2 // as if another had made room
	if own := r.table.find(key{tenant: "a"}, l, 1000); own == c {
		t.Fatal("there is room, and the key shares")
	}
	if r.begins(t, l, c, "a") {
		t.Error("the shared count has taken a reservation for a key with a count of its own")
	}
}

func TestNoKeyGetsACountWhileTheSharedOneIsInUse(t *testing.T) {
	l, r := tableOf(t, 1)
	r.begins(t, l, r.table.find(key{tenant: "own"}, l, 1000), "own")
	if c := r.table.find(key{tenant: "a"}, l, 1000); !r.begins(t, l, c, "a") {
		t.Fatal("the shared count has taken nothing")
	}
	r.table.maxKeys = 2
	if c := r.table.find(key{tenant: "a"}, l, 1000); c != r.table.shared {
		t.Error("a key that shares got a count of its own")
	}
}

func TestTwoThatMissACountMakeOne(t *testing.T) {
	l, r := tableOf(t, 10)
	k := key{tenant: "a"}
	if a, b := r.table.insert(k, l, 1000), r.table.insert(k, l, 1000); a != b || r.table.n != 1 {
		t.Errorf("%d counts for one key", r.table.n)
	}
}
