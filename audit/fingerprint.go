package audit

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/hidden"
)

const (
	fingerprintSize  = 16 // bytes
	mostFingerprints = 1000
)

// Fingerprint names a secret without giving it away: the first 16 bytes of its
// HMAC-SHA256 (RFC 2104) with key, in hex. Whoever has the key and a secret can
// find the lines about that secret. The key should have 32 random bytes; whoever knows
// it can try out secrets that are easy to guess.
func Fingerprint(key []byte, secret credential.Secret) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(secret.Reveal()))
	return hex.EncodeToString(mac.Sum(nil)[:fingerprintSize])
}

// fingerprints remembers those of the credentials that were read last.
type fingerprints struct {
	key   hidden.Value[[]byte] // nil for none
	mu    sync.Mutex
	known map[identity]string
	order []identity
}

// An identity is what lines call a credential.
type identity struct{ tenant, source, version string }

func (f *fingerprints) add(tenant, name string, v credential.Value) {
	if f.key == nil {
		return
	}
	if v.Source != "" {
		name = v.Source
	}
	k, text := identity{tenant, name, v.Version}, Fingerprint(f.key(), v.Secret)
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.known[k]; !ok {
		if len(f.order) == mostFingerprints {
			delete(f.known, f.order[0])
			f.order = f.order[1:]
		}
		f.order = append(f.order, k)
	}
	f.known[k] = text
}

func (f *fingerprints) of(tenant, source, version string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.known[identity{tenant, source, version}]
}

// Source decorates src, so that lines about what it supplies have its
// fingerprint. Give it to the Cache or the client in the place of src. tenant is
// whose credential it is, for a source that [credential.Tenants] opens; otherwise
// it is empty. Without Options.FingerprintKey the source only passes on what src
// supplies.
func (l *Log) Source(tenant string, src credential.Source) credential.Source {
	return &printed{src: src, tenant: tenant, prints: hidden.Of(&l.prints)}
}

type printed struct {
	src    credential.Source
	tenant string
	prints hidden.Value[*fingerprints]
}

// Retrieve reads the source.
func (p *printed) Retrieve(ctx context.Context) (credential.Value, error) {
	v, err := p.src.Retrieve(ctx)
	if err == nil {
		p.prints().add(p.tenant, p.String(), v)
	}
	return v, err //nolint:wrapcheck // a decorator adds nothing
}

// Unwrap returns the source, for what it can do beside Retrieve.
func (p *printed) Unwrap() credential.Source { return p.src }

// String is the name of the source.
func (p *printed) String() string {
	if s, ok := p.src.(fmt.Stringer); ok {
		return s.String()
	}
	return fmt.Sprintf("%T", p.src)
}
