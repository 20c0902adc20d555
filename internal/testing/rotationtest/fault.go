package rotationtest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/rotation"
)

var (
	// ErrLost is what a call returns whose request or answer was lost.
	ErrLost = errors.New("the connection was lost")
	// ErrCrash is what each call after that returns.
	ErrCrash = errors.New("the rotator was killed")
)

// A Fault breaks one remote call of a run: the request is lost, or the answer. After
// that the rotator is dead: each further call fails.
type Fault struct {
	// At counts calls from 1; 0 is none.
	At int
	// Answer says that the call is carried out, and its answer is lost.
	Answer bool
	// Changes says that calls which only read do not count. They fail once the rotator
	// is dead.
	Changes bool
	// Reads tells such a call among the requests of Transport; nil is that none is one.
	Reads func(*http.Request) bool
	// Calls is how many there were.
	Calls int
	dead  bool
}

// read makes a remote call that changes nothing.
func (f *Fault) read(call func() error) error {
	if f.Changes && !f.dead {
		return call()
	}
	return f.Do(call)
}

// Do makes a remote call.
func (f *Fault) Do(call func() error) error {
	f.Calls++
	switch {
	case f.dead:
		return ErrCrash
	case f.Calls != f.At:
		return call()
	}
	f.dead = true
	if f.Answer {
		if err := call(); err != nil {
			return err
		}
	}
	return ErrLost
}

// Transport returns a transport whose requests meet the fault.
func (f *Fault) Transport(to http.RoundTripper) http.RoundTripper { return transport{f, to} }

type transport struct {
	*Fault
	to http.RoundTripper
}

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	var resp *http.Response
	do := t.Do
	if t.Reads != nil && t.Reads(r) {
		do = t.read
	}
	err := do(func() (err error) {
		resp, err = t.to.RoundTrip(r) //nolint:bodyclose // it is given on, or closed below
		return err
	})
	if err != nil {
		if resp != nil {
			_ = resp.Body.Close()
		}
		return nil, fmt.Errorf("rotationtest: %w", err)
	}
	return resp, nil
}

// Lossy returns the issuer with calls that meet the fault.
func Lossy(i rotation.Issuer, f *Fault) rotation.Issuer { return lossyIssuer{i, f} }

// lossyIssuer is an issuer whose calls meet the fault.
type lossyIssuer struct {
	rotation.Issuer
	*Fault
}

func (l lossyIssuer) Issue(ctx context.Context, p rotation.Version, c *rotation.Version, e time.Time) (k rotation.Key, err error) {
	err = l.Do(func() error { k, err = l.Issuer.Issue(ctx, p, c, e); return err })
	return k, err
}

func (l lossyIssuer) Prove(ctx context.Context, s credential.Secret) error {
	return l.read(func() error { return l.Issuer.Prove(ctx, s) })
}

func (l lossyIssuer) Keys(ctx context.Context) (k []rotation.Key, err error) {
	err = l.read(func() error { k, err = l.Issuer.Keys(ctx); return err })
	return k, err
}

func (l lossyIssuer) Revoke(ctx context.Context, id string) error {
	return l.Do(func() error { return l.Issuer.Revoke(ctx, id) })
}

// lossyStore is a store whose calls meet the fault.
type lossyStore struct {
	rotation.Store
	*Fault
}

func (l lossyStore) Load(ctx context.Context) (s rotation.State, err error) {
	err = l.read(func() error { s, err = l.Store.Load(ctx); return err })
	return s, err
}

func (l lossyStore) Stage(ctx context.Context, from rotation.State, p rotation.Version) error {
	return l.Do(func() error { return l.Store.Stage(ctx, from, p) })
}

func (l lossyStore) Promote(ctx context.Context, from rotation.State, now time.Time) error {
	return l.Do(func() error { return l.Store.Promote(ctx, from, now) })
}

func (l lossyStore) Retire(ctx context.Context, from rotation.State) error {
	return l.Do(func() error { return l.Store.Retire(ctx, from) })
}

func (l lossyStore) Abandon(ctx context.Context, from rotation.State) error {
	return l.Do(func() error { return l.Store.Abandon(ctx, from) })
}
