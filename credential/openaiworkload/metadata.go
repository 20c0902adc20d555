package openaiworkload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/latchkey-go/latchkey/credential"
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

// newMetadata returns what asks the platform for the workload's token.
func newMetadata(o *Options) func(context.Context) (credential.Secret, error) {
	client := newClient(o.MetadataTransport, newMetadataTransport)
	build, parse := azureRequest, azureToken
	switch o.From {
	case "azure-imds":
		build = imdsRequest
	case "gcp":
		build, parse = gcpRequest, gcpToken
	}
	return func(ctx context.Context) (credential.Secret, error) {
		ctx, cancel := context.WithTimeout(ctx, metadataTimeout)
		defer cancel()
		req, err := build(ctx, o)
		if err != nil {
			return credential.Secret{}, err
		}
		a, err := do(client, req)
		if err != nil {
			return credential.Secret{}, carriageFault(metadataOp+" at "+req.URL.Host, err)
		}
		if a.status != http.StatusOK {
			return credential.Secret{}, metadataRefusal(o.From, req.URL.Host, a.status)
		}
		return parse(a)
	}
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

// checkEndpoint keeps IDENTITY_HEADER off the open network: without TLS it
// goes no further than this machine and its link.
func checkEndpoint(endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return errors.New("IDENTITY_ENDPOINT is not the address of a service")
	}
	host := u.Hostname()
	ip := net.ParseIP(host)
	near := host == "localhost" || ip != nil && (ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsPrivate())
	if u.Scheme != "https" && (u.Scheme != "http" || !near) {
		return errors.New("IDENTITY_ENDPOINT is neither https nor on this machine's own network")
	}
	return nil
}

func imdsRequest(ctx context.Context, o *Options) (*http.Request, error) {
	if err := foreign("AWS_LAMBDA_FUNCTION_NAME", "AWS_EXECUTION_ENV", "ECS_CONTAINER_METADATA_URI_V4", "K_SERVICE"); err != nil {
		return nil, err
	}
	if os.Getenv("IDENTITY_ENDPOINT") != "" && os.Getenv("IDENTITY_HEADER") != "" {
		return nil, missing("IDENTITY_ENDPOINT is set: there is no instance metadata service in this place", `use From "azure"`)
	}
	return get(ctx, imdsURL, azureQuery(o, imdsVersion), "Metadata", "true")
}

func gcpRequest(ctx context.Context, o *Options) (*http.Request, error) {
	if err := foreign("AWS_LAMBDA_FUNCTION_NAME", "AWS_EXECUTION_ENV", "ECS_CONTAINER_METADATA_URI_V4", "IDENTITY_ENDPOINT", "WEBSITE_SITE_NAME"); err != nil {
		return nil, err
	}
	audience := o.Audience
	if audience == "" {
		audience = DefaultAudience
	}
	return get(ctx, gcpURL, url.Values{"audience": {audience}}, "Metadata-Flavor", "Google")
}

// foreign keeps one platform's question from another's metadata service, which
// has the same address.
func foreign(markers ...string) error {
	for _, name := range markers {
		if os.Getenv(name) != "" {
			return missing(name+" is set: this is another platform", "take this source out of the chain here")
		}
	}
	return nil
}

// azureToken reads the answer of both of Azure's endpoints.
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
		hint: "check that From names the platform that this runs on"}
}

func metadataRefusal(from, host string, status int) error {
	f := &fault{op: metadataOp + " at " + host, err: fmt.Errorf("HTTP status %d", status), transient: passing(status)}
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
