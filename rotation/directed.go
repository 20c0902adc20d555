package rotation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Take takes one step of a rotation that another service directs, such as AWS Secrets
// Manager: that service has prepared the version with this token in the store, and
// asks for Issue, Prove and Promote of it, each as often as it likes. Retire needs no
// token. A step that was taken before is no error, and a key that is there is not
// issued anew.
//
// What a step needs is part of it: before Issue the previous key is retired, and
// before Promote the new one is proved. No other step is taken. The key that Promote
// replaces stays until a Retire or an Issue after its overlap.
//
// It is an error if the version is not the pending one, or if a previous key has to
// stay and there is no room for a new one. For Retire, a key that has to stay is no
// error: the Report says when to come again. Retire revokes orphans as well. In a store
// without any key there is nothing to prove, and Prove is no error: a service may ask
// for it when it is set up.
//
// Two Issue of one token at the same time both make a key. One of the two is staged,
// and the other one revoked; so let an issuer whose keys have places in the account,
// and no names, be called by one process at a time.
func (r *Rotator) Take(ctx context.Context, token string, step Step) (*Report, error) {
	return r.begin(ctx, claim{directed: true}, func(n *run, ctx context.Context) error { return n.takeTo(ctx, token, step) })
}

func (n *run) takeTo(ctx context.Context, token string, step Step) error {
	for range mostSteps {
		s, err := n.store.Load(ctx)
		if err != nil {
			return fmt.Errorf("rotation: load: %w", err)
		}
		n.tell(s)
		p, err := n.opts.toward(step, token, s, n.opts.Now(), n.claim)
		if err != nil {
			return fmt.Errorf("rotation: %s: %w", step, err)
		}
		more := false
		if p.step == Wait {
			n.report.Next = p.at
		} else if more, err = n.take(ctx, p.step, s); err != nil {
			return err
		}
		switch {
		case more:
		case step == Retire:
			return n.revokeOrphans(ctx, s)
		case p.step == Retire:
			return fmt.Errorf("rotation: %s: %w", step, stays(n.report.Next))
		default:
			return nil
		}
	}
	return errEndless
}

// toward decides what is next on the way to a step that another service asks for;
// Wait is that it was taken.
func (o *Options) toward(step Step, token string, s State, now time.Time, c claim) (plan, error) {
	done := plan{step: Wait}
	switch step {
	case Retire:
		if s.Previous == nil || s.Current == nil {
			return done, nil
		}
		return o.retiring(s, now, false), nil
	case Issue, Prove, Promote:
	case Prepare, Wait:
		return done, errors.New("nobody can ask for this step")
	default:
		return done, errors.New("there is no such step")
	}
	switch {
	case token == "":
		return done, errors.New("no token")
	case s.Current.has(token):
		return done, nil
	case !s.Pending.has(token):
		return done, errors.New("the version is not the pending one: another rotation has begun, or this one was given up")
	}
	keyed := !s.Pending.Secret.IsZero()
	switch {
	case step == Issue && keyed:
		return done, nil
	case step == Issue && s.Previous != nil && s.Current != nil:
		if p := o.retiring(s, now, false); p.step == Retire {
			return p, nil
		} else {
			return done, stays(p.at)
		}
	case step == Issue:
		return plan{step: Issue}, nil
	case step == Prove && !keyed && s.Current == nil:
		return done, nil
	case !keyed:
		return done, errors.New("the version has no key yet: the step before has to be taken first")
	case s.Pending.Token != c.proved:
		return plan{step: Prove}, nil
	case step == Prove:
		return done, nil
	case s.Previous != nil:
		return done, errors.New("there is a previous key, which has to be retired first")
	}
	return plan{step: Promote}, nil
}

// stays says that there is no room for another key.
func stays(until time.Time) error {
	return fmt.Errorf("the key before the current one is still in its overlap or in use, and has to go first: run again after %s", until.UTC().Format(time.RFC3339))
}

// has reports whether v is the version with the token, which may lack the name before
// the slash.
func (v *Version) has(token string) bool { return v != nil && last(v.Token) == last(token) }

func last(token string) string { return token[strings.LastIndex(token, "/")+1:] }
