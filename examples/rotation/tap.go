package main

import (
	"context"
	"errors"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/rotation"
)

// A tap sits on the remote calls of one run, and breaks one of them.
type tap struct {
	at     int  // counts calls from 1; 0 is none
	answer bool // the call is carried out first
	// kill ends the process; nil lets this and each later call fail.
	kill func(call string)

	calls []string // so far
	dead  bool
}

var (
	errLost = errors.New("the connection was lost")
	errDead = errors.New("the rotator is dead")
)

func (t *tap) do(call string, f func() error) error {
	t.calls = append(t.calls, call)
	switch {
	case t.dead:
		return errDead
	case len(t.calls) != t.at:
		return f()
	}
	if t.answer {
		if err := f(); err != nil {
			return err
		}
	}
	if t.kill != nil {
		t.kill(call)
	}
	t.dead = true
	return errLost
}

// on returns the ends behind the tap.
func (t *tap) on(e *ends) *ends {
	return &ends{store: tappedStore{e.store, t}, issuer: tappedIssuer{e.issuer, t}, source: e.source, base: e.base}
}

type tappedIssuer struct {
	rotation.Issuer
	t *tap
}

func (i tappedIssuer) Issue(ctx context.Context, p rotation.Version, c *rotation.Version, e time.Time) (k rotation.Key, err error) {
	err = i.t.do("issue", func() error { k, err = i.Issuer.Issue(ctx, p, c, e); return err })
	return k, err
}

func (i tappedIssuer) Prove(ctx context.Context, s credential.Secret) error {
	return i.t.do("prove", func() error { return i.Issuer.Prove(ctx, s) })
}

func (i tappedIssuer) Keys(ctx context.Context) (k []rotation.Key, err error) {
	err = i.t.do("keys", func() error { k, err = i.Issuer.Keys(ctx); return err })
	return k, err
}

func (i tappedIssuer) Revoke(ctx context.Context, id string) error {
	return i.t.do("revoke", func() error { return i.Issuer.Revoke(ctx, id) })
}

type tappedStore struct {
	rotation.Store
	t *tap
}

func (s tappedStore) Load(ctx context.Context) (state rotation.State, err error) {
	err = s.t.do("load", func() error { state, err = s.Store.Load(ctx); return err })
	return state, err
}

func (s tappedStore) Stage(ctx context.Context, from rotation.State, p rotation.Version) error {
	return s.t.do("stage", func() error { return s.Store.Stage(ctx, from, p) })
}

func (s tappedStore) Promote(ctx context.Context, from rotation.State, now time.Time) error {
	return s.t.do("promote", func() error { return s.Store.Promote(ctx, from, now) })
}

func (s tappedStore) Retire(ctx context.Context, from rotation.State) error {
	return s.t.do("retire", func() error { return s.Store.Retire(ctx, from) })
}

func (s tappedStore) Abandon(ctx context.Context, from rotation.State) error {
	return s.t.do("abandon", func() error { return s.Store.Abandon(ctx, from) })
}
