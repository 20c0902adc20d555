package middleware

import (
	"net/http"
	"time"

	"github.com/latchkey-go/latchkey/internal/wire"
)

// retryAfter returns how long the service asks to wait.
func retryAfter(h http.Header, now time.Time) (time.Duration, bool) { return wire.RetryAfter(h, now) }
