package rotation_test

import (
	"context"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/rotation"
)

// wait is what a remote call takes, before it is carried out and after.
func (s *schedule) wait() {
	time.Sleep(s.upTo(time.Second))
	s.now()
}

type slowIssuer struct {
	rotation.Issuer
	s *schedule
}

func (i slowIssuer) Issue(ctx context.Context, p rotation.Version, c *rotation.Version, e time.Time) (rotation.Key, error) {
	i.s.wait()
	defer i.s.wait()
	return i.Issuer.Issue(ctx, p, c, e)
}

func (i slowIssuer) Prove(ctx context.Context, s credential.Secret) error {
	i.s.wait()
	defer i.s.wait()
	return i.Issuer.Prove(ctx, s)
}

func (i slowIssuer) Keys(ctx context.Context) ([]rotation.Key, error) {
	i.s.wait()
	defer i.s.wait()
	return i.Issuer.Keys(ctx)
}

func (i slowIssuer) Revoke(ctx context.Context, id string) error {
	i.s.wait()
	defer i.s.wait()
	return i.Issuer.Revoke(ctx, id)
}

type slowStore struct {
	rotation.Store
	s *schedule
}

func (l slowStore) Load(ctx context.Context) (rotation.State, error) {
	l.s.wait()
	defer l.s.wait()
	return l.Store.Load(ctx)
}

func (l slowStore) Stage(ctx context.Context, from rotation.State, p rotation.Version) error {
	l.s.wait()
	defer l.s.wait()
	return l.Store.Stage(ctx, from, p)
}

func (l slowStore) Promote(ctx context.Context, from rotation.State, now time.Time) error {
	l.s.wait()
	defer l.s.wait()
	return l.Store.Promote(ctx, from, now)
}

func (l slowStore) Retire(ctx context.Context, from rotation.State) error {
	l.s.wait()
	defer l.s.wait()
	return l.Store.Retire(ctx, from)
}

func (l slowStore) Abandon(ctx context.Context, from rotation.State) error {
	l.s.wait()
	defer l.s.wait()
	return l.Store.Abandon(ctx, from)
}
