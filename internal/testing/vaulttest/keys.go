package vaulttest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

// A keysBackend is an engine of dynamic secrets: keys/creds/NAME is another
// key at each read, which lives as long as its lease. keys/config/NAME sets
// the seconds of ttl and max_ttl.
type keysBackend struct {
	mu    sync.Mutex
	terms map[string][2]time.Duration
	made  int
	alive map[string]bool
}

func newKeysBackend() *keysBackend {
	return &keysBackend{terms: map[string][2]time.Duration{}, alive: map[string]bool{}}
}

func (k *keysBackend) factory(ctx context.Context, conf *logical.BackendConfig) (logical.Backend, error) {
	b := &framework.Backend{BackendType: logical.TypeLogical}
	b.Secrets = []*framework.Secret{{
		Type:   "key",
		Fields: map[string]*framework.FieldSchema{"key": {Type: framework.TypeString}},
		Renew:  k.renew,
		Revoke: k.revoke,
	}}
	name := map[string]*framework.FieldSchema{
		"name": {Type: framework.TypeString}, "ttl": {Type: framework.TypeDurationSecond}, "max_ttl": {Type: framework.TypeDurationSecond},
	}
	b.Paths = []*framework.Path{
		{
			Pattern: "creds/" + framework.GenericNameRegex("name"), Fields: name,
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.ReadOperation: &framework.PathOperation{Callback: func(_ context.Context, _ *logical.Request, d *framework.FieldData) (*logical.Response, error) {
					return k.read(b, d.Get("name").(string)), nil
				}},
			},
		},
		{
			Pattern: "config/" + framework.GenericNameRegex("name"), Fields: name,
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.UpdateOperation: &framework.PathOperation{Callback: func(_ context.Context, _ *logical.Request, d *framework.FieldData) (*logical.Response, error) {
					k.mu.Lock()
					defer k.mu.Unlock()
					k.terms[d.Get("name").(string)] = [2]time.Duration{
						time.Duration(d.Get("ttl").(int)) * time.Second, time.Duration(d.Get("max_ttl").(int)) * time.Second,
					}
					return nil, nil
				}},
			},
		},
	}
	return b, b.Setup(ctx, conf)
}

func (k *keysBackend) read(b *framework.Backend, name string) *logical.Response {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.made++
	key := fmt.Sprintf("sk-CANARY-lease-%d", k.made)
	k.alive[key] = true
	resp := b.Secret("key").Response(map[string]any{"key": key}, map[string]any{"key": key, "name": name})
	resp.Secret.TTL, resp.Secret.MaxTTL = k.terms[name][0], k.terms[name][1]
	resp.Secret.Renewable = true
	return resp
}

func (k *keysBackend) renew(_ context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	name, _ := req.Secret.InternalData["name"].(string)
	k.mu.Lock()
	defer k.mu.Unlock()
	resp := &logical.Response{Secret: req.Secret}
	resp.Secret.TTL, resp.Secret.MaxTTL = k.terms[name][0], k.terms[name][1]
	return resp, nil
}

func (k *keysBackend) revoke(_ context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	key, _ := req.Secret.InternalData["key"].(string)
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.alive, key)
	return nil, nil
}

// Alive reports whether a key of keys/ may still be used.
func (s *Server) Alive(key string) bool {
	s.keys.mu.Lock()
	defer s.keys.mu.Unlock()
	return s.keys.alive[key]
}

// Made is how many keys there were.
func (s *Server) Made() int {
	s.keys.mu.Lock()
	defer s.keys.mu.Unlock()
	return s.keys.made
}
