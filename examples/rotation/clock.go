package main

import (
	"context"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey/rotation"
)

// A clock goes as that of the machine does, and can be put forward: nobody waits 30
// days for a rehearsal.
type clock struct {
	mu    sync.Mutex
	jumps []jump
}

// A jump is one of them. Its fields are exported for JSON.
type jump struct {
	At time.Time
	By time.Duration
}

func (c *clock) now() time.Time { return c.at(time.Now()) }

// at is what the clock showed, or will show, at a time of the machine.
func (c *clock) at(t time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	shown := t
	for _, j := range c.jumps {
		if !t.Before(j.At) {
			shown = shown.Add(j.By)
		}
	}
	return shown
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d > 0 {
		c.jumps = append(c.jumps, jump{time.Now(), d})
	}
}

func (c *clock) all() []jump {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]jump(nil), c.jumps...)
}

// aged is an issuer that goes by the clock of the machine, seen by the other one.
type aged struct {
	rotation.Issuer
	clock *clock
}

func (a aged) Issue(ctx context.Context, pending rotation.Version, current *rotation.Version, expires time.Time) (rotation.Key, error) {
	k, err := a.Issuer.Issue(ctx, pending, current, time.Now().Add(expires.Sub(a.clock.now())))
	return a.seen(k), err
}

func (a aged) Keys(ctx context.Context) ([]rotation.Key, error) {
	keys, err := a.Issuer.Keys(ctx)
	for i := range keys {
		keys[i] = a.seen(keys[i])
	}
	return keys, err
}

// seen rounds up, because an issuer tells whole seconds: what happened after a jump
// must not seem to be before it.
func (a aged) seen(k rotation.Key) rotation.Key {
	for _, t := range []*time.Time{&k.Created, &k.Expires, &k.LastUsed} {
		if !t.IsZero() {
			*t = a.clock.at(t.Add(time.Second - 1))
		}
	}
	return k
}
