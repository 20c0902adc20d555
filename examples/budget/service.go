package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware/limit"
)

const (
	maxQuestion = 16 << 10 // bytes
	maxAnswer   = 400      // tokens
	askTimeout  = time.Minute
)

// A tenant may spend daily in a day of UTC.
type tenant struct {
	name     string
	daily    float64
	password [32]byte // SHA-256
}

func newTenant(name, password string, daily float64) tenant {
	return tenant{name: name, daily: daily, password: sha256.Sum256([]byte(password))}
}

// A config is what a service is made of.
type config struct {
	tenants []tenant
	model   string
	price   limit.Price
	counter limit.Counter    // nil: for this process alone
	now     func() time.Time // nil is time.Now
}

// A service answers its tenants' questions, as long as their money lasts.
type service struct {
	config
	limits *limit.Limiter
	client *client.Client

	mu    sync.Mutex
	tally map[string]*tally // by tenant
}

// limits are what a service may spend: each tenant has a ceiling of its own.
func limits(list []tenant) []limit.Limit {
	var out []limit.Limit
	for _, t := range list {
		out = append(out, limit.Limit{Name: "budget of " + t.name, Tenant: t.name, Per: limit.Day, Cost: t.daily})
	}
	return out
}

// newService returns a service that calls through a client of cfg.
func newService(c config, cfg client.Config) (*service, error) {
	s := &service{config: c, tally: map[string]*tally{}}
	if s.now == nil {
		s.now = time.Now
	}
	for _, t := range c.tenants {
		if s.tally[t.name] != nil {
			return nil, errors.New("two tenants have the same name")
		}
		s.tally[t.name] = &tally{}
	}
	var err error
	s.limits, err = limit.New(limits(c.tenants), &limit.Options{
		Prices:     map[string]limit.Price{c.model: c.price},
		WorstInput: maxQuestion, WorstOutput: maxAnswer,
		Counter: c.counter,
		Now:     s.now,
	})
	if err != nil {
		return nil, err
	}
	cfg.Limits = s.limits
	cfg.IncludeUsage = true // or a stream is counted with what it might have used
	cfg.Observe = s.sent
	s.client, err = client.New(cfg)
	return s, err
}

func listen(ctx context.Context, addr string) (net.Listener, error) {
	return (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
}

func (s *service) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /ask", s.authenticated(s.ask))
	mux.HandleFunc("GET /account", s.authenticated(s.getAccount))
	return mux
}

// authenticated calls next with a context of the tenant whose password came. It
// is the one place that says whose money a request spends.
func (s *service) authenticated(next func(http.ResponseWriter, *http.Request, *tenant)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name, password, _ := r.BasicAuth()
		got := sha256.Sum256([]byte(password))
		for i := range s.tenants {
			t := &s.tenants[i]
			if t.name == name && subtle.ConstantTimeCompare(got[:], t.password[:]) == 1 {
				next(w, r.WithContext(credential.WithTenant(r.Context(), name)), t)
				return
			}
		}
		w.Header().Set("WWW-Authenticate", "Basic")
		writeError(w, http.StatusUnauthorized, refusal{Code: "unknown_tenant", Message: "Who are you?"})
	}
}

// ask streams the answer to a question as text.
func (s *service) ask(w http.ResponseWriter, r *http.Request, t *tenant) {
	question, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxQuestion))
	if err != nil {
		writeError(w, http.StatusRequestEntityTooLarge, refusal{Code: "too_long", Message: "The question is too long."})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), askTimeout)
	defer cancel()
	begun, err := s.answer(ctx, w, t, string(question))
	s.asked(t, err)
	switch {
	case err == nil && !begun:
		w.WriteHeader(http.StatusNoContent)
	case err != nil && begun:
		panic(http.ErrAbortHandler) // what was sent must not look like all of it
	case err != nil:
		s.refuse(w, t, err)
	}
}

// answer writes the answer while it comes, and reports whether it has begun to.
func (s *service) answer(ctx context.Context, w http.ResponseWriter, t *tenant, question string) (begun bool, err error) {
	for event, err := range s.client.Stream(ctx, "chat/completions", map[string]any{
		"model": s.model, "stream": true, "max_completion_tokens": maxAnswer, "safety_identifier": t.name,
		"messages": []map[string]string{{"role": "user", "content": question}},
	}) {
		if err != nil {
			return begun, err
		}
		var chunk struct {
			Choices []struct{ Delta struct{ Content string } }
		}
		if json.Unmarshal(event.Data, &chunk) != nil || len(chunk.Choices) == 0 || chunk.Choices[0].Delta.Content == "" {
			continue
		}
		begun = true
		if _, err := io.WriteString(w, chunk.Choices[0].Delta.Content); err != nil {
			return begun, err // the tenant has left, and the stream ends with the loop
		}
		_ = http.NewResponseController(w).Flush() // a writer that cannot sends it later
	}
	return begun, nil
}

// A refusal is the body of an answer that is none.
type refusal struct {
	Code       string     `json:"code"`
	Message    string     `json:"message"`
	Left       *float64   `json:"left,omitempty"`
	Reset      *time.Time `json:"reset,omitempty"`
	RetryAfter int64      `json:"-"` // seconds; 0 is none
}

// refuse says in the tenant's words why there is no answer. What failed inside of
// the service is not the tenant's to know.
func (s *service) refuse(w http.ResponseWriter, t *tenant, err error) {
	var full *limit.Error
	switch {
	case errors.As(err, &full) && !errors.Is(err, limit.ErrCounter):
		status, r := s.budgetRefusal(t, full)
		writeError(w, status, r)
	case errors.Is(err, limit.ErrCounter):
		writeError(w, http.StatusServiceUnavailable, refusal{Code: "budget_unknown", RetryAfter: 5,
			Message: "Your budget cannot be checked at the moment, so nothing was asked and nothing was spent."})
	default:
		writeError(w, http.StatusBadGateway, refusal{Code: "no_answer", Message: "There is no answer at the moment."})
	}
}

func (s *service) budgetRefusal(t *tenant, full *limit.Error) (int, refusal) {
	if full.Reset.IsZero() {
		return http.StatusRequestEntityTooLarge, refusal{Code: "question_too_expensive",
			Message: "This question may cost more than your whole budget for a day. Ask a shorter one."}
	}
	a := s.of(t)
	wait := max(full.Reset.Sub(s.now()), time.Second)
	r := refusal{Code: "budget_spent", Reset: &full.Reset, RetryAfter: int64((wait + time.Second - 1) / time.Second)}
	r.Message = "Your budget of " + money(t.daily) + " for today has no room for this question."
	if s.counter == nil { // else others spend of it as well
		r.Left = &a.Left
		r.Message = "Of your budget of " + money(t.daily) + " for today " + money(a.Left) + " is left, and this question may cost more."
	}
	r.Message += " It is full again in " + span(wait) + "."
	if a.Held > 0 {
		r.Message += " Some of it is held for answers that are under way, and may be free before."
	}
	return http.StatusTooManyRequests, r
}

func writeError(w http.ResponseWriter, status int, r refusal) {
	w.Header().Set("Content-Type", "application/json")
	if r.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(r.RetryAfter, 10))
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]refusal{"error": r}) // the tenant may have left
}
