package awssecretsmanager

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/document"
)

// A Client is what a Source needs of a [*secretsmanager.Client]. It must be
// safe for concurrent use.
type Client interface {
	// GetSecretValue reads one version of a secret.
	GetSecretValue(ctx context.Context, in *secretsmanager.GetSecretValueInput, opts ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error)
}

// Options configures a [Source]. The zero value and nil are ready to use: the
// whole text of the current version is the key.
type Options struct {
	// Client reads the secret. Nil is a client of the Source's own, from the
	// SDK's default configuration. The log of requests and answers of a
	// *secretsmanager.Client is off for our reads: it shows secrets.
	Client Client
	// Field takes the key out of a secret that is a JSON document: the name of
	// a member, or a JSON pointer (RFC 6901) such as "/openai/apiKey". The empty
	// string is the whole secret.
	Field string
	// StandbyField is the field of a second key for the same service, in the
	// same version of the secret. When the service rejects the key of Field,
	// this one is next, out of the document that was just read. It needs Field.
	StandbyField string
	// StandbyStage is the stage of a version that holds a second key:
	// "AWSPENDING" for the next one of a rotation under way, "AWSPREVIOUS" for
	// the last one. When the service rejects what VersionStage has (and what
	// StandbyField has, if given), Field of this version is next, with a read of
	// its own.
	StandbyStage string
	// VersionStage is the stage to read; the empty string is "AWSCURRENT".
	VersionStage string
	// VersionID pins one version. When the service rejects its key, the error
	// says so, for there is nothing to read again. It excludes VersionStage.
	VersionID string
}

// A Source reads one secret. Under a [credential.Cache] it is read once per
// TTL and on a rejection. A Source is safe for concurrent use and immutable.
type Source struct {
	id, label  string
	field      string
	stage, pin string
	shared     *handOver // with the field standby; nil if there is none
	takesOver  bool      // it is the field standby
	read       func(ctx context.Context, stage, pin string) (version, error)
	standby    func() *Source
}

var (
	_ credential.Renewer = (*Source)(nil)
	_ Client             = (*secretsmanager.Client)(nil)
)

// New returns a Source of the secret with that name or ARN; an ARN also says
// which region to ask. It does no I/O. It fails if secretID cannot be one, or
// the options are malformed or contradict each other.
func New(secretID string, opts *Options) (*Source, error) {
	if opts == nil {
		opts = &Options{}
	}
	region, err := checkID(secretID)
	if err != nil {
		return nil, fmt.Errorf("awssecretsmanager: %w", err)
	}
	if err := opts.check(); err != nil {
		return nil, fmt.Errorf("awssecretsmanager: %w", err)
	}
	st := newStore(secretID, region, opts.Client)
	none := func() *Source { return nil }
	primary := Source{id: secretID, field: opts.Field, stage: opts.VersionStage, pin: opts.VersionID, read: st.read, standby: none}
	primary.label = label(secretID, "", opts.VersionStage)
	if opts.StandbyStage != "" {
		next := primary
		next.stage, next.pin = opts.StandbyStage, ""
		next.label = label(secretID, "", opts.StandbyStage)
		primary.standby = func() *Source { return &next }
	}
	if opts.StandbyField != "" {
		primary.shared = &handOver{}
		other := primary
		other.field, other.takesOver = opts.StandbyField, true
		other.label = label(secretID, opts.StandbyField, opts.VersionStage)
		primary.standby = func() *Source { return &other }
	}
	return &primary, nil
}

func label(id, field, stage string) string {
	s := "awssecretsmanager:" + id
	if stage != "" {
		s += "@" + stage
	}
	if field != "" {
		s += "#" + field
	}
	return s
}

// Retrieve reads the secret with one GetSecretValue. Version is AWS's
// VersionId.
//
// Its errors are [*credential.SourceError]s that wrap
//
//   - [credential.ErrUnavailable] if nothing here says which AWS account to
//     ask: no region and no credentials in the environment or a profile, and
//     no instance role;
//   - [credential.ErrNotFound] if there is no such secret, version, stage or
//     field, or the secret is marked for deletion;
//   - a smithy.APIError with AWS's code, and a text of our own, for what else
//     AWS refuses: access, decryption, credentials, throttling.
//
// Transient is set for throttling, AWS's own errors, broken connections, and
// credentials that have expired. A done ctx is its cause.
func (s *Source) Retrieve(ctx context.Context) (credential.Value, error) {
	if s == nil || s.read == nil {
		return credential.Value{}, &credential.SourceError{Source: "awssecretsmanager", Op: "read",
			Err: errors.New("the zero Source names no secret"), Hint: "make one with New"}
	}
	if ctx.Err() != nil {
		return credential.Value{}, context.Cause(ctx)
	}
	doc, err := s.version(ctx)
	if err != nil {
		return credential.Value{}, err
	}
	text, err := document.Field(doc.text(), s.field)
	if err != nil {
		return credential.Value{}, &credential.SourceError{Source: s.String(), Op: fmt.Sprintf("read version %q", doc.id), Err: err,
			Hint: "store the key as text under that field, or name the field that holds it"}
	}
	return credential.Value{Secret: credential.NewSecret(text), Version: doc.id, Source: s.String()}, nil
}

func (s *Source) version(ctx context.Context) (version, error) {
	if s.takesOver {
		if doc, err, ok := s.shared.take(); ok {
			return doc, err
		}
		return s.read(ctx, s.stage, s.pin)
	}
	if s.shared == nil {
		return s.read(ctx, s.stage, s.pin)
	}
	n := s.shared.begin()
	doc, err := s.read(ctx, s.stage, s.pin)
	s.shared.put(n, doc, err)
	return doc, err
}

// Renew reads the secret again. If VersionID pins a version, it fails without
// a read: the version cannot change.
func (s *Source) Renew(ctx context.Context, _ credential.Rejection) (credential.Value, error) {
	if s != nil && s.pin != "" {
		return credential.Value{}, &credential.SourceError{Source: s.String(), Op: "renew",
			Err:  fmt.Errorf("the key was rejected, and VersionID pins version %q", s.pin),
			Hint: "name the version that holds a valid key, or leave VersionID out to follow rotations"}
	}
	return s.Retrieve(ctx)
}

// Standby returns the Source of the second key, in StandbyField or at
// StandbyStage; nil if there is none. A [credential.Cache] finds it by itself.
func (s *Source) Standby() credential.Source {
	if s == nil || s.standby == nil {
		return nil
	}
	if next := s.standby(); next != nil {
		return next
	}
	return nil
}

// String names the secret.
func (s *Source) String() string {
	if s == nil || s.label == "" {
		return "awssecretsmanager"
	}
	return s.label
}

// checkID returns the region of an ARN.
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
		if !hostLabel(region) {
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

// hostLabel keeps a region from naming another host.
func hostLabel(s string) bool {
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

func (o *Options) check() error {
	for name, field := range map[string]string{"Field": o.Field, "StandbyField": o.StandbyField} {
		if err := document.Check(field); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for name, v := range map[string]string{"VersionStage": o.VersionStage, "StandbyStage": o.StandbyStage, "VersionID": o.VersionID} {
		if len(v) > 256 || strings.ContainsFunc(v, func(c rune) bool { return c <= ' ' || c > '~' }) {
			return fmt.Errorf("%s is malformed: AWS takes up to 256 characters without spaces", name)
		}
	}
	stage := o.VersionStage
	if stage == "" {
		stage = "AWSCURRENT"
	}
	client, real := o.Client.(*secretsmanager.Client)
	switch {
	case real && client == nil:
		return errors.New("Client is a nil *secretsmanager.Client: leave it out for one from the default configuration")
	case o.VersionID != "" && o.VersionStage != "":
		return errors.New("VersionID pins a version and VersionStage follows one: leave one of them out")
	case o.StandbyField != "" && o.Field == "":
		return errors.New("StandbyField needs Field: without it the whole secret is the key")
	case o.StandbyField != "" && o.StandbyField == o.Field:
		return errors.New("StandbyField is Field: name the field of another key")
	case o.VersionID == "" && o.StandbyStage == stage:
		return fmt.Errorf("StandbyStage %q is the stage that is read anyway: name another one, for example AWSPENDING", stage)
	}
	return nil
}
