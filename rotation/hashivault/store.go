// Package hashivault keeps a rotation in one secret of a KV version 2 engine of HashiCorp Vault.
//
// Readers use package credential/hashivault with the Field "key", and the
// StandbyField "pending", which is the next key once it is issued. What else there is
// in the secret stays as it is. Each change is a write with check-and-set
// (https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2#create-update-secret).
//
// The token needs create, read and update on the secret's data. Set max_versions of
// the secret to a low number: its old versions hold old keys.
package hashivault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/latchkey-go/latchkey/internal/hidden"
	"github.com/latchkey-go/latchkey/internal/rotationdoc"
	"github.com/latchkey-go/latchkey/rotation"
)

// The fields of the secret.
const (
	keyField     = "key"
	pendingField = "pending"
	stateField   = "rotation"
)

// A Store is one secret. It is a [rotation.Store], and safe for concurrent use.
type Store struct {
	kv   hidden.Value[*api.KVv2] // it holds the token
	path string
}

var _ rotation.Store = (*Store)(nil)

// New returns the Store at path of the KV engine at mount. client has the address and
// a token; it is used as it is. New fails if one of the three is missing.
func New(client *api.Client, mount, path string) (*Store, error) {
	mount, path = strings.Trim(mount, "/"), strings.Trim(path, "/")
	if client == nil || mount == "" || path == "" {
		return nil, errors.New("rotation/hashivault: the client, the mount and the path are required")
	}
	kv := client.KVv2(mount)
	return &Store{kv: hidden.Of(kv), path: path}, nil
}

// Load reads the secret. One that has a key and no rotation yet has that as its current
// version, which is due.
func (s *Store) Load(ctx context.Context) (rotation.State, error) {
	state, _, err := s.read(ctx)
	return state, err
}

// read returns the state, and the fields of the secret.
func (s *Store) read(ctx context.Context) (rotation.State, map[string]any, error) {
	secret, err := s.kv().Get(ctx, s.path)
	if errors.Is(err, api.ErrSecretNotFound) {
		return rotation.State{Revision: "0"}, map[string]any{}, nil
	}
	if err != nil {
		return rotation.State{}, nil, fmt.Errorf("rotation/hashivault: read %s: %w", s.path, err)
	}
	state, fields := rotation.State{}, secret.Data
	if fields == nil { // deleted
		fields = map[string]any{}
	}
	switch text := fields[stateField].(type) {
	case string:
		if state, err = rotationdoc.Decode([]byte(text)); err != nil {
			return rotation.State{}, nil, fmt.Errorf("rotation/hashivault: %s: %w", s.path, err)
		}
	case nil:
		if key, ok := fields[keyField].(string); ok && key != "" {
			if state, err = found(key); err != nil {
				return rotation.State{}, nil, err
			}
		}
	default:
		return rotation.State{}, nil, fmt.Errorf("rotation/hashivault: %s: the field %s is no text", s.path, stateField)
	}
	if secret.VersionMetadata != nil {
		state.Revision = strconv.Itoa(secret.VersionMetadata.Version)
	}
	return state, fields, nil
}

// found is the state of a secret with a key that somebody has put there.
func found(key string) (rotation.State, error) {
	text, err := json.Marshal(map[string]any{"Current": map[string]string{"Token": "found", "Secret": key}})
	if err != nil {
		return rotation.State{}, fmt.Errorf("rotation/hashivault: %w", err)
	}
	return rotationdoc.Decode(text)
}

// Stage writes pending.
func (s *Store) Stage(ctx context.Context, from rotation.State, pending rotation.Version) error {
	from.Pending = &pending
	return s.save(ctx, from)
}

// Promote makes the pending version current.
func (s *Store) Promote(ctx context.Context, from rotation.State, now time.Time) error {
	next, err := rotationdoc.Promoted(from, now)
	if err != nil {
		return fmt.Errorf("rotation/hashivault: %w", err)
	}
	return s.save(ctx, next)
}

// Retire forgets the previous version.
func (s *Store) Retire(ctx context.Context, from rotation.State) error {
	from.Previous = nil
	return s.save(ctx, from)
}

// Abandon forgets the pending version.
func (s *Store) Abandon(ctx context.Context, from rotation.State) error {
	from.Pending = nil
	return s.save(ctx, from)
}

// save writes the state that follows the version that Revision names.
func (s *Store) save(ctx context.Context, state rotation.State) error {
	version, err := strconv.Atoi(state.Revision)
	if err != nil {
		return errors.New("rotation/hashivault: a Revision that is not of this store")
	}
	now, fields, err := s.read(ctx)
	if err != nil {
		return err
	}
	if now.Revision != state.Revision {
		return rotation.ErrConflict
	}
	text, err := rotationdoc.Encode(state)
	if err != nil {
		return fmt.Errorf("rotation/hashivault: %w", err)
	}
	fields[stateField] = string(text)
	set(fields, keyField, state.Current)
	set(fields, pendingField, state.Pending)
	_, err = s.kv().Put(ctx, s.path, fields, api.WithCheckAndSet(version))
	if refused := (*api.ResponseError)(nil); errors.As(err, &refused) && refused.StatusCode == http.StatusBadRequest && strings.Contains(fmt.Sprint(refused.Errors), "check-and-set") {
		return rotation.ErrConflict
	}
	if err != nil {
		return fmt.Errorf("rotation/hashivault: write %s: %w", s.path, err)
	}
	return nil
}

// set puts the key of a version into a field.
func set(fields map[string]any, name string, v *rotation.Version) {
	if v == nil || v.Secret.IsZero() {
		delete(fields, name)
		return
	}
	fields[name] = v.Secret.Reveal()
}
