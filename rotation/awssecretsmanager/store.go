package awssecretsmanager

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/awssdk"
	"github.com/latchkey-go/latchkey/internal/awssecret"
	"github.com/latchkey-go/latchkey/rotation"
)

// Options configure a [Store]. Nil is the zero Options.
type Options struct {
	// Client sends the requests. Nil is a private client, from the SDK's default
	// configuration. The log of requests and answers is off in any case, because it
	// shows secrets.
	Client *secretsmanager.Client
	// Field is the member of a JSON document that holds the key. It is the Field of
	// readers; a JSON pointer is not possible here. The empty string is the whole text.
	Field string
	// ExpiryTag is the name of a tag of the secret that Promote writes: when the new
	// current key ends, if the issuer tells. It is the ExpiryTag of readers. Empty is
	// none.
	ExpiryTag string
	// Transport carries the requests, those for AWS credentials included. Nil is a
	// private transport. It excludes Client.
	Transport http.RoundTripper
}

// A Store is one secret. It is a [rotation.Store], and safe for concurrent use.
type Store struct {
	id, field, tag string
	rotationToken  credential.Secret
	setup          *awssdk.Setup[api]
}

var _ rotation.Store = (*Store)(nil)

// New returns the Store in the secret with that name or ARN; an ARN also says which
// region to ask. It does no I/O. It fails if secretID cannot be one, or the options
// contradict each other.
func New(secretID string, opts *Options) (*Store, error) {
	if opts == nil {
		opts = &Options{}
	}
	region, err := (&awssecret.Ref{ID: secretID, Field: opts.Field}).Check()
	switch {
	case err != nil:
		return nil, fmt.Errorf("rotation/awssecretsmanager: %w", err)
	case opts.Client != nil && opts.Transport != nil:
		return nil, errors.New("rotation/awssecretsmanager: a Transport has no effect on a Client; give it to that")
	case strings.HasPrefix(opts.Field, "/"):
		return nil, errors.New("rotation/awssecretsmanager: Field is a JSON pointer; name a member of the document")
	case len(opts.ExpiryTag) > 128:
		return nil, errors.New("rotation/awssecretsmanager: ExpiryTag has more than the 128 characters that AWS takes")
	}
	return &Store{id: secretID, field: opts.Field, tag: opts.ExpiryTag, setup: setup(region, opts)}, nil
}

// Load reads the labels of the secret, and the keys of the current and the pending
// version; not that of the previous one. Its errors are as those of package
// credential/awssecretsmanager.
func (s *Store) Load(ctx context.Context) (rotation.State, error) {
	v, err := s.look(ctx)
	if err != nil {
		return rotation.State{}, err
	}
	state := v.state()
	for _, one := range []struct {
		id string
		to *rotation.Version
	}{{v.current(), state.Current}, {v.pending(), state.Pending}} {
		if one.to == nil || v.isNote(one.id) {
			continue
		}
		text, err := s.text(ctx, one.id)
		if errors.Is(err, errNoValue) {
			continue // Secrets Manager has prepared it, and it has no value yet
		}
		if err == nil {
			one.to.Secret, err = s.keyIn(text)
		}
		if err != nil {
			return rotation.State{}, err
		}
	}
	if state.Current != nil && state.Current.Secret.IsZero() {
		if v.at(stagePending) == v.current() { // the first version of the secret
			state.Pending = state.Current
		}
		state.Current = nil
	}
	return state, nil
}

// Stage writes pending: without a key as a note, with a key as a version.
func (s *Store) Stage(ctx context.Context, from rotation.State, pending rotation.Version) error {
	v, err := s.unchanged(ctx, from)
	if err != nil {
		return err
	}
	label, err := labelOf(pending)
	if err != nil {
		return err
	}
	text, id := note, versionID(pending.Token, "")
	if !pending.Secret.IsZero() {
		if text, err = s.document(ctx, v, pending.Secret); err != nil {
			return err
		}
		id = versionID(pending.Token, pending.KeyID)
		if prepared := preparedFor(from); prepared != "" && prepared == v.at(stagePending) {
			return s.put(ctx, prepared, text, stagePending, label)
		}
	}
	if err := s.put(ctx, id, text, label); err != nil {
		return err
	}
	if err := s.move(ctx, stagePending, v.at(stagePending), id); err != nil {
		return err
	}
	if old := v.pending(); old != "" && old != v.at(stageCurrent) { // the first of all versions keeps its label
		s.forget(ctx, v, old)
	}
	if pending.Secret.IsZero() {
		s.sweep(ctx, v, pending.Prepared.Add(-leftover))
	}
	return nil
}

// preparedFor returns the version that Secrets Manager has prepared without a value;
// empty if there is none.
func preparedFor(from rotation.State) string {
	if from.Pending == nil || !from.Pending.Secret.IsZero() {
		return ""
	}
	id, ok := strings.CutPrefix(from.Pending.Token, found)
	if !ok {
		return ""
	}
	return id
}

// Promote makes the pending version current.
func (s *Store) Promote(ctx context.Context, from rotation.State, now time.Time) error {
	if from.Pending == nil || from.Pending.Secret.IsZero() {
		return errors.New("rotation/awssecretsmanager: there is no pending key to promote")
	}
	v, err := s.unchanged(ctx, from)
	if err != nil {
		return err
	}
	id := v.pending()
	// The time comes before the promotion, and counts only after it. So does the tag.
	if err := s.move(ctx, promotedLabel(id, now), "", id); err != nil {
		return err
	}
	if s.tag != "" && !from.Pending.Expires.IsZero() {
		if err := s.tagExpiry(ctx, from.Pending.Expires); err != nil {
			return err
		}
	}
	if from.Current != nil && v.current() != "" && v.meta[v.current()] == nil { // from here on it is of a rotation
		label, err := labelOf(*from.Current)
		if err == nil {
			err = s.move(ctx, label, "", v.current())
		}
		if err != nil {
			return err
		}
	}
	if err := s.move(ctx, stageCurrent, v.at(stageCurrent), id); err != nil {
		return err
	}
	_ = s.remove(ctx, stagePending, id) // it has no meaning beside AWSCURRENT
	for _, old := range []string{v.previous(), v.at(stageCurrent)} {
		if old != "" && (old != v.at(stageCurrent) || v.isNote(old)) {
			s.forget(ctx, v, old)
		}
	}
	return nil
}

// Retire forgets the previous version.
func (s *Store) Retire(ctx context.Context, from rotation.State) error {
	return s.drop(ctx, from, stagePrevious, (*view).previous)
}

// Abandon forgets the pending version.
func (s *Store) Abandon(ctx context.Context, from rotation.State) error {
	return s.drop(ctx, from, stagePending, (*view).pending)
}

// drop takes a label, and those of ours, from its version.
func (s *Store) drop(ctx context.Context, from rotation.State, label string, of func(*view) string) error {
	v, err := s.unchanged(ctx, from)
	if err != nil {
		return err
	}
	id := of(v)
	if id == "" {
		return nil
	}
	if err := s.remove(ctx, label, id); err != nil {
		return err
	}
	if id != v.at(stageCurrent) { // the first of all versions keeps its label
		s.forget(ctx, v, id)
	}
	return nil
}

// unchanged reads the labels, which have to be those of the state.
func (s *Store) unchanged(ctx context.Context, from rotation.State) (*view, error) {
	if from.Revision == "" {
		return nil, errors.New("rotation/awssecretsmanager: a Revision that is not of this store")
	}
	v, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	if v.revision() != from.Revision {
		return nil, rotation.ErrConflict
	}
	return v, nil
}

// forget removes the labels of ours from a version that nobody needs, so that Secrets
// Manager can delete it. What fails here is done by a later sweep.
func (s *Store) forget(ctx context.Context, v *view, id string) {
	for _, label := range v.stages[id] {
		if strings.HasPrefix(label, ours) {
			_ = s.remove(ctx, label, id)
		}
	}
}

// sweep forgets the versions that a run which died has left, if they are from before a
// time.
func (s *Store) sweep(ctx context.Context, v *view, before time.Time) {
	for id := range v.stages {
		since := v.promoted[id]
		if m := v.meta[id]; m != nil {
			since = m.Prepared
		}
		if id != v.at(stageCurrent) && id != v.at(stagePending) && id != v.at(stagePrevious) && since.Before(before) {
			s.forget(ctx, v, id)
		}
	}
}
