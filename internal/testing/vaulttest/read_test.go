package vaulttest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/hashivault"
	"github.com/latchkey-go/latchkey/internal/testing/vaulttest"
)

func asResponse(err error, into **api.ResponseError) bool { return errors.As(err, into) }

func TestTheLeastPrivilegeThatTheDocumentNamesIsEnough(t *testing.T) {
	s := start(t)
	s.Write("kv1/openai", map[string]any{"key": "sk-CANARY-v1", "ttl": "90s"})
	s.Policy("kv1-read", `path "kv1/openai" { capabilities = ["read"] }`)
	s.Policy("keys-read", `path "keys/creds/app" { capabilities = ["read"] }`)
	for _, c := range []struct{ path, policy, version string }{
		{"secret/openai", "openai-read", "1"},
		{"kv1/openai", "kv1-read", ""},
		{"keys/creds/app", "keys-read", "keys/creds/app/"},
	} {
		for _, byDefault := range []bool{true, false} {
			client := tokenFor(t, s, &api.TokenCreateRequest{Policies: []string{c.policy}, NoDefaultPolicy: !byDefault})
			src := source(t, s, c.path, &hashivault.Options{Client: client, Field: "key"})
			v, err := src.Retrieve(context.Background())
			if err != nil || !strings.HasPrefix(v.Version, c.version) || v.Secret.IsZero() {
				t.Errorf("%s, default policy %v: version %q, %v", c.path, byDefault, v.Version, err)
			}
		}
	}
}

func TestWhatTheServerSaysBecomesWhatToDo(t *testing.T) {
	s := start(t)
	client := s.Client("")
	kv := client.KVv2("secret")
	ctx := context.Background()
	s.Put("gone", map[string]any{"key": key(0)})
	s.Put("razed", map[string]any{"key": key(0)})
	if err := kv.Delete(ctx, "gone"); err != nil {
		t.Fatalf("delete: %v", err)
	}
	if err := kv.Destroy(ctx, "razed", []int{1}); err != nil {
		t.Fatalf("destroy: %v", err)
	}
	for _, c := range []struct {
		path     string
		notFound bool
		says     string
	}{
		{"secret/gone", true, "version 1 was deleted at 20"},
		{"secret/razed", true, "version 1 was destroyed"},
		{"secret/none", true, "there is no such secret"},
		{"secret/data/openai", true, `leave "data/" out`},
		{"kv1/none", true, "there is no such secret"},
		{"secret", false, "a mount, not a secret"},
		{"nowhere/openai", false, "below the mount"},
	} {
		err := refuses(t, source(t, s, c.path, &hashivault.Options{Client: client}), c.says)
		if errors.Is(err, credential.ErrNotFound) != c.notFound {
			t.Errorf("%v: ErrNotFound is %v", err, !c.notFound)
		}
	}
	wants(t, source(t, s, "secret/openai", &hashivault.Options{Client: client, Version: "1"}), key(0))
	refuses(t, source(t, s, "secret/openai", &hashivault.Options{Client: client, Version: "9"}), "not found")
	reader := tokenFor(t, s, &api.TokenCreateRequest{Policies: []string{"openai-read"}})
	refuses(t, source(t, s, "secret/gone", &hashivault.Options{Client: reader}), `lacks "read" on "secret/data/gone"`, `path "secret/data/gone" { capabilities = ["read"] }`)
	refuses(t, source(t, s, "kv1/x", &hashivault.Options{Client: reader}), "below the mount")
	s.Seal()
	err := refuses(t, source(t, s, "secret/openai", &hashivault.Options{Client: reader, KVVersion: 2}), "Vault is sealed")
	var se *credential.SourceError
	if !errors.As(err, &se) || !se.Transient {
		t.Errorf("%v: not transient", err)
	}
}

func TestADeadTokenIsToldFromAForbiddenPath(t *testing.T) {
	s := start(t)
	client := tokenFor(t, s, &api.TokenCreateRequest{Policies: []string{"openai-read"}})
	src := source(t, s, "secret/openai", &hashivault.Options{Client: client})
	wants(t, src, key(0))
	if err := s.Client("").Auth().Token().RevokeTree(client.Token()); err != nil {
		t.Fatalf("revoke: %v", err)
	}
	refuses(t, src, "it has expired, was revoked")
	other := source(t, s, "secret/openai", &hashivault.Options{Client: s.Client("hvs.CANARY-never-was")})
	refuses(t, other, "it has expired, was revoked")
}

// everything that a source can print, with the token of the login and the
// secret in its memory.
func TestNeitherTokenNorSecretOfTheServerIsEverPrinted(t *testing.T) {
	s := start(t)
	auth := role(t, s, nil)
	client := s.Client("")
	src := source(t, s, "secret/openai", &hashivault.Options{Client: client, Auth: auth})
	v := wants(t, src, key(0))
	secrets := []string{client.Token(), auth.SecretID.Reveal(), "CANARY", "hvs.", "hvb."}
	check := func(x any) {
		t.Helper()
		for _, verb := range []string{"%v", "%+v", "%#v", "%q"} {
			text := fmt.Sprintf(verb, x)
			for _, secret := range secrets {
				if strings.Contains(text, secret) {
					t.Errorf("%s of a %T shows a secret", verb, x)
				}
			}
		}
	}
	type holder struct{ x any }
	for _, x := range []any{src, *src, v, auth, holder{src}, &holder{auth}, src.Standby()} {
		check(x)
	}
	for _, break_ := range []func(){
		func() { revokeTokens(t, s); s.Policy("openai-read", `path "x" {}`) },
		func() { s.Write("auth/approle/role/app", map[string]any{"token_bound_cidrs": "10.0.0.1/32"}) },
		s.Seal,
		s.Stop,
	} {
		break_()
		_, err := src.Retrieve(context.Background())
		if err == nil {
			t.Error("Retrieve gave a value")
		}
		for ; err != nil; err = errors.Unwrap(err) {
			check(err)
		}
	}
}

// Dynamic secrets

func dynamic(t *testing.T, ttl, maxTTL string, opts *hashivault.Options) (*vaulttest.Server, *hashivault.Source) {
	t.Helper()
	s := start(t)
	s.Write("keys/config/app", map[string]any{"ttl": ttl, "max_ttl": maxTTL})
	s.Policy("openai-read", `path "keys/creds/app" { capabilities = ["read"] }`)
	opts.Auth = role(t, s, nil)
	return s, source(t, s, "keys/creds/app", opts)
}

func TestALeaseIsRenewedAndReplacedAtItsMaximumUnderLoad(t *testing.T) {
	s, src := dynamic(t, "2s", "5s", &hashivault.Options{})
	l := newLoad(t, 20, func() error {
		v, err := src.Retrieve(context.Background())
		if err == nil && !s.Alive(v.Secret.Reveal()) {
			err = errors.New("the credential is revoked")
		}
		return err
	})
	l.until(t, "the lease is renewed", func() bool { return s.Count("sys/leases/renew") > 0 })
	if n := s.Made(); n != 1 {
		t.Errorf("%d credentials were made for 20 callers before the maximum", n)
	}
	l.until(t, "the lease reaches its maximum", func() bool { return s.Made() > 1 })
	l.more(t, 200)
	l.nobodyFailed(t)
	if n := s.Made(); n != 2 {
		t.Errorf("%d credentials were made, want 2", n)
	}
}

func TestARejectedCredentialIsReplacedByAnotherLease(t *testing.T) {
	s, src := dynamic(t, "1h", "2h", &hashivault.Options{})
	cache, err := credential.NewCache(src, nil)
	if err != nil {
		t.Fatal(err)
	}
	v, err := cache.Retrieve(context.Background())
	if err != nil {
		t.Fatalf("Retrieve: %v", err)
	}
	cache.Accept(v)
	if err := s.Client("").Sys().RevokePrefix("keys/creds"); err != nil {
		t.Fatalf("revoke: %v", err)
	}
	until(t, "the lease is revoked", func() bool { return !s.Alive(v.Secret.Reveal()) })
	next, err := cache.Replace(context.Background(), credential.Rejection{Value: v, StatusCode: 401})
	if err != nil || !s.Alive(next.Secret.Reveal()) {
		t.Errorf("Replace gave a dead credential, or failed: %v", err)
	}
}

func TestCloseRevokesTheLeaseWithTheToken(t *testing.T) {
	s, src := dynamic(t, "1h", "2h", &hashivault.Options{RevokeOnClose: true})
	v, err := src.Retrieve(context.Background())
	if err != nil {
		t.Fatalf("Retrieve: %v", err)
	}
	if err := src.Close(context.Background()); err != nil {
		t.Fatalf("Close: %v", err)
	}
	until(t, "the credential is revoked", func() bool { return !s.Alive(v.Secret.Reveal()) })
}

// The metadata comes with the secret, at no extra read and with no other right.
func TestTheServersCustomMetadataSaysWhenTheKeyEnds(t *testing.T) {
	s := start(t)
	end := time.Now().Add(48 * time.Hour).UTC().Truncate(time.Second)
	if err := s.Client("").KVv2("secret").PutMetadata(context.Background(), "openai", api.KVMetadataPutInput{
		CustomMetadata: map[string]any{"key-expires": end.Format(time.RFC3339)}}); err != nil {
		t.Fatalf("metadata: %v", err)
	}
	client := tokenFor(t, s, &api.TokenCreateRequest{Policies: []string{"openai-read"}})
	v, err := source(t, s, "secret/openai", &hashivault.Options{Client: client, Field: "key", ExpiryTag: "key-expires"}).Retrieve(context.Background())
	if err != nil || !v.Expires.Equal(end) {
		t.Errorf("expires %v, %v; want %v", v.Expires, err, end)
	}
}
