package bench_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/auth"
	"github.com/openai/openai-go/v3/option"
	"golang.org/x/time/rate"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware/limit"
)

// A rotating is a service that accepts one key at a time, and its store.
type rotating struct {
	*memory
	version atomic.Int64
	keys    [2]string
}

func newRotating() *rotating {
	return &rotating{memory: newMemory("application/json", chatAnswer), keys: [2]string{fakeKey + "-even", fakeKey + "-odd"}}
}

func (s *rotating) key() string { return s.keys[s.version.Load()%2] }

func (s *rotating) read(context.Context) (credential.Value, error) {
	return credential.Value{Secret: credential.NewSecret(s.key()), Source: "store"}, nil
}

func (s *rotating) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := s.memory.RoundTrip(req)
	if err == nil && !strings.HasSuffix(req.Header.Get("Authorization"), s.key()) {
		resp.StatusCode, resp.Status = http.StatusUnauthorized, "401 Unauthorized"
	}
	return resp, err
}

// A handmade is the least that survives a rotation: one key, read again after a 401.
type handmade struct {
	next http.RoundTripper
	read func(context.Context) (credential.Value, error)
	mu   sync.Mutex
	key  string
}

func (h *handmade) RoundTrip(req *http.Request) (*http.Response, error) {
	for try := 0; ; try++ {
		h.mu.Lock()
		key := h.key
		h.mu.Unlock()
		out := req.Clone(req.Context())
		out.Header.Set("Authorization", "Bearer "+key)
		var err error
		if out.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
		resp, err := h.next.RoundTrip(out)
		if err != nil || resp.StatusCode != http.StatusUnauthorized || try > 0 {
			return resp, err
		}
		_ = resp.Body.Close()
		v, err := h.read(req.Context())
		if err != nil {
			return nil, err
		}
		h.mu.Lock()
		h.key = v.Secret.Reveal()
		h.mu.Unlock()
	}
}

// issuing is a rotating that is the issuer of tokens as well, for workload identity.
type issuing struct{ *rotating }

func (s issuing) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.String() != auth.TokenExchangeURL {
		return s.rotating.RoundTrip(req)
	}
	return exchanged(s.key(), req), nil
}

// recovered are ways to survive the rotation of a key, each for the same call.
var recovered = []struct {
	call, peer string
	make       func(tb testing.TB, s *rotating) func() error
}{
	{"roundtrip", "handmade", func(tb testing.TB, s *rotating) func() error {
		return sent(tb, &handmade{next: s, read: s.read})
	}},
	{"roundtrip", "latchkey", func(tb testing.TB, s *rotating) func() error {
		return sent(tb, newClient(tb, client.Config{Source: credential.SourceFunc(s.read), Transport: s}).HTTPClient().Transport)
	}},
	{"openai-go", "workload", func(_ testing.TB, s *rotating) func() error {
		return chatted(option.WithBaseURL(baseURL), option.WithHTTPClient(&http.Client{Transport: issuing{s}}),
			option.WithWorkloadIdentity(auth.WorkloadIdentity{IdentityProviderID: "idp_1", ServiceAccountID: "sa_1", Provider: subject{}}))
	}},
	{"openai-go", "latchkey", func(tb testing.TB, s *rotating) func() error {
		return chatted(newClient(tb, client.Config{Source: credential.SourceFunc(s.read), Transport: s}).Options()...)
	}},
}

func sent(tb testing.TB, rt http.RoundTripper) func() error {
	req := newRequest(tb, chatURL, chatPrompt)
	return func() error { return roundTrip(rt, req) }
}

func chatted(opts ...option.RequestOption) func() error {
	oai := openai.NewClient(opts...)
	return func() error {
		_, err := oai.Chat.Completions.New(context.Background(), chatParams("Hello!"))
		return err
	}
}

// Benchmark401 is one call whose key was rotated just before it: a refusal, a read of
// a store in memory, and the call once more. For workload identity the exchange of a
// token is the store.
func Benchmark401(b *testing.B) {
	for _, p := range recovered {
		b.Run("call="+p.call+"/peer="+p.peer, func(b *testing.B) {
			s := newRotating()
			call := p.make(b, s)
			must(b, call())
			b.ReportAllocs()
			for b.Loop() {
				s.version.Add(1)
				if err := call(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What is compared has to do the same: two sends for each call, the second with the
// new key.
func TestEachPeerSurvivesARotation(t *testing.T) {
	for _, p := range recovered {
		s := newRotating()
		refused, served := 0, 0
		s.seen = func(req *http.Request) {
			if strings.HasSuffix(req.Header.Get("Authorization"), s.key()) {
				served++
			} else {
				refused++
			}
		}
		call := p.make(t, s)
		must(t, call())
		refused, served = 0, 0
		for range 10 {
			s.version.Add(1)
			must(t, call())
		}
		if refused != 10 || served != 10 {
			t.Errorf("%s, %s: %d refused and %d served sends for 10 calls", p.call, p.peer, refused, served)
		}
	}
}

// A sick is a service that is out of order.
type sick struct{ *memory }

func (s sick) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := s.memory.RoundTrip(req)
	if err == nil && req.URL.Host == "sick.example.com" {
		resp.StatusCode, resp.Status, resp.Header = http.StatusServiceUnavailable, "503 Service Unavailable", http.Header{"Retry-After": {"3000"}}
	}
	return resp, err
}

// BenchmarkFailover is one call with one endpoint, with three that are well, and with
// three of which the first is left alone because it is out of order.
func BenchmarkFailover(b *testing.B) {
	three := []client.Endpoint{{BaseURL: "https://second.example.com/v1/"}, {BaseURL: "https://third.example.com/v1/"}}
	for i := range three {
		three[i].Source = credential.Static(credential.NewSecret(fakeKey), credential.APIKey)
	}
	for _, c := range []struct {
		name, first string
		others      []client.Endpoint
	}{
		{"one", "https://first.example.com/v1/", nil}, {"three", "https://first.example.com/v1/", three}, {"three,first-down", "https://sick.example.com/v1/", three},
	} {
		b.Run("endpoints="+c.name, func(b *testing.B) {
			rt := newClient(b, client.Config{BaseURL: c.first, Fallbacks: c.others, Transport: sick{newMemory("application/json", chatAnswer)}}).HTTPClient().Transport
			req := newRequest(b, c.first+"chat/completions", chatPrompt)
			must(b, roundTrip(rt, req))
			b.ReportAllocs()
			for b.Loop() {
				if err := roundTrip(rt, req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkLimit is one call without limits, with x/time/rate before it by hand, which
// counts requests alone, and with three limits of requests, tokens and cost.
func BenchmarkLimit(b *testing.B) {
	limits, err := limit.New([]limit.Limit{
		{Name: "requests", Per: limit.Minute, Requests: 1 << 40},
		{Name: "tokens", Per: limit.Minute, Tokens: 1 << 50, By: limit.ByModel},
		{Name: "flight", InFlight: 1 << 20},
	}, &limit.Options{WorstInput: 1 << 20, WorstOutput: 1 << 14})
	must(b, err)
	bucket := rate.NewLimiter(1<<40, 1<<30)
	for _, name := range []string{"none", "x-time-rate", "latchkey"} {
		b.Run("limits="+name, func(b *testing.B) {
			cfg := client.Config{Transport: newMemory("application/json", chatAnswer)}
			if name == "latchkey" {
				cfg.Limits = limits
			}
			rt := newClient(b, cfg).HTTPClient().Transport
			req := newRequest(b, chatURL, chatPrompt)
			must(b, roundTrip(rt, req))
			b.ReportAllocs()
			for b.Loop() {
				if name == "x-time-rate" {
					must(b, bucket.Wait(context.Background()))
				}
				if err := roundTrip(rt, req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
