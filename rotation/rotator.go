package rotation

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	defaultEvery    = 30 * 24 * time.Hour
	defaultOverlap  = 24 * time.Hour
	defaultSlack    = 7 * 24 * time.Hour
	defaultProveFor = 2 * time.Minute
	proveGap        = 2 * time.Second
	// mostSteps is more than a run can need: issue, prove, promote, retire, and each
	// once more.
	mostSteps = 12
	// orphanAge is how old a key has to be that nobody knows, so that it is not that
	// of a rotator that is about to stage it.
	orphanAge = time.Hour
)

// Options configure a [Rotator]. Nil is the zero Options.
type Options struct {
	// Name is the beginning of the names of keys, "NAME/TOKEN"; empty is "latchkey".
	// Only keys with such a name are revoked as orphans: give each secret of an
	// account a Name of its own.
	Name string
	// Every is how long a key is current; 0 is 30 days. It is less for a key that ends
	// before Every, Longest and Slack are over, because it was promoted late or the
	// issuer has shortened its life: that one is due as long before its end as any
	// other, or else after half of its time.
	Every time.Duration
	// Overlap is how long the previous key works on at least; 0 is 24 hours. It must
	// be at least twice ReadersTTL.
	Overlap time.Duration
	// Longest is how long the previous key is kept at the most while it is still
	// used; 0 is 7 times Overlap. Quiet is for how long it must not have been used
	// before it is revoked, where the issuer tells; 0 is half of Overlap.
	Longest, Quiet time.Duration
	// ReadersTTL is for how long readers use a key before they read the store again:
	// credential.CacheOptions.TTL; 0 is 5 minutes.
	ReadersTTL time.Duration
	// Slack is how much longer a key lives than it is needed; 0 is 7 days. A rotation
	// that is late by more than that costs calls.
	Slack time.Duration
	// ProveFor is how long one run waits until the service accepts a new key; 0 is 2
	// minutes.
	ProveFor time.Duration
	// OnStep is told of each step before it is taken; nil is nobody.
	OnStep func(Step, State)
	// OnEvent is told of each step after it, with its error, and of the end of each
	// run, for an audit log or a metric. It is called on the goroutine of the run;
	// nil is nobody.
	OnEvent func(Event)
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// A Rotator rotates one secret. It keeps nothing: any process may run the next
// step. It is safe for concurrent use.
type Rotator struct {
	issuer Issuer
	store  Store
	opts   Options
}

// New returns a Rotator. It fails if issuer or store is nil, or the options do not
// make sense.
func New(issuer Issuer, store Store, opts *Options) (*Rotator, error) {
	if issuer == nil || store == nil {
		return nil, errors.New("rotation: no Issuer or no Store")
	}
	r := &Rotator{issuer: issuer, store: store}
	if opts != nil {
		r.opts = *opts
	}
	o := &r.opts
	for _, d := range []struct {
		of   *time.Duration
		none time.Duration
	}{
		{&o.Every, defaultEvery}, {&o.Overlap, defaultOverlap}, {&o.Slack, defaultSlack}, {&o.ProveFor, defaultProveFor}, {&o.ReadersTTL, 5 * time.Minute},
	} {
		if *d.of == 0 {
			*d.of = d.none
		}
	}
	if o.Longest == 0 {
		o.Longest = 7 * o.Overlap
	}
	if o.Quiet == 0 {
		o.Quiet = o.Overlap / 2
	}
	if o.Name == "" {
		o.Name = "latchkey"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	return r, nil
}

func (o *Options) check() error {
	switch {
	case o.Every < 0 || o.Overlap < 0 || o.Longest < 0 || o.Quiet < 0 || o.ReadersTTL < 0 || o.Slack < 0 || o.ProveFor < 0:
		return errors.New("rotation: a duration is negative")
	case o.Overlap < 2*o.ReadersTTL:
		return fmt.Errorf("rotation: an Overlap of %v is too short for readers that keep a key for %v: it has to be twice that, or they lose calls", o.Overlap, o.ReadersTTL)
	case o.Longest < o.Overlap:
		return fmt.Errorf("rotation: Longest is %v, less than the Overlap of %v", o.Longest, o.Overlap)
	case o.Every < o.Overlap:
		return fmt.Errorf("rotation: a key that is current for %v cannot have an Overlap of %v with the one before", o.Every, o.Overlap)
	case strings.ContainsAny(o.Name, "/\r\n\"") || len(o.Name) > 64:
		return errors.New("rotation: Name has to have at most 64 bytes, without slashes, quotes and line ends")
	}
	return nil
}

// A Report is what a run has done. It holds no secret.
type Report struct {
	// Steps are what was done, in order.
	Steps []Step
	// Current, Pending and Previous are the tokens in the store at the end; empty is
	// none.
	Current, Pending, Previous string
	// Busy says that another rotator has begun, or has died: it has until Next.
	Busy bool
	// Orphans is how many keys that nobody knows were revoked.
	Orphans int
	// Unrevoked is the token of a previous version that the store has forgotten now,
	// without its key having been revoked, because the key was not made here and the
	// issuer's name for it is not known: revoke it by hand. Empty is none.
	Unrevoked string
	// Next is when there is something to do again; zero is now.
	Next time.Time
}

// Run does what is due, and goes on where an earlier run ended. It returns when
// nothing is left to do now. The Report is complete also if there is an error, which is
// that of the issuer, the store or ctx, ErrConflict if another rotator is at work, or
// ErrNotAccepted if the service did not accept the new key for as long as ProveFor.
func (r *Rotator) Run(ctx context.Context) (*Report, error) {
	return r.begin(ctx, claim{}, (*run).steps)
}

// Now rotates at once, whether it is due or not: for a key that has leaked. The
// leaked key is revoked by a run after 2 times ReadersTTL, whether it is still used
// or not. If there is a previous key already, that is revoked at once, as soon as
// the new one is proved.
func (r *Rotator) Now(ctx context.Context) (*Report, error) {
	return r.begin(ctx, claim{force: true}, (*run).steps)
}

// Plan tells what Run would do next, and changes nothing.
func (r *Rotator) Plan(ctx context.Context) (Step, time.Time, error) {
	s, err := r.store.Load(ctx)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("rotation: load: %w", err)
	}
	p := r.opts.next(s, r.opts.Now(), claim{})
	return p.step, p.at, nil
}

var errEndless = errors.New("rotation: no end after many steps; the store does not keep what it is told")

// A run is one Run.
type run struct {
	*Rotator
	report  *Report
	issued  string   // the id of the key that this run has made
	revoked []string // ids; a list that is late may have them still
	claim
}

func (r *Rotator) begin(ctx context.Context, c claim, steps func(*run, context.Context) error) (*Report, error) {
	n := &run{Rotator: r, report: &Report{}, claim: c}
	err := steps(n, ctx)
	n.event(Event{Step: End, Token: n.report.Current, Err: err, Report: n.report})
	return n.report, err
}

func (n *run) steps(ctx context.Context) error {
	for range mostSteps {
		s, err := n.store.Load(ctx)
		if err != nil {
			return fmt.Errorf("rotation: load: %w", err)
		}
		n.tell(s)
		p := n.opts.next(s, n.opts.Now(), n.claim)
		if p.step == Wait {
			n.report.Next = p.at
			n.report.Busy = s.Pending != nil && s.Pending.Secret.IsZero()
			return n.revokeOrphans(ctx, s)
		}
		more, err := n.take(ctx, p.step, s)
		if err != nil {
			return err
		}
		if !more {
			return n.revokeOrphans(ctx, s)
		}
	}
	return errEndless
}

func (n *run) tell(s State) {
	token := func(v *Version) string {
		if v == nil {
			return ""
		}
		return v.Token
	}
	n.report.Current, n.report.Pending, n.report.Previous = token(s.Current), token(s.Pending), token(s.Previous)
}

// take takes the step, and reports whether there may be another one now.
func (n *run) take(ctx context.Context, step Step, s State) (bool, error) {
	if n.opts.OnStep != nil {
		n.opts.OnStep(step, s)
	}
	more, err := true, error(nil)
	switch step {
	case Prepare:
		err = n.prepare(ctx, s)
	case Issue:
		err = n.issue(ctx, s)
	case Prove:
		err = n.prove(ctx, s)
	case Promote:
		n.force = false
		err = n.store.Promote(ctx, s, n.opts.Now())
	case Retire:
		more, err = n.retire(ctx, s)
	case Wait:
		more = false
	}
	if more || err != nil {
		n.event(n.taken(step, s, err))
	}
	if err != nil {
		return false, fmt.Errorf("rotation: %s: %w", step, err)
	}
	if more {
		n.report.Steps = append(n.report.Steps, step)
	}
	return more, nil
}

// prepare notes the version in the store before anything is made: of several
// rotators one may go on.
func (n *run) prepare(ctx context.Context, s State) error {
	token := n.opts.Name + "/" + strings.ToLower(rand.Text())
	if err := n.store.Stage(ctx, s, Version{Token: token, Prepared: n.opts.Now(), Urgent: n.force}); err != nil {
		return err
	}
	n.prepared = token
	return nil
}

// issue makes the key and stages it. If the store has changed by then, the key is
// nobody's, and goes.
func (n *run) issue(ctx context.Context, s State) error {
	now := n.opts.Now()
	// A rotator that was held up must not make a key when another one has begun: it
	// may be that of the account's only other slot. A version that another service has
	// prepared is that service's to take away.
	left := lease / 2
	if !n.directed {
		left = s.Pending.Prepared.Add(left).Sub(now)
	}
	if left <= 0 {
		return ErrConflict
	}
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	pending := *s.Pending
	pending.Token = n.opts.keyName(pending.Token)
	key, err := n.issuer.Issue(ctx, pending, s.Current, now.Add(n.opts.Every+n.opts.Longest+n.opts.Slack))
	if err != nil {
		return err
	}
	if key.Secret.IsZero() || key.ID == "" {
		return errors.New("the issuer has returned no key")
	}
	n.issued = key.ID
	pending.KeyID, pending.Secret, pending.Issued, pending.Expires = key.ID, key.Secret, now, key.Expires
	err = n.store.Stage(ctx, s, pending)
	if errors.Is(err, ErrConflict) && key.Name != "" { // a key of its own, and no slot that others have
		err = errors.Join(err, n.issuer.Revoke(ctx, key.ID))
	}
	return err
}

// prove waits until the service accepts the pending key. One that the issuer no
// longer has is given up.
func (n *run) prove(parent context.Context, s State) error {
	ctx, cancel := context.WithTimeout(parent, n.opts.ProveFor)
	defer cancel()
	for {
		err := n.issuer.Prove(ctx, s.Pending.Secret)
		if err == nil {
			n.proved = s.Pending.Token
			return nil
		}
		if !errors.Is(err, ErrNotAccepted) {
			return err
		}
		timer := time.NewTimer(proveGap)
		select {
		case <-timer.C:
			continue
		case <-ctx.Done():
			timer.Stop()
		}
		if parent.Err() != nil {
			return context.Cause(parent)
		}
		gone, listErr := n.gone(parent, s.Pending)
		if listErr == nil && gone {
			return errors.Join(err, n.store.Abandon(parent, s))
		}
		return err
	}
}

// gone reports whether the issuer no longer has the key.
func (n *run) gone(ctx context.Context, v *Version) (bool, error) {
	keys, err := n.issuer.Keys(ctx)
	if err != nil {
		return false, err
	}
	for _, k := range keys {
		if k.ID == v.KeyID {
			return false, nil
		}
	}
	return true, nil
}

// retire revokes the previous key, unless it may still be needed: then it is not the
// time for another step.
func (n *run) retire(ctx context.Context, s State) (bool, error) {
	if s.Previous.KeyID == s.Current.KeyID {
		return true, n.store.Retire(ctx, s) // its key goes on working
	}
	if err := n.issuer.Prove(ctx, s.Current.Secret); err != nil {
		return false, fmt.Errorf("the current key is not proved, so the previous one stays: %w", err)
	}
	keys, err := n.issuer.Keys(ctx)
	if err != nil {
		return false, err
	}
	now := n.opts.Now()
	for _, k := range keys {
		used := k.LastUsed.Add(n.opts.Quiet)
		if k.ID == s.Previous.KeyID && !n.force && !s.Current.Urgent && now.Before(used) && now.Before(s.Current.Promoted.Add(n.opts.Longest)) {
			n.report.Next = used
			return false, nil
		}
	}
	if s.Previous.KeyID == "" {
		n.report.Unrevoked = s.Previous.Token
		return true, n.store.Retire(ctx, s)
	}
	if err := n.issuer.Revoke(ctx, s.Previous.KeyID); err != nil {
		return false, err
	}
	n.revoked = append(n.revoked, s.Previous.KeyID)
	return true, n.store.Retire(ctx, s)
}
