package azurekeyvault_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/testing/azuretest"
	"github.com/latchkey-go/latchkey/internal/testing/rotationtest"
	"github.com/latchkey-go/latchkey/rotation"
	"github.com/latchkey-go/latchkey/rotation/azurekeyvault"
	"github.com/latchkey-go/latchkey/rotation/azureopenai"
)

// A pair is an Azure OpenAI resource with two keys, a vault and a reader with a Cache,
// in the time of the bubble.
type pair struct {
	t         *testing.T
	resource  *azuretest.Resource
	vault     *azuretest.Vault
	transport http.RoundTripper
	manager   http.RoundTripper
	store     *azurekeyvault.Store
	cache     *credential.Cache
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{t: t, resource: azuretest.NewResource(token)}
	p.vault, p.transport = azuretest.NewPipedVault(t, token)
	p.manager = azuretest.Pipe(t, p.resource)
	p.store = open(t, p.transport, nil)
	p.vault.Put(name, p.resource.Key("Key1"))
	cache, err := credential.NewCache(reader(t, p.transport), nil)
	if err != nil {
		t.Fatal(err)
	}
	p.cache = cache
	return p
}

// writesHere reports whether the request changes something.
func writesHere(r *http.Request) bool {
	return r.Method == http.MethodPut || strings.HasSuffix(r.URL.Path, "/regenerateKey")
}

// broken is a transport on which requests that change something meet the fault, or all
// of them.
type broken struct {
	*rotationtest.Fault
	to  http.RoundTripper
	all bool
}

func (b broken) RoundTrip(r *http.Request) (*http.Response, error) {
	if !b.all && !writesHere(r) && (b.At == 0 || b.Calls < b.At) {
		return b.to.RoundTrip(r)
	}
	return b.Transport(b.to).RoundTrip(r)
}

// run runs a rotator that meets the fault.
func (p *pair) run(f *rotationtest.Fault, all bool) (*rotation.Report, error) {
	p.t.Helper()
	manager := broken{f, p.manager, all}
	issuer, err := azureopenai.New(identity{}, &azureopenai.Options{
		Subscription: "sub", ResourceGroup: "group", Account: "account", Transport: manager,
		ClientOptions: azcore.ClientOptions{Transport: &http.Client{Transport: manager}, Retry: policy.RetryOptions{MaxRetries: -1}},
	})
	if err != nil {
		p.t.Fatal(err)
	}
	r, err := rotation.New(issuer, open(p.t, broken{f, p.transport, all}, nil), nil)
	if err != nil {
		p.t.Fatal(err)
	}
	report, err := r.Run(p.t.Context())
	if err != nil && strings.Contains(err.Error(), "CANARY") {
		p.t.Error("the error shows a key")
	}
	return report, err
}

func (p *pair) mustRun() {
	p.t.Helper()
	if _, err := p.run(&rotationtest.Fault{}, false); err != nil {
		p.t.Fatal(err)
	}
}

// call is a call of a program, and of one that reads no more than every five minutes
// and never sends twice.
func (p *pair) call(kept string) (key string) {
	p.t.Helper()
	v, err := p.cache.Retrieve(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	if !p.resource.Accepts(v.Secret.Reveal()) {
		if v, err = p.cache.Replace(p.t.Context(), credential.Rejection{Value: v, StatusCode: 401}); err != nil || !p.resource.Accepts(v.Secret.Reveal()) {
			p.t.Fatalf("a call has failed: %v", err)
		}
	}
	p.cache.Accept(v)
	if kept != "" && !p.resource.Accepts(kept) {
		p.t.Error("the key of a reader that has not read again is dead")
	}
	all := p.vault.Versions(name)
	return all[len(all)-1].Value
}

// crash lets the first two runs of a rotation, and of a retirement, die, in each of two
// rotations: one for each key.
func (p *pair) crash(first, second rotationtest.Fault, all bool) {
	p.t.Helper()
	p.mustRun()
	for range 2 {
		time.Sleep(31 * day)
		key := p.call("")
		for _, f := range []rotationtest.Fault{first, second} {
			_, _ = p.run(&f, all)
			p.call(key)
			time.Sleep(6 * time.Minute)
		}
		p.mustRun()
		next := p.call(key)
		if next == key {
			p.t.Fatal("the rotation has not taken place")
		}
		time.Sleep(day)
		for _, f := range []rotationtest.Fault{first, second} {
			_, _ = p.run(&f, all)
			p.call(next)
			time.Sleep(6 * time.Minute)
		}
		p.mustRun()
		p.call(next)
		if p.resource.Accepts(key) {
			p.t.Error("the old key lives on")
		}
	}
	if s, err := p.store.Load(p.t.Context()); err != nil || s.Pending != nil || s.Previous != nil || !p.resource.Accepts(s.Current.Secret.Reveal()) {
		p.t.Errorf("%v", err)
	}
	if p.t.Failed() {
		p.t.Fatalf("crashes at %d (%t) and %d (%t)", first.At, first.Answer, second.At, second.Answer)
	}
}

// Every ordered pair of crashes at what changes the vault or the resource, and each
// crash at any request, with the two keys of a resource: no call fails.
func TestTheTwoKeysOfAResourceSurviveEveryPairOfCrashes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		count := func(all bool) int {
			p, f := newPair(t), &rotationtest.Fault{}
			if _, err := p.run(f, all); err != nil {
				t.Fatal(err)
			}
			return f.Calls
		}
		writes, calls := count(false), count(true)
		if writes < 5 || calls < 20 {
			t.Fatalf("%d of %d requests change something", writes, calls)
		}
		at := func(n int) rotationtest.Fault { return rotationtest.Fault{At: (n + 1) / 2, Answer: n%2 == 0} }
		for first := range 2*writes + 1 {
			for second := range rotationtest.Second(first, 2*writes+1) {
				newPair(t).crash(at(first), at(second), false)
			}
		}
		for n := range 2*calls + 1 {
			newPair(t).crash(at(n), at(0), true)
		}
	})
}
