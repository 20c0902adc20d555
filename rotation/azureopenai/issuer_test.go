package azureopenai_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/testing/azuretest"
	"github.com/latchkey-go/latchkey/rotation"
	"github.com/latchkey-go/latchkey/rotation/azureopenai"
	"github.com/latchkey-go/latchkey/rotation/file"
)

func newResource(t *testing.T) (*azuretest.Resource, *azureopenai.Options) {
	t.Helper()
	r := azuretest.NewResource("CANARY-arm")
	server := httptest.NewTLSServer(r)
	t.Cleanup(server.Close)
	return r, &azureopenai.Options{
		Subscription: "sub", ResourceGroup: "group", Account: "account", Endpoint: server.URL, Transport: server.Client().Transport,
		ClientOptions: azcore.ClientOptions{
			Transport: server.Client(),
			Cloud: cloud.Configuration{Services: map[cloud.ServiceName]cloud.ServiceConfiguration{
				cloud.ResourceManager: {Endpoint: server.URL, Audience: "https://management.azure.com"},
			}},
			Retry: policy.RetryOptions{MaxRetries: 2, RetryDelay: time.Millisecond, MaxRetryDelay: time.Millisecond},
		},
	}
}

type token struct{}

func (token) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "CANARY-arm", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

func issuer(t *testing.T, opts *azureopenai.Options) *azureopenai.Issuer {
	t.Helper()
	i, err := azureopenai.New(token{}, opts)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func current(secret string) *rotation.Version {
	return &rotation.Version{Secret: credential.NewSecret(secret)}
}

func TestTheKeyOfReadersIsNeverTouched(t *testing.T) {
	r, opts := newResource(t)
	i := issuer(t, opts)
	for slot, other := range map[string]string{"Key1": "Key2", "Key2": "Key1"} {
		k, err := i.Issue(t.Context(), rotation.Version{}, current(r.Key(slot)), time.Time{})
		if made := r.Made(); err != nil || k.ID != other || k.Secret.Reveal() != r.Key(other) || len(made) != 1 || made[0] != other {
			t.Errorf("current %s: made %v, %v", slot, made, err)
		}
	}
	_, err := i.Issue(t.Context(), rotation.Version{}, current("CANARY-of-another-resource"), time.Time{})
	if made := r.Made(); err == nil || len(made) != 0 {
		t.Errorf("a key that is none of the resource's: made %v, %v", made, err)
	}
}

// A lost answer is found out by reading the keys, and no key is made a second time.
func TestALostAnswerMakesNoSecondKey(t *testing.T) {
	r, opts := newResource(t)
	i := issuer(t, opts)
	r.Lose(true)
	k, err := i.Issue(t.Context(), rotation.Version{}, current(r.Key("Key1")), time.Time{})
	if made := r.Made(); err != nil || len(made) != 1 || k.Secret.Reveal() != r.Key("Key2") {
		t.Errorf("a lost answer: made %v, %v", made, err)
	}
	r.Lose(false)
	_, err = i.Issue(t.Context(), rotation.Version{}, current(r.Key("Key1")), time.Time{})
	if made := r.Made(); err == nil || len(made) != 0 {
		t.Errorf("a lost request: made %v, %v", made, err)
	}
}

// A whole rotation, in turn, through Resource Manager's own client: what was promoted
// works, and the key before it dies when the overlap is over, and not earlier.
func TestARotationInTurn(t *testing.T) {
	r, opts := newResource(t)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	store, err := file.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	rotator, err := rotation.New(issuer(t, opts), store, &rotation.Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	run := func() {
		t.Helper()
		if report, err := rotator.Run(t.Context()); err != nil || strings.Contains(fmt.Sprintf("%+v", report), "CANARY") {
			t.Fatal(err)
		}
	}
	works := r.Accepts
	read := func() string {
		t.Helper()
		key, err := os.ReadFile(store.Key())
		if err != nil || !works(string(key)) {
			t.Fatalf("the key of readers does not work: %v", err)
		}
		return string(key)
	}
	run()
	before := read()
	for turn := range 4 {
		now = now.Add(30 * 24 * time.Hour)
		run()
		after := read()
		if after == before || !works(before) {
			t.Fatalf("turn %d: the key before it is dead at once", turn)
		}
		now = now.Add(24 * time.Hour)
		run()
		if works(before) || read() != after {
			t.Fatalf("turn %d: the key before it lives on", turn)
		}
		before = after
	}
}

func TestErrorsSayWhatToDoAndShowNoKey(t *testing.T) {
	for name, test := range map[string]struct {
		status  int
		invalid string
		says    string
	}{
		"no rights":      {403, "", "regenerateKey/action"},
		"no resource":    {404, "", "no such"},
		"conflict":       {409, "", "409"},
		"no JSON":        {0, "%s", "no keys"},
		"an empty key":   {0, `{"key1":"%s","key2":""}`, "no keys"},
		"an array":       {0, `["%s"]`, "no keys"},
		"a broken quote": {0, `{"key1":"%s`, "no keys"},
	} {
		r, opts := newResource(t)
		r.Answer(test.status, test.invalid)
		_, err := issuer(t, opts).Issue(t.Context(), rotation.Version{}, nil, time.Time{})
		switch {
		case err == nil:
			t.Errorf("%s: no error", name)
		case strings.Contains(err.Error(), "CANARY"):
			t.Errorf("%s: the error shows a key", name)
		case !strings.Contains(err.Error(), test.says):
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An answer with the status 200 is no new key yet.
func TestAKeyThatWasNotMadeAnewIsNotIssued(t *testing.T) {
	r, opts := newResource(t)
	r.Answer(0, `{"key1":"%[1]s","key2":"%[1]s"}`)
	_, err := issuer(t, opts).Issue(t.Context(), rotation.Version{}, nil, time.Time{})
	if err == nil || !strings.Contains(err.Error(), "Key2 was not made anew") || strings.Contains(err.Error(), "CANARY") {
		t.Errorf("got %v", err)
	}
}

func TestNoKeyIsMadeBeforeTheKeysAreKnown(t *testing.T) {
	r, opts := newResource(t)
	i := issuer(t, opts)
	r.Answer(403, "")
	for name, readers := range map[string]*rotation.Version{"none yet": nil, "one": current(r.Key("Key1"))} {
		if _, err := i.Issue(t.Context(), rotation.Version{}, readers, time.Time{}); err == nil || !strings.Contains(err.Error(), "list the keys") {
			t.Errorf("readers have %s: %v", name, err)
		}
	}
	if _, err := i.Keys(t.Context()); err == nil {
		t.Error("Keys tells of keys that it has not seen")
	}
}

func TestAKeyIsProvedAndRevoked(t *testing.T) {
	r, opts := newResource(t)
	i := issuer(t, opts)
	old := credential.NewSecret(r.Key("Key2"))
	if err := i.Prove(t.Context(), old); err != nil {
		t.Error(err)
	}
	if err := i.Revoke(t.Context(), "Key2"); err != nil {
		t.Error(err)
	}
	if err := i.Prove(t.Context(), old); !errors.Is(err, rotation.ErrNotAccepted) {
		t.Errorf("a key that was made anew: %v", err)
	}
	if err := i.Revoke(t.Context(), "Key3"); err == nil || !strings.Contains(err.Error(), "Key1 and Key2") {
		t.Errorf("there is no third key: %v", err)
	}
	if keys, err := i.Keys(t.Context()); err != nil || len(keys) != 2 || keys[0].Name != "" {
		t.Errorf("%v, %v", keys, err)
	}
}

func TestOptionsThatLeadElsewhereAreRefused(t *testing.T) {
	_, good := newResource(t)
	for name, change := range map[string]func(*azureopenai.Options){
		"no account":      func(o *azureopenai.Options) { o.Account = "" },
		"a path":          func(o *azureopenai.Options) { o.Account = "a/../b" },
		"plain http":      func(o *azureopenai.Options) { o.Endpoint = "http://example.com" },
		"user in address": func(o *azureopenai.Options) { o.Endpoint = "https://a:b@example.com" },
	} {
		o := *good
		change(&o)
		if _, err := azureopenai.New(token{}, &o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := azureopenai.New(nil, good); err == nil {
		t.Error("no credential: accepted")
	}
}

func Example() {
	cred := token{} // azidentity.NewDefaultAzureCredential in earnest
	i, err := azureopenai.New(cred, &azureopenai.Options{Subscription: "00000000-0000-0000-0000-000000000000", ResourceGroup: "prod", Account: "my-openai"})
	if err != nil {
		fmt.Println(err)
		return
	}
	var _ rotation.Issuer = i
	fmt.Println("ready")
	// Output: ready
}
