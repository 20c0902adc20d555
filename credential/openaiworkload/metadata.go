package openaiworkload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/leaf"
	"github.com/latchkey-go/latchkey/internal/metadata"
	"github.com/latchkey-go/latchkey/internal/platform"
)

const (
	// https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token
	imdsURL     = "http://169.254.169.254/metadata/identity/oauth2/token"
	imdsVersion = "2018-02-01"
	// https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
	appServiceVersion = "2019-08-01"
	// https://cloud.google.com/compute/docs/instances/verifying-instance-identity
	gcpURL = "http://169.254.169.254/computeMetadata/v1/instance/service-accounts/default/identity"

	metadataOp = "get the subject token"
)

// A service is what knows the subject token on a platform.
type service struct {
	build func(context.Context, *Options) (*http.Request, error)
	parse func(answer) (credential.Secret, error)
	// cloud has it on its virtual machines; Unknown is the endpoint that the
	// environment names.
	cloud platform.Cloud
}

func newService(from string) service {
	switch from {
	case "azure-imds":
		return service{imdsRequest, azureToken, platform.Azure}
	case "gcp":
		return service{gcpRequest, gcpToken, platform.Google}
	}
	return service{azureRequest, azureToken, platform.Unknown}
}

// newMetadata returns what asks the platform for the workload's token. On a
// machine that is known to have the service, it is asked again until the time
// is up: it may be starting. Of a machine that nothing is known of it is asked
// once, and the answer that nobody is there is a guess.
func newMetadata(o *Options) func(context.Context) (credential.Secret, error) {
	client, s := platformClient(o), newService(o.From)
	return func(ctx context.Context) (credential.Secret, error) {
		req, err := s.build(ctx, o)
		if err != nil {
			return credential.Secret{}, err
		}
		why := "IDENTITY_ENDPOINT is set"
		if s.cloud != platform.Unknown {
			here := platform.From(ctx).Place()
			switch here.Metadata(s.cloud) {
			case platform.Never:
				return credential.Secret{}, foreign(here)
			case platform.Perhaps:
				return s.probe(ctx, o.From, client, req)
			}
			why = here.Why
		}
		return s.wait(ctx, o.From, client, req, why)
	}
}

// probe asks once.
func (s service) probe(ctx context.Context, from string, client *http.Client, req *http.Request) (credential.Secret, error) {
	resp, cancel, err := metadata.Probe(ctx, client.Do, req)
	switch {
	case metadata.IsSilence(err):
		return credential.Secret{}, &fault{op: metadataOp, guess: true, err: fmt.Errorf("%w: %w", credential.ErrUnavailable, err),
			hint: "take this source out of the chain on machines of other platforms"}
	case err != nil:
		return credential.Secret{}, err
	}
	defer cancel()
	if other := metadata.Of(resp.Header); other != platform.Unknown && other != s.cloud {
		_ = resp.Body.Close() // it is not for us
		return credential.Secret{}, missing("the metadata service of "+string(other)+" answers", "take this source out of the chain here")
	}
	a, err := read(resp, req, metadataOp+" at "+req.URL.Host)
	if err != nil {
		return credential.Secret{}, err
	}
	return s.token(from, req, a)
}

// wait asks until there is an answer that waiting does not change, or the time
// is up. The waits are those of package azurecred.
func (s service) wait(ctx context.Context, from string, client *http.Client, req *http.Request, why string) (credential.Secret, error) {
	ctx, cancel := leaf.Early(ctx)
	defer cancel()
	ctx, stop := context.WithTimeout(ctx, metadataPatience)
	defer stop()
	for pause := metadataPause; ; pause = min(2*pause+metadataPause, maxMetadataPause) {
		token, again, err := s.once(ctx, from, client, req)
		if !again {
			return token, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			if f := (*fault)(nil); errors.As(err, &f) {
				f.hint += "; let the program reach " + req.URL.Host + " without a proxy or firewall: it is asked because " + why
			}
			return credential.Secret{}, err
		}
	}
}

// once asks, and reports whether it is worth asking again.
func (s service) once(ctx context.Context, from string, client *http.Client, req *http.Request) (token credential.Secret, again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, metadataTimeout)
	defer cancel()
	a, err := do(client, req.WithContext(ctx), metadataOp+" at "+req.URL.Host)
	f, refused := (*fault)(nil), (*leaf.Refused)(nil)
	if errors.As(err, &f) {
		return credential.Secret{}, f.transient && !errors.As(f.err, &refused), f
	}
	token, err = s.token(from, req, a)
	again = a.status != http.StatusOK && errors.As(err, &f) && f.transient
	return token, again, err
}

func (s service) token(from string, req *http.Request, a answer) (credential.Secret, error) {
	if a.status != http.StatusOK {
		return credential.Secret{}, metadataRefusal(from, req.URL.Host, a.status)
	}
	return s.parse(a)
}

// get makes a request to a metadata service.
func get(ctx context.Context, address string, query url.Values, header, value string) (*http.Request, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, &fault{op: metadataOp, err: errors.New("the address is malformed")}
	}
	for k, v := range u.Query() {
		if !query.Has(k) {
			query[k] = v
		}
	}
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody) //nolint:gosec // constants, or what checkEndpoint admits of the operator's own environment
	if err != nil {
		return nil, &fault{op: metadataOp, err: errors.New("the request cannot be made")}
	}
	req.Header.Set(header, value)
	return req, nil
}

func azureQuery(o *Options, version string) url.Values {
	q := url.Values{"api-version": {version}, "resource": {o.Audience}}
	if o.ManagedIdentityID != "" {
		q.Set("client_id", o.ManagedIdentityID)
	}
	return q
}

func azureRequest(ctx context.Context, o *Options) (*http.Request, error) {
	const hint = `enable a managed identity for the app; on a virtual machine use From "azure-imds"`
	endpoint, header := os.Getenv("IDENTITY_ENDPOINT"), os.Getenv("IDENTITY_HEADER")
	switch {
	case endpoint == "" && header == "":
		return nil, missing("IDENTITY_ENDPOINT and IDENTITY_HEADER are unset", hint)
	case endpoint == "":
		return nil, missing("IDENTITY_HEADER is set, but IDENTITY_ENDPOINT is not", hint)
	case header == "":
		return nil, missing("IDENTITY_ENDPOINT is set, but IDENTITY_HEADER is not", hint)
	case os.Getenv("IDENTITY_SERVER_THUMBPRINT") != "":
		return nil, missing("the endpoint is one of Service Fabric, which is not supported", "get the token in Token")
	case strings.ContainsAny(header, "\r\n\x00"):
		return nil, &fault{op: metadataOp, err: errors.New("IDENTITY_HEADER cannot stand in a header"), hint: hint}
	}
	if err := checkEndpoint(endpoint); err != nil {
		return nil, &fault{op: metadataOp, err: err, hint: "IDENTITY_ENDPOINT is set by the platform; leave it alone"}
	}
	return get(ctx, endpoint, azureQuery(o, appServiceVersion), "X-Identity-Header", header)
}

// checkEndpoint admits the address of a service. Where it leads is for the
// client: without TLS no further than this machine and its own network.
func checkEndpoint(endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http" {
		return errors.New("IDENTITY_ENDPOINT is not the address of a service")
	}
	return nil
}

func imdsRequest(ctx context.Context, o *Options) (*http.Request, error) {
	if os.Getenv("IDENTITY_ENDPOINT") != "" && os.Getenv("IDENTITY_HEADER") != "" {
		return nil, missing("IDENTITY_ENDPOINT is set: there is no instance metadata service in this place", `use From "azure"`)
	}
	return get(ctx, imdsURL, azureQuery(o, imdsVersion), "Metadata", "true")
}

func gcpRequest(ctx context.Context, o *Options) (*http.Request, error) {
	audience := o.Audience
	if audience == "" {
		audience = DefaultAudience
	}
	return get(ctx, gcpURL, url.Values{"audience": {audience}}, "Metadata-Flavor", "Google")
}

// foreign is why the metadata service of a platform is not asked here: at the
// same address another platform has its own, or nobody answers.
func foreign(here platform.Place) error {
	why := "a Mac has no metadata service"
	if here.Why != "" {
		why = here.Why + ": this is another platform"
	}
	return missing(why, "take this source out of the chain here")
}

// azureToken reads the answer of both Azure endpoints.
func azureToken(a answer) (credential.Secret, error) {
	var doc struct {
		Token string `json:"access_token"`
		Type  string `json:"token_type"`
	}
	if json.Unmarshal(a.body, &doc) != nil || doc.Token == "" || doc.Type != "" && !strings.EqualFold(doc.Type, "bearer") {
		return credential.Secret{}, notMetadata("it has no access_token")
	}
	return credential.NewSecret(doc.Token), nil
}

func gcpToken(a answer) (credential.Secret, error) {
	if flavor := a.header.Values("Metadata-Flavor"); len(flavor) != 1 || flavor[0] != "Google" {
		return credential.Secret{}, notMetadata("it does not have Metadata-Flavor: Google")
	}
	return credential.NewSecret(string(a.body)), nil
}

func notMetadata(why string) error {
	return &fault{op: metadataOp, err: errors.New("the answer is not one of the platform's metadata service: " + why),
		hint: "check that From names the platform that this runs on", transient: true}
}

func metadataRefusal(from, host string, status int) error {
	f := &fault{op: metadataOp + " at " + host, err: fmt.Errorf("HTTP status %d", status), transient: leaf.Passing(status)}
	switch {
	case from == "azure-imds" && (status == http.StatusNotFound || status == http.StatusGone):
		f.transient, f.hint = true, "the metadata service is being updated" // as Azure documents both
	case from == "gcp":
		f.hint = "attach a service account to the workload"
	default:
		f.hint = "assign the managed identity to the workload, and check Audience and ManagedIdentityID"
	}
	return f
}
