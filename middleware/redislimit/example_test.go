package redislimit_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/latchkey-go/latchkey/middleware/limit"
	"github.com/latchkey-go/latchkey/middleware/redislimit"
)

func ExampleNew() {
	client := redis.NewClient(&redis.Options{
		Addr: "redis.internal:6379",
		// In this example there is no Redis.
		Dialer:        func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no Redis") },
		DialerRetries: 1, MaxRetries: -1,
	})
	defer client.Close()
	counter, err := redislimit.New(client, &redislimit.Options{
		// The day of the first deployment.
		NewUntil: time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	limiter, err := limit.New([]limit.Limit{{Requests: 100, Per: limit.Minute}}, &limit.Options{
		Counter: counter,
		// While Redis does not answer, each of up to four processes may send two
		// requests a minute. Through Redis all together may send 92.
		Processes: 4,
		Fallback:  0.02,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 3 {
		var r limit.Reservation
		var full *limit.Error
		err := limiter.Reserve(context.Background(), limit.Send{Model: "gpt-4o"}, &r)
		if errors.As(err, &full) {
			fmt.Println("refused")
			continue
		} else if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("sent")
		r.Settle(limit.Tokens{Input: 1200, Output: 300})
	}
	// Output:
	// sent
	// sent
	// refused
}
