package azurekeyvault

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/rotation"
)

// The tags of the secret of readers. The first three are those of Microsoft's rotation
// functions (https://learn.microsoft.com/azure/key-vault/secrets/tutorial-rotation-dual).
const (
	credentialTag = "CredentialId" //nolint:gosec // the name of a tag
	providerTag   = "ProviderAddress"
	validityTag   = "ValidityPeriodDays"
	tokenTag      = "LatchkeyToken"
	// mostTag is how long the value of a tag may be.
	mostTag = 256
	// late is how long after the promotion a publication counts as one that was late.
	late = time.Minute
)

// found is the token of a version that somebody else has made.
const found = "found"

// A publication is the newest version of the secret of readers.
type publication struct {
	id, key, token, keyID string
	created               time.Time
}

// published returns what readers get; nil if there is no secret, or an empty one.
func (s *Store) published(ctx context.Context) (*publication, error) {
	secret, err := s.get(ctx, s.name, "")
	if errors.Is(err, errAbsent) {
		return nil, s.gone(ctx, s.name)
	}
	if err != nil || *secret.Value == "" {
		return nil, err
	}
	return publicationOf(secret), nil
}

func publicationOf(secret azsecrets.Secret) *publication {
	p := &publication{key: *secret.Value}
	if secret.ID != nil {
		p.id = secret.ID.Version()
	}
	if a := secret.Attributes; a != nil && a.Created != nil {
		p.created = *a.Created
	}
	if token := secret.Tags[tokenTag]; token != nil {
		p.token = *token
	}
	if id := secret.Tags[credentialTag]; id != nil {
		p.keyID = *id
	}
	return p
}

// agree returns the state, and makes readers have the current key of it.
func (s *Store) agree(ctx context.Context, e entry, seen *publication) (rotation.State, error) {
	state := e.state
	state.Revision = revision(e.id, e.taken)
	current := state.Current
	switch {
	case seen == nil && current == nil:
		return state, nil
	case seen != nil && (current == nil || seen.foreign(current) && seen.id != e.taken):
		return takenOver(e, seen), nil
	case seen == nil || seen.key != current.Secret.Reveal():
		var err error
		if seen, err = s.publish(ctx, current); err != nil {
			return rotation.State{}, err
		}
	}
	if !current.Promoted.IsZero() && seen.created.Sub(current.Promoted) > late {
		v := *current
		v.Promoted = seen.created
		state.Current = &v
	}
	return state, nil
}

// foreign reports whether somebody else has made the version. A version of a rotator
// has the token that belongs to its key.
func (p *publication) foreign(current *rotation.Version) bool {
	return p.key != current.Secret.Reveal() && (p.token == "" || p.token == current.Token)
}

// takenOver is the state with a current version that somebody else has made. What is
// known of its key stays known. The other versions are forgotten, but for one that
// another rotator is about to issue.
func takenOver(e entry, seen *publication) rotation.State {
	current := rotation.Version{Token: found, Secret: credential.NewSecret(seen.key)}
	if seen.token != "" && e.state.Current == nil { // ours, and the journal is lost
		current.Token, current.KeyID, current.Promoted = seen.token, seen.keyID, seen.created
	}
	for _, v := range []*rotation.Version{e.state.Previous, e.state.Pending} {
		if v != nil && v.Secret.Reveal() == seen.key {
			current = *v
			current.Promoted = seen.created
		}
	}
	state := rotation.State{Revision: revision(e.id, seen.id), Current: &current}
	if p := e.state.Pending; p != nil && p.Secret.IsZero() {
		state.Pending = p
	}
	return state
}

// publish makes a new version of the secret of readers.
func (s *Store) publish(ctx context.Context, v *rotation.Version) (*publication, error) {
	p := azsecrets.SetSecretParameters{
		Value: to.Ptr(v.Secret.Reveal()), Tags: map[string]*string{tokenTag: &v.Token},
		SecretAttributes: &azsecrets.SecretAttributes{Enabled: to.Ptr(true)},
	}
	if v.KeyID != "" && len(v.KeyID) <= mostTag {
		p.Tags[credentialTag] = &v.KeyID
	}
	if s.provider != "" {
		p.Tags[providerTag] = &s.provider
	}
	end := v.Expires
	if s.days > 0 {
		p.Tags[validityTag] = to.Ptr(strconv.Itoa(s.days))
		if by := v.Promoted.Add(time.Duration(s.days) * 24 * time.Hour); !v.Promoted.IsZero() && (end.IsZero() || by.Before(end)) {
			end = by
		}
	}
	if !end.IsZero() {
		p.SecretAttributes.Expires = &end
	}
	secret, err := s.set(ctx, s.name, p)
	if err != nil {
		return nil, err
	}
	return publicationOf(secret), nil
}
