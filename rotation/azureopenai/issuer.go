// Package azureopenai makes the two keys of an Azure OpenAI resource anew, in turn, with
// Azure Resource Manager.
//
// The key that readers use is never touched: the other one is regenerated, proved and
// promoted, and the old one is regenerated when the overlap is over, which ends
// it. A resource whose keys are switched off (disableLocalAuth) needs no
// rotation: package credential/azureidentity is for it.
//
// The identity needs the actions Microsoft.CognitiveServices/accounts/listKeys/action
// and Microsoft.CognitiveServices/accounts/regenerateKey/action on the resource
// (https://learn.microsoft.com/rest/api/aiservices/accountmanagement/accounts/regenerate-key).
package azureopenai

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	armruntime "github.com/Azure/azure-sdk-for-go/sdk/azcore/arm/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/keyproof"
	"github.com/latchkey-go/latchkey/rotation"
)

const (
	apiVersion = "2025-06-01"
	key1       = "Key1"
	key2       = "Key2"
)

// Options name the resource. Subscription, ResourceGroup and Account are required.
type Options struct {
	// Subscription is the id of the subscription, Account the name of the resource.
	Subscription, ResourceGroup, Account string
	// Endpoint is where keys are proved; empty is https://ACCOUNT.openai.azure.com.
	Endpoint string
	// ClientOptions are for the requests to Resource Manager, a cloud for example.
	ClientOptions azcore.ClientOptions
	// Transport carries the requests that prove a key; nil is http.DefaultTransport.
	Transport http.RoundTripper
}

// An Issuer makes the keys of one resource. It is a [rotation.Issuer], and safe for
// concurrent use.
type Issuer struct {
	account  string // the address of the resource at Resource Manager
	endpoint string
	pipeline runtime.Pipeline
	prove    func(*http.Request) (*http.Response, error) // a func, as package hidden tells
}

var _ rotation.Issuer = (*Issuer)(nil)

// New returns an Issuer that asks Resource Manager with cred. It fails if an option is
// missing or is no name.
func New(cred azcore.TokenCredential, opts *Options) (*Issuer, error) {
	if cred == nil {
		return nil, errors.New("azureopenai: no credential; give one of azidentity")
	}
	if opts == nil {
		opts = &Options{}
	}
	for name, value := range map[string]string{"Subscription": opts.Subscription, "ResourceGroup": opts.ResourceGroup, "Account": opts.Account} {
		if value == "" || strings.ContainsAny(value, "/?#% ") {
			return nil, fmt.Errorf("azureopenai: %s is empty or no name", name)
		}
	}
	endpoint := strings.TrimSuffix(opts.Endpoint, "/")
	if endpoint == "" {
		endpoint = "https://" + opts.Account + ".openai.azure.com"
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && !loopback(u) {
		return nil, errors.New("azureopenai: Endpoint has to be https://NAME.openai.azure.com or another https address")
	}
	manager := opts.ClientOptions.Cloud.Services[cloud.ResourceManager].Endpoint
	if manager == "" {
		manager = cloud.AzurePublic.Services[cloud.ResourceManager].Endpoint
	}
	pipeline, err := armruntime.NewPipeline("latchkey/rotation", "v0", cred, runtime.PipelineOptions{}, &arm.ClientOptions{
		ClientOptions: opts.ClientOptions, DisableRPRegistration: true,
	})
	if err != nil {
		return nil, fmt.Errorf("azureopenai: %w", err)
	}
	i := &Issuer{endpoint: endpoint, pipeline: pipeline, prove: http.DefaultTransport.RoundTrip}
	if opts.Transport != nil {
		i.prove = opts.Transport.RoundTrip
	}
	i.account = strings.TrimSuffix(manager, "/") + "/subscriptions/" + opts.Subscription + "/resourceGroups/" + opts.ResourceGroup +
		"/providers/Microsoft.CognitiveServices/accounts/" + opts.Account
	return i, nil
}

func loopback(u *url.URL) bool {
	return u.Scheme == "http" && (u.Hostname() == "127.0.0.1" || u.Hostname() == "::1" || u.Hostname() == "localhost")
}

var errForbidden = errors.New("the service answers 403: its network does not let this machine in, or keys are switched off")

// slots are the two keys of a resource.
type slots struct {
	Key1 string `json:"key1"`
	Key2 string `json:"key2"`
}

func (s *slots) key(name string) string {
	if name == key1 {
		return s.Key1
	}
	return s.Key2
}

// Issue makes the key anew that is not current. If the answer is lost, the keys are
// read: a key that has changed is the new one, and none is made a second time.
func (i *Issuer) Issue(ctx context.Context, _ rotation.Version, current *rotation.Version, _ time.Time) (rotation.Key, error) {
	before, err := i.call(ctx, "listKeys", nil)
	if err != nil {
		return rotation.Key{}, fmt.Errorf("azureopenai: list the keys: %w", err)
	}
	name, err := other(before, current)
	if err != nil {
		return rotation.Key{}, err
	}
	after, err := i.call(ctx, "regenerateKey", map[string]string{"keyName": name})
	if err != nil {
		again, listErr := i.call(ctx, "listKeys", nil)
		if listErr != nil || again.key(name) == before.key(name) {
			return rotation.Key{}, fmt.Errorf("azureopenai: regenerate %s: %w", name, errors.Join(err, listErr))
		}
		after = again
	}
	if after.key(name) == "" || after.key(name) == before.key(name) {
		return rotation.Key{}, fmt.Errorf("azureopenai: %s was not made anew; are the keys switched off (disableLocalAuth)?", name)
	}
	return rotation.Key{ID: name, Secret: credential.NewSecret(after.key(name))}, nil
}

// other returns the name of the key that readers do not use.
func other(s *slots, current *rotation.Version) (string, error) {
	if current == nil {
		return key2, nil
	}
	switch secret := current.Secret.Reveal(); {
	case equal(secret, s.Key1):
		return key2, nil
	case equal(secret, s.Key2):
		return key1, nil
	}
	return "", errors.New("azureopenai: the current key in the store is none of the resource's: somebody has regenerated it, or the store is for another resource; put one of the two keys into the store")
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// Keys lists the two keys, by their names. A resource tells neither age nor use of a
// key.
func (i *Issuer) Keys(ctx context.Context) ([]rotation.Key, error) {
	if _, err := i.call(ctx, "listKeys", nil); err != nil {
		return nil, fmt.Errorf("azureopenai: list the keys: %w", err)
	}
	return []rotation.Key{{ID: key1}, {ID: key2}}, nil
}

// Revoke makes the key of that name anew, which ends the old one.
func (i *Issuer) Revoke(ctx context.Context, id string) error {
	if id != key1 && id != key2 {
		return errors.New("azureopenai: the keys are Key1 and Key2")
	}
	if _, err := i.call(ctx, "regenerateKey", map[string]string{"keyName": id}); err != nil {
		return fmt.Errorf("azureopenai: regenerate %s: %w", id, err)
	}
	return nil
}

// Prove asks for the list of models with the key, which costs nothing.
func (i *Issuer) Prove(ctx context.Context, secret credential.Secret) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, i.endpoint+"/openai/v1/models", nil)
	if err == nil {
		req.Header.Set("api-key", secret.Reveal())
		err = keyproof.Ask(i.prove, req, secret, errForbidden)
	}
	if err != nil {
		return fmt.Errorf("azureopenai: prove: %w", err)
	}
	return nil
}

// call makes a POST to the resource, and returns the keys in its answer. No error
// holds the answer: it may be keys.
func (i *Issuer) call(ctx context.Context, action string, body any) (*slots, error) {
	req, err := runtime.NewRequest(ctx, http.MethodPost, i.account+"/"+action)
	if err != nil {
		return nil, err //nolint:wrapcheck // the callers say what failed
	}
	q := req.Raw().URL.Query()
	q.Set("api-version", apiVersion)
	req.Raw().URL.RawQuery = q.Encode()
	req.Raw().Header.Set("Accept", "application/json")
	if body != nil {
		if err := runtime.MarshalAsJSON(req, body); err != nil {
			return nil, err //nolint:wrapcheck // as above
		}
		ctx := policyWithoutRetries(req.Raw().Context())
		req = req.Clone(ctx)
	}
	resp, err := i.pipeline.Do(req)
	if err != nil {
		return nil, err //nolint:wrapcheck // as above
	}
	defer resp.Body.Close() //nolint:errcheck // it is read
	if !runtime.HasStatusCode(resp, http.StatusOK) {
		return nil, refused(resp)
	}
	var s slots
	if err := runtime.UnmarshalAsJSON(resp, &s); err != nil || s.Key1 == "" || s.Key2 == "" {
		return nil, errors.New("the answer holds no keys")
	}
	return &s, nil
}
