// Package redislimit is a counter for package limit on Redis: the ceilings hold
// for all processes that share it.
//
//	counter, err := redislimit.New(redis.NewClient(...), nil)
//	limiter, err := limit.New(limits, &limit.Options{Counter: counter, ...})
//
// A reservation is one round trip: one script that adds all charges or none, and
// takes with it what was settled since the last one. The clock of Redis decides which
// minute it is. Days and months are those of the calendar that the process names;
// Redis refuses a day that is not the present one by its own clock, with 10
// seconds of grace.
//
// # What Redis needs
//
// Redis 5 or newer. The counts are as durable as the Redis: a ceiling holds over
// a restart if the Redis writes before it answers (appendonly yes, appendfsync
// always), and over a lack of memory if it refuses and does not evict
// (maxmemory-policy noeviction). The user of the client needs the commands
// EVALSHA, EVAL, TIME, GET, SET, INCRBY, DECRBY, DEL, EXPIRE, EXPIREAT, HMGET,
// HGET, HSET, HDEL and HINCRBY, for the keys {prefix}*.
//
// All keys begin with the prefix in braces, which is a hash tag: in a Redis
// Cluster they are in one slot, and so on one node. Several prefixes spread the
// load of several counters.
//
// # A Redis that forgot
//
// The key {prefix}epoch says since when this Redis has counted. If it is gone
// (FLUSHALL, a restart without the data), or if Redis has lost what it told a
// process that it wrote (a restart or a fail-over to a replica that was behind),
// the present windows have counts that nobody knows. Reserve refuses these with
// [ErrForgot] until they are over: a Minute for 61 seconds, a Day until it ends.
// A process finds out about the loss of its own last writes at its next call, and
// tells the others by a new epoch; a reservation of another process between the
// two can pass a ceiling by what was lost. Without appendfsync always, and with
// replicas, that is possible; with a single Redis that writes first it is not.
// The loss of single keys, by eviction or by hand, is not noticed.
//
// A new deployment looks just the same as a Redis that lost all: see
// [Options.NewUntil].
package redislimit

import (
	"context"
	"crypto/rand"
	_ "embed" // the script
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/latchkey-go/latchkey/middleware/limit"
)

//go:embed script.lua
var script string

// ErrForgot is in the error of a Reserve for a window that may have had
// reservations which Redis does not know. It passes with the window.
var ErrForgot = errors.New("redis does not know what was reserved before")

const (
	defaultPrefix  = "latchkey:limit:"
	defaultTimeout = 250 * time.Millisecond
	maxPrefix      = 128

	// most is the highest number that a script can count to exactly: its numbers
	// are float64.
	most = 1<<53 - 1
)

// Options are for New. The zero value and nil are ready.
type Options struct {
	// Prefix is what the keys begin with, in braces. Counters with another prefix
	// count apart. It has at most 128 bytes and no braces; empty is
	// "latchkey:limit:".
	Prefix string
	// Timeout is the longest that Reserve waits for Redis. The default is 250 ms:
	// it has room for a new TLS connection and for a disk that is slow to sync, and
	// is little beside the answer of a model.
	Timeout time.Duration
	// NewUntil says that a Redis which is found without a record before that time,
	// by its own clock, is a new one: all windows begin at 0. Set it to a few
	// minutes after the first deployment with this Redis and prefix, and leave it
	// so. A loss before that time is noticed only by processes that had used the
	// Redis before the loss.
	//
	// With the zero value no Redis is taken for a new one: after the first start,
	// limits per minute refuse for 61 seconds, and limits per day or month until
	// the next day or month. If it is set later than that, the refusals end.
	NewUntil time.Time
}

// A Counter is a [limit.Counter] on Redis. It is safe for concurrent use.
type Counter struct {
	run     func(ctx context.Context, keys []string, args []any) ([]any, error)
	host    string
	prefix  string
	timeout time.Duration
	until   int64
	session string
	// flushing has a token while nobody flushes.
	flushing chan struct{}
	ledger   *ledger
}

var _ limit.Counter = (*Counter)(nil)

// New returns a Counter on the Redis of client, which is a *redis.Client, a
// *redis.ClusterClient or a *redis.Ring. It does not connect, and client stays
// the caller's to close, after a last Flush.
//
// The retries of the client are harmless: a call that arrives twice is counted
// once.
func New(client redis.Scripter, opts *Options) (*Counter, error) {
	if opts == nil {
		opts = &Options{}
	}
	host, err := hostOf(client)
	if err != nil {
		return nil, err
	}
	c := &Counter{
		host:     host,
		prefix:   opts.Prefix,
		timeout:  opts.Timeout,
		flushing: make(chan struct{}, 1),
		ledger:   newLedger(),
	}
	c.flushing <- struct{}{}
	var session [16]byte
	rand.Read(session[:]) // it never fails
	c.session = hex.EncodeToString(session[:])
	if c.prefix == "" {
		c.prefix = defaultPrefix
	}
	if strings.ContainsAny(c.prefix, "{}") || len(c.prefix) > maxPrefix {
		return nil, fmt.Errorf("redislimit: Options.Prefix: at most %d bytes, without braces", maxPrefix)
	}
	c.prefix = "{" + c.prefix + "}"
	switch {
	case c.timeout < 0:
		return nil, errors.New("redislimit: Options.Timeout is negative")
	case c.timeout == 0:
		c.timeout = defaultTimeout
	}
	if !opts.NewUntil.IsZero() {
		c.until = opts.NewUntil.Unix()
	}
	source := redis.NewScript(script)
	c.run = func(ctx context.Context, keys []string, args []any) ([]any, error) {
		return source.Run(ctx, client, keys, args...).Slice()
	}
	return c, nil
}

// hostOf names the server of client in errors.
func hostOf(client redis.Scripter) (string, error) {
	var hosts []string
	switch client := client.(type) {
	case nil:
		return "", errors.New("redislimit: the client is nil")
	case *redis.Client:
		if client == nil {
			return "", errors.New("redislimit: the client is nil")
		}
		hosts = []string{client.Options().Addr}
	case *redis.ClusterClient:
		if client == nil {
			return "", errors.New("redislimit: the client is nil")
		}
		hosts = client.Options().Addrs
	}
	for _, host := range hosts {
		// The error of a dial would print it, with the password.
		if strings.ContainsAny(host, "@") || strings.Contains(host, "://") {
			return "", errors.New("redislimit: the address of the client is a URL: use redis.ParseURL")
		}
	}
	if len(hosts) == 0 {
		return "redis", nil
	}
	return hosts[0], nil
}

// Reserve implements [limit.Counter]. It takes one round trip; the first on a
// Redis that does not have the script takes two.
//
// It returns an error if ctx ends, if Redis does not answer within
// Options.Timeout or answers with an error, if a window is not the present one by
// the clock of Redis, if Redis lost the counts ([ErrForgot]), and for a charge
// that is not valid: an amount below 0, and an amount or a ceiling above 2^53-1,
// which a script cannot count to (but math.MaxInt64 is no ceiling). The count of
// a limit without a ceiling stops at 2^53-1.
//
// After an error the charges may have been added. If the Counter finds out that
// they were, it gives them back: the caller must not settle them.
func (c *Counter) Reserve(ctx context.Context, charges []limit.Charge) (full int, reset time.Time, err error) {
	if len(charges) == 0 {
		return -1, time.Time{}, nil
	}
	wanted := make([]charge, len(charges))
	for i := range charges {
		if wanted[i], err = c.charge(&charges[i]); err != nil {
			return -1, time.Time{}, fmt.Errorf("redislimit: charge %d: %w", i, err)
		}
	}
	if err := ctx.Err(); err != nil {
		return -1, time.Time{}, fmt.Errorf("redislimit: reserve at %s: %w", c.host, err)
	}
	a, err := c.ask(ctx, c.ledger.next(wanted))
	if err != nil {
		return -1, time.Time{}, fmt.Errorf("redislimit: reserve at %s: %w", c.host, err)
	}
	if a.full < -1 || a.full >= len(charges) {
		return -1, time.Time{}, fmt.Errorf("redislimit: reserve at %s: %w", c.host, errUnknown)
	}
	if a.full >= 0 {
		return a.full, time.Unix(a.reset, 0), nil
	}
	for i := range charges {
		charges[i].At = a.at
	}
	return -1, time.Time{}, nil
}

// Settle implements [limit.Counter]. What is settled goes with the next Reserve,
// or by itself after about 200 ms. A settlement is applied at most once. While
// Redis does not answer it is kept, and tried again; 4096 different ones are kept
// at the most. If there are more, amounts that would be given back are dropped
// first: they stay reserved until their window is over.
func (c *Counter) Settle(charges []limit.Charge) {
	for i := range charges {
		if s, ok := c.settlement(&charges[i]); ok {
			c.ledger.add(s)
		}
	}
	c.arm(true)
}

// Flush sends what was settled and not yet sent, and returns when Redis has it.
// It is for a program that ends.
func (c *Counter) Flush(ctx context.Context) error {
	if err := c.flush(ctx); err != nil {
		return fmt.Errorf("redislimit: flush to %s: %w", c.host, err)
	}
	return nil
}
