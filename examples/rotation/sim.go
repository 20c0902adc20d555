package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/testing/openaitest"
	"github.com/latchkey-go/latchkey/rotation"
	"github.com/latchkey-go/latchkey/rotation/file"
	"github.com/latchkey-go/latchkey/rotation/openaiadmin"
)

// A sim is a fleet of processes in simulated time. Each has a real Cache, and the
// rotations are real ones. One goroutine steps them all, and waits for the goroutine
// in which a Cache reads.
type sim struct {
	mu sync.Mutex // of passed, value and reads, and of each process, against reads

	ttl, overlap, gap time.Duration // gap is between two calls of a process
	rand              *rand.Rand

	begin   time.Time
	passed  time.Duration // since then
	service *openaitest.Service
	rotator *rotation.Rotator
	store   rotation.Store
	value   credential.Value // what the store has for readers
	fleet   []*process

	reads    []int // of the store, by the second
	calls    int
	replays  int
	failed   int
	lastOld  time.Duration // when a call last went out with an old key
	promoted time.Duration
}

// A process is one of them.
type process struct {
	cache *credential.Cache
	phase time.Duration
	first bool
	read  time.Duration // when it last read the store
}

func (s *sim) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begin.Add(s.passed)
}

// at sets the time.
func (s *sim) at(passed time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passed = passed
}

// mayRead reports whether the call that was just made may have started a read.
func (s *sim) mayRead(p *process) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return p.first || s.passed-p.read >= s.ttl/20
}

// newSim starts n processes within one second. The key is due 10 minutes later.
func newSim(ctx context.Context, n int, ttl, overlap, gap time.Duration, o rotation.Options) (*sim, func(), error) {
	s := &sim{ttl: ttl, overlap: overlap, gap: gap, begin: time.Now(), rand: rand.New(rand.NewPCG(1, uint64(n)))} //nolint:gosec // a script
	dir, err := os.MkdirTemp("", "fleet")
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // it names the directory
	}
	end := func() { _ = os.RemoveAll(dir) }
	const admin = "sk-admin-CANARY-fleet"
	s.service = openaitest.New(admin, nil, s.now)
	issuer, err := openaiadmin.New(credential.Static(credential.NewSecret(admin), credential.APIKey), &openaiadmin.Options{
		Project: openaitest.Project, ServiceAccount: openaitest.ServiceAccount, AllScopes: true, Transport: s.service,
	})
	if err != nil {
		return nil, end, err //nolint:wrapcheck // it names itself
	}
	o.Every, o.Overlap, o.Now = 12*time.Hour, overlap, s.now
	if o.ReadersTTL == 0 {
		o.ReadersTTL = ttl
	}
	if s.store, err = file.New(dir); err != nil {
		return nil, end, err //nolint:wrapcheck // it names itself
	}
	if s.rotator, err = rotation.New(issuer, s.store, &o); err != nil {
		return nil, end, err //nolint:wrapcheck // it names itself
	}
	s.at(10*time.Minute - o.Every)
	if err := s.rotate(ctx, s.rotator.Run); err != nil {
		return nil, end, err
	}
	s.at(0)
	for range n {
		p := &process{phase: time.Duration(s.rand.Int64N(int64(gap))), first: true}
		if p.cache, err = credential.NewCache(credential.SourceFunc(func(context.Context) (credential.Value, error) { return s.retrieve(p) }),
			&credential.CacheOptions{TTL: ttl, Now: s.now}); err != nil {
			return nil, end, err //nolint:wrapcheck // it names itself
		}
		s.fleet = append(s.fleet, p)
	}
	return s, end, nil
}

// retrieve is a read of the store.
func (s *sim) retrieve(p *process) (credential.Value, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.reads) <= int(s.passed/time.Second) {
		s.reads = append(s.reads, 0)
	}
	s.reads[s.passed/time.Second]++
	p.first, p.read = false, s.passed
	return s.value, nil
}

// rotate runs the rotator, and takes over what the store has.
func (s *sim) rotate(ctx context.Context, run func(context.Context) (*rotation.Report, error)) error {
	if _, err := run(ctx); err != nil {
		return err
	}
	state, err := s.store.Load(ctx)
	if err != nil || state.Current == nil {
		return errors.Join(err, errors.New("no current key"))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.value.Version != state.Current.Token {
		s.promoted = s.passed
	}
	s.value = credential.Value{Secret: state.Current.Secret, Source: "fleet", Version: state.Current.Token}
	return nil
}

// play lets the processes make calls until end. Every second, each is told of the time.
func (s *sim) play(ctx context.Context, end time.Duration, each func(second time.Duration) error) error {
	wheel := make([][]*process, max(1, int(s.gap/time.Second)))
	for _, p := range s.fleet {
		at := int(p.phase / time.Second)
		wheel[at] = append(wheel[at], p)
	}
	for i, p := range s.fleet { // all start in the first second
		s.at(time.Duration(i) * time.Second / time.Duration(len(s.fleet)))
		if err := s.call(ctx, p); err != nil {
			return err
		}
	}
	for second := time.Second; second < end; second += time.Second {
		s.at(second)
		if ctx.Err() != nil {
			return context.Cause(ctx) //nolint:wrapcheck // of the user
		}
		if err := each(second); err != nil {
			return err
		}
		now := wheel[int(second/time.Second)%len(wheel)]
		for i, p := range now {
			s.at(second + time.Duration(i)*time.Second/time.Duration(len(now)))
			if err := s.call(ctx, p); err != nil {
				return err
			}
		}
	}
	s.at(end) // after the last read
	return nil
}

// call is one call of a process.
func (s *sim) call(ctx context.Context, p *process) error {
	before := runtime.NumGoroutine()
	v, err := p.cache.Retrieve(ctx)
	if s.mayRead(p) {
		if err := ended(before); err != nil {
			return err
		}
	}
	s.calls++
	refused := err == nil && !s.service.Accepts(v.Secret.Reveal())
	if refused {
		s.replays++
		v, err = p.cache.Replace(ctx, credential.Rejection{Value: v, StatusCode: 401})
		refused = err == nil && !s.service.Accepts(v.Secret.Reveal())
	}
	switch {
	case err != nil, refused:
		s.failed++
	case v.Version != s.value.Version:
		s.lastOld = s.passed
		fallthrough
	default:
		p.cache.Accept(v)
	}
	return nil
}

// ended waits until the read is over that a call may have started: it has a goroutine
// of its own, and nothing else has one here.
func ended(before int) error {
	for range 10_000_000 {
		if runtime.NumGoroutine() <= before {
			return nil
		}
		runtime.Gosched()
	}
	return errors.New("a read does not end")
}
