package rotationtest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/rotation"
)

// A Service is an issuer as OpenAI is one: it shows a key once, a new key is accepted
// only after a while, and a revoked one for a while longer. Its clock is the test's.
type Service struct {
	mu      sync.Mutex
	now     time.Time
	made    int
	keys    map[string]*issued // by id
	lag     time.Duration
	linger  time.Duration
	refuses error
	slots   bool
}

type issued struct {
	rotation.Key
	revoked time.Time
}

// NewService returns a Service without keys, on 2026-11-26 at 12:00 UTC.
func NewService() *Service {
	return &Service{now: time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC), keys: map[string]*issued{}}
}

// Pass lets time pass.
func (s *Service) Pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// Clock returns the time.
func (s *Service) Clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// Lag is how long it takes from now on until a new key is accepted, and Linger for how
// long a revoked one still is.
func (s *Service) Lag(lag, linger time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lag, s.linger = lag, linger
}

// Slots makes the account one of two keys, as an Azure OpenAI resource is: a key is
// made in the place of the one that is not current, which ends at once.
func (s *Service) Slots() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slots = true
}

// Refuse makes Issue fail with err; nil ends that.
func (s *Service) Refuse(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuses = err
}

// Made returns how many keys were made.
func (s *Service) Made() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.made
}

// Accepts reports whether the service takes the key now, and notes its use.
func (s *Service) Accepts(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.keys {
		if k.Secret.Reveal() != key {
			continue
		}
		if s.now.Before(k.Created.Add(s.lag)) || !k.Expires.IsZero() && !s.now.Before(k.Expires) || !k.revoked.IsZero() && !s.now.Before(k.revoked.Add(s.linger)) {
			return false
		}
		k.LastUsed = s.now
		return true
	}
	return false
}

// Issue makes a key.
func (s *Service) Issue(_ context.Context, pending rotation.Version, current *rotation.Version, expires time.Time) (rotation.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuses != nil {
		return rotation.Key{}, s.refuses
	}
	s.made++
	k := &issued{Key: rotation.Key{
		ID: fmt.Sprintf("key_%d", s.made), Name: pending.Token, Secret: credential.NewSecret(fmt.Sprintf("sk-CANARY-%d", s.made)), Created: s.now, Expires: expires,
	}}
	if s.slots {
		k.ID, k.Name = "Key1", ""
		if current != nil && current.KeyID == "Key1" {
			k.ID = "Key2"
		}
	}
	s.keys[k.ID] = k
	return k.Key, nil
}

// Prove is rotation.ErrNotAccepted for a key that the service does not take.
func (s *Service) Prove(_ context.Context, secret credential.Secret) error {
	if !s.Accepts(secret.Reveal()) {
		return rotation.ErrNotAccepted
	}
	return nil
}

// Keys lists the keys that were not revoked and have not expired.
func (s *Service) Keys(context.Context) ([]rotation.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []rotation.Key
	for _, k := range s.keys {
		if k.revoked.IsZero() && s.now.Before(k.Expires) {
			listed := k.Key
			listed.Secret = credential.Secret{}
			keys = append(keys, listed)
		}
	}
	return keys, nil
}

// Revoke ends a key.
func (s *Service) Revoke(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.keys[id]; k != nil && k.revoked.IsZero() {
		k.revoked = s.now
	}
	return nil
}

// Alive returns the ids of the keys that work, or will.
func (s *Service) Alive() (ids []string) {
	keys, _ := s.Keys(context.Background())
	for _, k := range keys {
		ids = append(ids, k.ID)
	}
	return ids
}
