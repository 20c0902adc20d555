// Package awssecret is what the two sources of AWS secrets have in common:
// which version and field of a secret is the key, and which the standby.
package awssecret

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/document"
)

// A Ref says where the key and its standbys are. The sources' Options explain
// the fields.
type Ref struct {
	ID, Field, StandbyField, StandbyStage, VersionStage, VersionID string
}

// A Query is one read.
type Query struct {
	// Stage and Pin choose the version; both empty is the current one.
	Stage, Pin string
	// Fresh asks caches on the way for the store's own answer.
	Fresh bool
}

// A Version is one version of a secret. The text is behind a func, so that no
// printer by reflection shows it.
type Version struct {
	ID   string
	Text func() string
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
	query              Query
	link               *link
	role               role
	read               func(context.Context, Query) (Version, error)
	standby            func() *Source
}

// New returns the Source of a key and, behind it, those of its standbys. Name
// is that of the package, cached says whether there is a cache on the way. Ref
// has to have passed Check.
func New(name string, ref Ref, cached bool, read func(context.Context, Query) (Version, error)) *Source {
	primary := Source{
		name: name, label: label(name, ref.ID, "", ref.VersionStage), field: ref.Field, read: read,
		query: Query{Stage: ref.VersionStage, Pin: ref.VersionID, Fresh: !cached},
		link:  &link{}, standby: func() *Source { return nil },
	}
	if ref.StandbyStage != "" {
		next := primary
		next.query = Query{Stage: ref.StandbyStage, Fresh: !cached}
		next.label = label(name, ref.ID, "", ref.StandbyStage)
		primary.standby = func() *Source { return &next }
	}
	if ref.StandbyField != "" {
		other := primary
		other.field, other.role = ref.StandbyField, takesOver
		primary.role = handsOver
		other.label = label(name, ref.ID, ref.StandbyField, ref.VersionStage)
		primary.standby = func() *Source { return &other }
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
			Hint: "store the key as text under that field, or name the field that holds it"}
	}
	return credential.Value{Secret: credential.NewSecret(text), Version: doc.ID, Source: s.label}, nil
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
			Err:  fmt.Errorf("the key was rejected, and VersionID pins version %q", q.Pin),
			Hint: "name the version that holds a valid key, or leave VersionID out to follow rotations"}
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

// Check reports what is wrong with ref, or returns the region of an ARN; it is
// empty for a name.
func (ref *Ref) Check() (region string, err error) {
	region, err = checkID(ref.ID)
	if err != nil {
		return "", err
	}
	return region, ref.check()
}

func checkID(id string) (region string, err error) {
	const hint = "want a secret's name, for example prod/openai, or its ARN"
	switch {
	case id == "":
		return "", errors.New("the secret's id is empty: " + hint)
	case strings.HasPrefix(id, "sk-"):
		return "", errors.New("the secret's id starts like a key: " + hint)
	}
	name := id
	if strings.HasPrefix(id, "arn:") {
		part := strings.SplitN(id, ":", 7)
		if len(part) != 7 || part[2] != "secretsmanager" || part[3] == "" || part[5] != "secret" {
			return "", errors.New("the ARN is not one of a secret: want arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME")
		}
		region, name = part[3], part[6]
		// It becomes a part of a host's name.
		if strings.Trim(region, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return "", errors.New("the region in the ARN is malformed")
		}
	}
	if len(name) == 0 || len(name) > 512 {
		return "", fmt.Errorf("the secret's name has %d characters, AWS takes 1 to 512: %s", len(name), hint)
	}
	for i, c := range name {
		if !nameChar(c) {
			return "", fmt.Errorf("character %d of the secret's name is not a letter, a digit or one of /_+=.@!-: %s", i+1, hint)
		}
	}
	return region, nil
}

// nameChar admits what CreateSecret does, and the ! of secrets that other
// services of AWS manage.
func nameChar(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("/_+=.@!-", c)
}

func (ref *Ref) check() error {
	for name, field := range map[string]string{"Field": ref.Field, "StandbyField": ref.StandbyField} {
		if err := document.Check(field); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for name, v := range map[string]string{"VersionStage": ref.VersionStage, "StandbyStage": ref.StandbyStage, "VersionID": ref.VersionID} {
		if len(v) > 256 || strings.ContainsFunc(v, func(c rune) bool { return c <= ' ' || c > '~' }) {
			return fmt.Errorf("%s is malformed: AWS takes up to 256 characters without spaces", name)
		}
	}
	stage := ref.VersionStage
	if stage == "" {
		stage = "AWSCURRENT"
	}
	switch {
	case ref.VersionID != "" && ref.VersionStage != "":
		return errors.New("VersionID pins a version and VersionStage follows one: leave one of them out")
	case ref.StandbyField != "" && ref.Field == "":
		return errors.New("StandbyField needs Field: without it the whole secret is the key")
	case ref.StandbyField != "" && ref.StandbyField == ref.Field:
		return errors.New("StandbyField is Field: name the field of another key")
	case ref.VersionID == "" && ref.StandbyStage == stage:
		return fmt.Errorf("StandbyStage %q is the stage that is read anyway: name another one, for example AWSPENDING", stage)
	}
	return nil
}
