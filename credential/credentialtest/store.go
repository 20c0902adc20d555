package credentialtest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/hidden"
)

// A Store is a secret store in memory that does what a test tells it to. It is
// a [credential.Source] of API keys, and safe for concurrent use. Make one with
// [NewStore].
//
// A read gives the value that was current when the read began, even if the
// answer takes long. Faults apply to reads that begin after they were set, in
// the order hang, delay, panic, failure.
type Store struct {
	mu        sync.Mutex
	values    []published
	versions  int
	reads     int
	lag       time.Duration
	delay     time.Duration
	hang      *hang
	panicking hidden.Value[any]
	err       error
	errsLeft  int // how many more reads fail; negative: all
}

type published struct {
	at    time.Time // when reads see it; zero is at once
	value credential.Value
}

type hang struct {
	released chan struct{}
	deaf     bool // to the context
}

var _ credential.Source = (*Store)(nil)

// NewStore returns a Store that holds text as version "v1".
func NewStore(text string) *Store {
	s := &Store{}
	s.Rotate(text)
	return s
}

// Rotate publishes text as the next version ("v1", "v2", ...) and returns that
// version's name. Reads see it at once, or after the lag; see [Store.Lag].
func (s *Store) Rotate(text string) (version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.versions++
	version = fmt.Sprintf("v%d", s.versions)
	s.publish(credential.Value{Secret: credential.NewSecret(text), Version: version, Source: s.String()})
	return version
}

// SetValue publishes v as it is: a token, an expiry, a value without a secret.
func (s *Store) SetValue(v credential.Value) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.versions++
	s.publish(v)
}

// publish is called with s.mu held.
func (s *Store) publish(v credential.Value) {
	p := published{value: v}
	if s.lag > 0 { // without a lag no clock decides
		p.at = time.Now().Add(s.lag)
	}
	s.values = append(s.values, p)
}

// Lag makes what is published from now on visible to reads only d later: the
// gap of a rotation that revokes a key before it publishes the next, or a
// replica that trails. Zero ends it.
func (s *Store) Lag(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lag = d
}

// Delay makes each read take d, or until its context ends. Zero ends it.
func (s *Store) Delay(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delay = d
}

// Fail makes each read fail with err, as it is. Nil ends it.
func (s *Store) Fail(err error) { s.fail(-1, err) }

// FailTimes makes the next n reads fail with err.
func (s *Store) FailTimes(n int, err error) { s.fail(n, err) }

func (s *Store) fail(n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.errsLeft = err, n
}

// Panic makes each read panic with p. Nil ends it.
func (s *Store) Panic(p any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.panicking = nil
	if p != nil {
		s.panicking = hidden.Of(p)
	}
}

// Hang makes reads wait until release is called or their context ends. Calling
// release twice does no harm.
func (s *Store) Hang() (release func()) { return s.hangUp(false) }

// HangDeaf makes reads wait until release is called, even if their context ends
// before, as those of some SDKs do. A test has to call release, or the
// goroutines of its reads stay.
func (s *Store) HangDeaf() (release func()) { return s.hangUp(true) }

func (s *Store) hangUp(deaf bool) (release func()) {
	h := &hang{released: make(chan struct{}), deaf: deaf}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hang = h
	return sync.OnceFunc(func() {
		s.mu.Lock()
		if s.hang == h {
			s.hang = nil
		}
		s.mu.Unlock()
		close(h.released)
	})
}

// Reads returns how many reads have begun.
func (s *Store) Reads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads
}

// String returns "store".
func (s *Store) String() string { return "store" }

// Retrieve reads the current value, with the faults that are set.
func (s *Store) Retrieve(ctx context.Context) (credential.Value, error) {
	s.mu.Lock()
	s.reads++
	value := s.current()
	hang, delay, panicking := s.hang, s.delay, s.panicking
	var err error
	if s.errsLeft != 0 {
		s.errsLeft--
		err = s.err
	}
	s.mu.Unlock()

	if hang != nil {
		hang.wait(ctx)
	}
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	if panicking != nil {
		panic(panicking())
	}
	if ctx.Err() != nil {
		return credential.Value{}, context.Cause(ctx)
	}
	if err != nil {
		return credential.Value{}, err
	}
	return value, nil
}

func (h *hang) wait(ctx context.Context) {
	if h.deaf {
		<-h.released
		return
	}
	select {
	case <-h.released:
	case <-ctx.Done():
	}
}

// current is called with s.mu held. A Store that lags from its first version
// on has an empty value.
func (s *Store) current() credential.Value {
	now := time.Now()
	for i := len(s.values) - 1; i >= 0; i-- {
		if !s.values[i].at.After(now) {
			return s.values[i].value
		}
	}
	return credential.Value{}
}

// Renewing returns a [credential.Renewer] over s. Renew answers with the
// result of renew; nil stands for a read of s.
func (s *Store) Renewing(renew func(context.Context, credential.Rejection) (credential.Value, error)) *RenewingStore {
	return &RenewingStore{Store: s, renew: renew}
}

// A RenewingStore is a [Store] that is told of rejections. It is safe for
// concurrent use.
type RenewingStore struct {
	*Store
	renew func(context.Context, credential.Rejection) (credential.Value, error)

	mu         sync.Mutex
	rejections []credential.Rejection
}

var _ credential.Renewer = (*RenewingStore)(nil)

// Renew records r and answers as [Store.Renewing] was told.
func (s *RenewingStore) Renew(ctx context.Context, r credential.Rejection) (credential.Value, error) {
	s.mu.Lock()
	s.rejections = append(s.rejections, r)
	s.mu.Unlock()
	if s.renew == nil {
		return s.Retrieve(ctx)
	}
	return s.renew(ctx, r)
}

// Rejections returns what Renew was called with, oldest first.
func (s *RenewingStore) Rejections() []credential.Rejection {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]credential.Rejection(nil), s.rejections...)
}
