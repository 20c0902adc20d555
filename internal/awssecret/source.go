// Package awssecret is what the sources of AWS secrets and parameters have in
// common: which version and field of them is the key, and which the standby.
package awssecret

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/document"
	"github.com/latchkey-go/latchkey/internal/hidden"
)

// A Ref says where the key and its standbys are. The sources' Options explain
// the fields.
type Ref struct {
	ID, Field, StandbyField, Stage, StandbyStage, Version string

	Scheme credential.Scheme
	// Parameter tells that ID is that of a parameter in Parameter Store. A stage
	// is then a label, and a version is a number.
	Parameter bool
}

// A Query is one read.
type Query struct {
	// Stage and Pin choose the version; both empty is the current one.
	Stage, Pin string
	// Fresh asks caches on the way for the store's own answer.
	Fresh bool
}

// A Version is one version of a secret.
type Version struct {
	ID   string
	Text hidden.Value[string]
	// Expires is when the key of the primary stops being valid; zero if that is
	// not known.
	Expires time.Time
}

// A role is what a Source does with the documents that are read.
type role int

const (
	alone     role = iota
	handsOver      // the primary of a standby in the same version
	takesOver      // that standby
)

// A Source is one key of a secret.
type Source struct {
	name, label, field string
	scheme             credential.Scheme
	query              Query
	link               *link
	role               role
	read               func(context.Context, Query) (Version, error)
	standby            hidden.Value[*Source]
}

// New returns the Source of a key and, behind it, those of its standbys. Name
// is that of the package, cached says whether there is a cache on the way. Ref
// has to have passed Check.
func New(name string, ref Ref, cached bool, read func(context.Context, Query) (Version, error)) *Source {
	primary := Source{
		name: name, label: label(name, ref.ID, "", ref.Stage), field: ref.Field, scheme: ref.Scheme, read: read,
		query: Query{Stage: ref.Stage, Pin: ref.Version, Fresh: !cached},
		link:  &link{}, standby: hidden.Of[*Source](nil),
	}
	if ref.StandbyStage != "" {
		next := primary
		next.query = Query{Stage: ref.StandbyStage, Fresh: !cached}
		next.label = label(name, ref.ID, "", ref.StandbyStage)
		primary.standby = hidden.Of(&next)
	}
	if ref.StandbyField != "" {
		other := primary
		other.field, other.role = ref.StandbyField, takesOver
		primary.role = handsOver
		other.label = label(name, ref.ID, ref.StandbyField, ref.Stage)
		primary.standby = hidden.Of(&other)
	}
	return &primary
}

func label(name, id, field, stage string) string {
	s := name + ":" + id
	if stage != "" {
		s += "@" + stage
	}
	if field != "" {
		s += "#" + field
	}
	return s
}

// Zero is the error of a Source that was not made with New.
func Zero(name string) error {
	return &credential.SourceError{Source: name, Op: "read", Err: errors.New("the zero Source names no secret"), Hint: "make one with New"}
}

// Retrieve reads the version and takes the key out of it.
func (s *Source) Retrieve(ctx context.Context) (credential.Value, error) {
	return s.retrieve(ctx, s.query)
}

func (s *Source) retrieve(ctx context.Context, q Query) (credential.Value, error) {
	if ctx.Err() != nil {
		return credential.Value{}, context.Cause(ctx)
	}
	doc, err := s.version(ctx, q)
	if err != nil {
		return credential.Value{}, err
	}
	text, err := document.Field(doc.Text(), s.field)
	if err != nil {
		return credential.Value{}, &credential.SourceError{Source: s.label, Op: fmt.Sprintf("read version %q", doc.ID), Err: err,
			Hint: "name the field that holds the key as text"}
	}
	v := credential.Value{Secret: credential.NewSecret(text), Scheme: s.scheme, Version: doc.ID, Source: s.label, Fixed: q.Pin != ""}
	// It is that of the key in Field, not of another one. A time that is past says
	// that nobody keeps it up to date; whether the key still works, the service
	// knows.
	if s.role != takesOver && doc.Expires.After(now()) {
		v.Expires = doc.Expires
	}
	return v, nil
}

func (s *Source) version(ctx context.Context, q Query) (Version, error) {
	q.Fresh = q.Fresh || s.link.rejected()
	switch s.role {
	case alone:
		return s.read(ctx, q)
	case takesOver:
		if doc, ok, err := s.link.take(); ok {
			return doc, err
		}
		return s.read(ctx, q)
	}
	n := s.link.begin()
	doc, err := s.read(ctx, q)
	s.link.put(n, q.Fresh, doc, err)
	return doc, err
}

// Renew reads again, past any cache; not a pinned version, which cannot change.
func (s *Source) Renew(ctx context.Context, _ credential.Rejection) (credential.Value, error) {
	q := s.query
	q.Fresh = true
	s.link.reject() // also for the standby, which is asked next
	if q.Pin != "" {
		return credential.Value{}, &credential.SourceError{Source: s.label, Op: "renew",
			Err:  fmt.Errorf("the key was rejected, and Version pins version %q", q.Pin),
			Hint: "name the version that holds a valid key, or leave Version out to follow rotations"}
	}
	return s.retrieve(ctx, q)
}

// Standby returns the Source of the next key; nil if there is none.
func (s *Source) Standby() credential.Source {
	if next := s.standby(); next != nil {
		return next
	}
	return nil
}

// String names the secret.
func (s *Source) String() string { return s.label }
