// Package rotationdoc is a rotation's state as one JSON document, for stores that keep
// it in one place.
package rotationdoc

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/rotation"
)

type document struct {
	Current, Pending, Previous *version `json:",omitempty"`
}

type version struct {
	Token, KeyID, Secret                string `json:",omitempty"`
	Urgent                              bool   `json:",omitempty"`
	Prepared, Issued, Promoted, Expires time.Time
}

// Encode returns the document of a state. It holds the secrets.
func Encode(s rotation.State) ([]byte, error) {
	return json.Marshal(document{save(s.Current), save(s.Pending), save(s.Previous)}) //nolint:wrapcheck // it cannot fail
}

// Decode reads a document. The state has no Revision.
func Decode(text []byte) (rotation.State, error) {
	var d document
	if json.Unmarshal(text, &d) != nil {
		return rotation.State{}, errors.New("the state of the rotation is none that was written here") // without the text
	}
	return rotation.State{Current: d.Current.load(), Pending: d.Pending.load(), Previous: d.Previous.load()}, nil
}

// Promoted is the state after a promotion.
func Promoted(from rotation.State, now time.Time) (rotation.State, error) {
	if from.Pending == nil || from.Pending.Secret.IsZero() {
		return from, errors.New("there is no pending key to promote")
	}
	next := *from.Pending
	next.Promoted = now
	from.Current, from.Previous, from.Pending = &next, from.Current, nil
	return from, nil
}

func save(v *rotation.Version) *version {
	if v == nil {
		return nil
	}
	return &version{
		Token: v.Token, KeyID: v.KeyID, Secret: v.Secret.Reveal(), Urgent: v.Urgent,
		Prepared: v.Prepared, Issued: v.Issued, Promoted: v.Promoted, Expires: v.Expires,
	}
}

func (v *version) load() *rotation.Version {
	if v == nil {
		return nil
	}
	out := &rotation.Version{
		Token: v.Token, KeyID: v.KeyID, Urgent: v.Urgent,
		Prepared: v.Prepared, Issued: v.Issued, Promoted: v.Promoted, Expires: v.Expires,
	}
	if v.Secret != "" {
		out.Secret = credential.NewSecret(v.Secret)
	}
	return out
}
