package redislimit

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/latchkey-go/latchkey/middleware/limit"
)

// maxName is how long a key of a count may be as it is. A longer one is hashed.
const maxName = 128

// A target is the window of a count that a settlement is for.
type target struct {
	key      string
	kind     string // "m", "d" or "o" for a month
	at, stop int64  // Unix seconds: at for a Minute, stop for the others
}

// A settlement is an amount for a target.
type settlement struct {
	target
	amount int64
}

// A charge is what a script needs to know of a limit.Charge.
type charge struct {
	target
	start, max, amount int64
}

// target names the window of ch.
func (c *Counter) target(ch *limit.Charge) (target, error) {
	t := target{}
	switch ch.Window {
	case limit.Minute:
		t.kind = "m"
		t.key = c.prefix + "m:" + name(ch.Key)
		return t, nil
	case limit.Day:
		t.kind = "d"
	case limit.Month:
		t.kind = "o"
	default:
		return t, fmt.Errorf("no window %d", ch.Window)
	}
	if ch.Start.IsZero() || !ch.End.After(ch.Start) {
		return t, errors.New("the window does not end after its start")
	}
	start := strconv.FormatInt(ch.Start.Unix(), 10)
	t.key = c.prefix + t.kind + ":" + start + ":" + name(ch.Key)
	t.stop = ch.End.Unix()
	return t, nil
}

// name returns key in such a way that it is bounded, and that no two keys have
// the same name.
func name(key string) string {
	if len(key) <= maxName {
		return "k:" + key
	}
	sum := sha256.Sum256([]byte(key))
	return "h:" + hex.EncodeToString(sum[:])
}

// charge checks ch.
func (c *Counter) charge(ch *limit.Charge) (charge, error) {
	t, err := c.target(ch)
	if err != nil {
		return charge{}, err
	}
	out := charge{target: t, max: ch.Max, amount: ch.Amount}
	if t.kind != "m" {
		out.start = ch.Start.Unix()
	}
	switch {
	case ch.Amount < 0:
		return charge{}, errors.New("the amount is negative")
	case ch.Amount > most:
		return charge{}, fmt.Errorf("the amount is above %d: that cannot be counted", int64(most))
	case ch.Max < 0:
		return charge{}, errors.New("the ceiling is negative")
	case ch.Max == math.MaxInt64:
		out.max = -1
	case ch.Max > most:
		return charge{}, fmt.Errorf("the ceiling is above %d: that cannot be counted", int64(most))
	}
	return out, nil
}

// settlement returns what ch settles; false if that is nothing.
func (c *Counter) settlement(ch *limit.Charge) (settlement, bool) {
	t, err := c.target(ch)
	if err != nil || ch.Amount == 0 {
		return settlement{}, false
	}
	if t.kind == "m" {
		t.at = ch.At
	}
	return settlement{target: t, amount: min(max(ch.Amount, -most), most)}, true
}
