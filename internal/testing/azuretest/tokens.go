package azuretest

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// DefaultLife is how long tokens live: a day, as those of managed identities.
const DefaultLife = 24 * time.Hour

// Tokens is what an issuer of tokens knows. All methods are safe for
// concurrent use.
type Tokens struct {
	Script
	mu      sync.Mutex
	token   string
	fresh   func(n int) string
	issued  int
	life    time.Duration
	refresh time.Duration
	now     func() time.Time
	asked   []url.Values
}

// SetToken makes token the one that is issued from now on.
func (t *Tokens) SetToken(token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.token, t.fresh = token, nil
}

// SetFresh makes each request get a token of its own, fresh(1) being the first.
func (t *Tokens) SetFresh(fresh func(n int) string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fresh, t.issued = fresh, 0
}

// SetLife sets how long tokens live, and the hint when to refresh them; no
// hint is given if refresh is 0.
func (t *Tokens) SetLife(life, refresh time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.life, t.refresh = life, refresh
}

// SetNow sets the issuer's clock.
func (t *Tokens) SetNow(now func() time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now = now
}

// Asked returns the parameters of the requests that got a token.
func (t *Tokens) Asked() []url.Values {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]url.Values(nil), t.asked...)
}

// issue answers with a token. Secrets among the parameters are not kept.
func (t *Tokens) issue(w http.ResponseWriter, asked url.Values, absolute bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	kept := url.Values{}
	for _, name := range []string{"resource", "scope", "client_id", "claims", "grant_type", "mi_res_id"} {
		if v := asked.Get(name); v != "" {
			kept.Set(name, v)
		}
	}
	t.asked = append(t.asked, kept)
	t.issued++
	token := t.token
	if t.fresh != nil {
		token = t.fresh(t.issued)
	}
	life, now := t.life, t.now
	if life == 0 {
		life = DefaultLife
	}
	if now == nil {
		now = time.Now
	}
	answer := map[string]any{"access_token": token, "token_type": "Bearer", "resource": asked.Get("resource")}
	if absolute {
		answer["expires_on"] = strconv.FormatInt(now().Add(life).Unix(), 10)
	} else {
		answer["expires_in"] = int(life.Seconds())
	}
	if t.refresh > 0 {
		answer["refresh_in"] = int(t.refresh.Seconds())
	}
	writeJSON(w, http.StatusOK, answer)
}

// Entra is a refusal of the authority in its own form. The text quotes what it
// is given, as the real one does at times.
func Entra(code int, quoted string) string {
	return fmt.Sprintf(`{"error":"invalid_client","error_description":"AADSTS%d: Something about '%s'. Trace ID: 0 Correlation ID: 0 Timestamp: 2026-01-01 00:00:00Z",`+
		`"error_codes":[%d],"timestamp":"2026-01-01 00:00:00Z","trace_id":"0","correlation_id":"0","error_uri":"https://login.microsoftonline.com/error?code=%d"}`,
		code, quoted, code, code)
}
