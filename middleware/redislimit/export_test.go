package redislimit

import (
	"context"
	"strings"

	"github.com/redis/go-redis/v9"
)

// UseClock makes c take the time from the key clock, in place of the clock of
// Redis.
func UseClock(c *Counter, client redis.Scripter) {
	source := redis.NewScript(strings.NewReplacer(
		"redis.call('TIME')[1]", "redis.call('GET', 'clock')",
		// Redis itself would expire the keys of days that are long over.
		"redis.call('EXPIREAT', ", "redis.call('EXPIRE', ",
	).Replace(script))
	c.run = func(ctx context.Context, keys []string, args []any) ([]any, error) {
		return source.Run(ctx, client, keys, args...).Slice()
	}
}

// Waiting is how many settlements wait.
func Waiting(c *Counter) int {
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	return len(c.ledger.queue) + c.ledger.sizes
}
