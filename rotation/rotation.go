package rotation

import (
	"context"
	"errors"
	"time"

	"github.com/latchkey-go/latchkey/credential"
)

var (
	// ErrConflict says that the store has changed since it was read: another rotator
	// is at work. Nothing was changed. Run again later.
	ErrConflict = errors.New("rotation: the store has changed in between: another rotator is at work")
	// ErrNotAccepted says that the service does not accept a key. A new one may take a
	// minute.
	ErrNotAccepted = errors.New("rotation: the service does not accept the key")
)

// A Key is a key at the issuer.
type Key struct {
	// ID is the issuer's name for the key. Name is the one that it was given; it is empty
	// for a key that has a place of its own in the account, such as "Key1", and is made
	// anew there.
	ID, Name string
	// Secret is the key itself. Most issuers show it once, in the answer to Issue.
	Secret credential.Secret
	// Created, Expires and LastUsed are zero if the issuer does not tell.
	Created, Expires, LastUsed time.Time
}

// An Issuer makes and revokes keys for one account. It must be safe for concurrent
// use, and return when ctx is done.
type Issuer interface {
	// Issue makes a key for pending, with its Token as the name, that ends at expires
	// if the issuer can do that. current is in use and must go on working; it is nil
	// if there is none. If Issue fails, a key may have been made all the same; another
	// one is then made later, with another name.
	Issue(ctx context.Context, pending Version, current *Version, expires time.Time) (Key, error)
	// Prove returns nil if the service accepts the key, and ErrNotAccepted if it does
	// not.
	Prove(ctx context.Context, secret credential.Secret) error
	// Keys lists the keys of the account, those of others included.
	Keys(ctx context.Context) ([]Key, error)
	// Revoke ends a key. One that is not there is no error.
	Revoke(ctx context.Context, id string) error
}

// A Version is a key in the store, and what is known of it.
type Version struct {
	// Token is the name of the version, which the rotator gives.
	Token string
	// KeyID is the issuer's name for the key; empty before it was issued.
	KeyID string
	// Secret is the key; zero before it was issued.
	Secret credential.Secret
	// Urgent says that the key before it has leaked, and is revoked as soon as readers
	// have had the time to read again.
	Urgent bool
	// Prepared, Issued and Promoted are when the rotator began, when the key was made,
	// and when it became current. Expires is when it ends by itself; zero if it does
	// not.
	Prepared, Issued, Promoted, Expires time.Time
}

// A State is what a store holds.
type State struct {
	// Revision names the state for a compare-and-set.
	Revision string
	// Current is what readers use, Pending what comes next, and Previous what was
	// current before and may still be in use. Nil is none.
	Current, Pending, Previous *Version
}

// A Store keeps the versions of one secret, and is where readers find it. Each
// change is made only if the store is still in the state from, and is otherwise
// ErrConflict. A change that is made again has the same effect once. It must be safe
// for concurrent use, and return when ctx is done.
type Store interface {
	// Load returns the state. A store without a secret has the zero State.
	Load(ctx context.Context) (State, error)
	// Stage writes pending in the place of from.Pending.
	Stage(ctx context.Context, from State, pending Version) error
	// Promote makes from.Pending the current version, as of now, and from.Current the
	// previous one.
	Promote(ctx context.Context, from State, now time.Time) error
	// Retire forgets from.Previous.
	Retire(ctx context.Context, from State) error
	// Abandon forgets from.Pending.
	Abandon(ctx context.Context, from State) error
}
