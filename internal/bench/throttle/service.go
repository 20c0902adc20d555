package throttle

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Headers tell how the service says that it is too much.
type Headers struct {
	// RetryAfter is in whole seconds, rounded up, as OpenAI sends it.
	RetryAfter bool
	// RetryAfterMS is retry-after-ms, as Azure sends it.
	RetryAfterMS bool
	// RateLimit is the x-ratelimit-* headers, on each answer.
	RateLimit bool
}

// An Arrival is one request as the service saw it.
type Arrival struct {
	At       time.Duration // since the start
	Model    string
	Client   string // the header X-Throttle-Client
	Tokens   int
	Accepted bool
}

const (
	clientHeader = "X-Throttle-Client"
	maxRequest   = 1 << 20
)

// A Service answers chat completions within the limits of a [Scenario], and
// refuses the rest with a 429. It counts both. It is safe for concurrent use.
type Service struct {
	answer  time.Duration
	headers Headers

	mu       sync.Mutex
	start    time.Time
	meters   map[string][]*meter // by model; a model that is not here has no limit
	arrivals []Arrival
}

// NewService returns a Service whose limits begin now.
func NewService(s Scenario) *Service {
	svc := &Service{answer: s.Answer, headers: s.Headers, meters: map[string][]*meter{}, start: time.Now()}
	for model, limits := range s.Limits {
		for _, l := range limits {
			svc.meters[model] = append(svc.meters[model], newMeter(l))
		}
	}
	return svc
}

// Begin lets the phases of the limits begin now. The buckets are full: it must
// be called before the first request.
func (s *Service) Begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.start = time.Now()
}

// Arrivals returns the requests so far, in the order in which they arrived.
func (s *Service) Arrivals() []Arrival {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Arrival(nil), s.arrivals...)
}

// A chat is what of a request counts.
type chat struct {
	Model    string `json:"model"`
	Messages []struct {
		Content string `json:"content"`
	} `json:"messages"`
}

// bytesPerToken is the rule of thumb for English.
const bytesPerToken = 4

func (c chat) tokens() int {
	n := 0
	for _, m := range c.Messages {
		n += len(m.Content) / bytesPerToken
	}
	return max(n, 1)
}

// admit takes a request's cost from all limits of its model, or from none.
func (s *Service) admit(c chat, client string, header http.Header) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, ok := time.Since(s.start), true
	meters := s.meters[c.Model]
	for _, m := range meters {
		m.advance(now)
		ok = ok && m.has(m.limit.cost(c.tokens()))
	}
	var wait time.Duration
	for _, m := range meters {
		cost := m.limit.cost(c.tokens())
		if ok {
			m.take(cost)
		}
		wait = max(wait, m.wait(cost))
		if s.headers.RateLimit {
			m.describe(header)
		}
	}
	if !ok && s.headers.RetryAfter {
		header.Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	}
	if !ok && s.headers.RetryAfterMS {
		header.Set("Retry-After-Ms", strconv.Itoa(int(max(wait.Milliseconds(), 1))))
	}
	s.arrivals = append(s.arrivals, Arrival{now, c.Model, client, c.tokens(), ok})
	return ok
}

// describe sets the headers x-ratelimit-*: the reset is when the whole limit
// can be had again.
func (m *meter) describe(header http.Header) {
	unit := "Requests"
	if m.limit.Tokens {
		unit = "Tokens"
	}
	header.Set("X-Ratelimit-Limit-"+unit, strconv.Itoa(int(m.capacity())))
	header.Set("X-Ratelimit-Remaining-"+unit, strconv.Itoa(max(int(m.level+slack), 0)))
	header.Set("X-Ratelimit-Reset-"+unit, m.wait(m.capacity()).Round(time.Millisecond).String())
}

const (
	okBody = `{"id":"chatcmpl-1","object":"chat.completion","created":1741569952,"model":%q,"choices":[` +
		`{"index":0,"message":{"role":"assistant","content":"Hello!"},"finish_reason":"stop"}],` +
		`"usage":{"prompt_tokens":%d,"completion_tokens":2,"total_tokens":%d}}`
	tooManyBody = `{"error":{"message":"Rate limit reached for %s. Visit https://platform.openai.com/account/rate-limits ` +
		`to learn more.","type":"requests","param":null,"code":"rate_limit_exceeded"}}`
	badBody = `{"error":{"message":"We could not parse the JSON body of your request.","type":"invalid_request_error",` +
		`"param":null,"code":null}}`
)

// ServeHTTP decides as soon as the request has arrived. It refuses at once, as
// gateways do, and answers after Scenario.Answer.
func (s *Service) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var c chat
	status, body := http.StatusOK, ""
	if err := json.NewDecoder(io.LimitReader(req.Body, maxRequest)).Decode(&c); err != nil {
		status, body = http.StatusBadRequest, badBody
	} else if s.admit(c, req.Header.Get(clientHeader), w.Header()) {
		body = fmt.Sprintf(okBody, c.Model, c.tokens(), c.tokens()+2)
	} else {
		status, body = http.StatusTooManyRequests, fmt.Sprintf(tooManyBody, c.Model)
	}
	if status == http.StatusOK && !pause(req.Context().Done(), s.answer) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// pause waits for d, or until done closes: then it returns false.
func pause(done <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-done:
		return false
	}
}
