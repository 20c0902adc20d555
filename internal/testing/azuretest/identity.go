package azuretest

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// identityHeader is what App Service gives its apps to show.
const identityHeader = "9F1C-CANARY-identity-header"

// An Identity is the endpoint of a managed identity.
// https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
type Identity struct {
	Tokens
	// URL is the value of IDENTITY_ENDPOINT.
	URL string

	server *httptest.Server
	imds   bool
}

// NewIdentity starts an endpoint as App Service and Functions have it, and sets
// IDENTITY_ENDPOINT and IDENTITY_HEADER to it.
func NewIdentity(t testing.TB, token string) *Identity {
	t.Helper()
	id := &Identity{}
	id.start(t, token)
	t.Setenv("IDENTITY_ENDPOINT", id.URL)
	t.Setenv("IDENTITY_HEADER", identityHeader)
	return id
}

// NewIMDS starts an endpoint as virtual machines have it. It is reached at
// 169.254.169.254 by its Client.
func NewIMDS(t testing.TB, token string) *Identity {
	t.Helper()
	id := &Identity{imds: true}
	id.start(t, token)
	return id
}

func (id *Identity) start(t testing.TB, token string) {
	id.SetToken(token)
	id.server = httptest.NewServer(http.HandlerFunc(id.serve))
	t.Cleanup(id.server.Close)
	id.URL = id.server.URL + "/msi/token"
}

// Client returns a client whose requests to 169.254.169.254 go to id, and all
// others nowhere.
func (id *Identity) Client() *http.Client {
	return &http.Client{Transport: rewrite(func(req *http.Request) (*http.Response, error) {
		if req.URL.Host != "169.254.169.254" {
			return nil, errElsewhere
		}
		out := req.Clone(req.Context())
		out.URL.Host = strings.TrimPrefix(id.server.URL, "http://")
		return id.server.Client().Transport.RoundTrip(out)
	})}
}

func (id *Identity) serve(w http.ResponseWriter, r *http.Request) {
	if id.handled(w, r) {
		return
	}
	q := r.URL.Query()
	switch {
	case id.imds && r.Header.Get("Metadata") != "true":
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "invalid_request", "error_description": "Required metadata header not specified"})
	case id.imds && r.URL.Path != "/metadata/identity/oauth2/token":
		http.NotFound(w, r)
	case !id.imds && r.Header.Get("X-IDENTITY-HEADER") != identityHeader:
		writeJSON(w, http.StatusForbidden, map[string]any{"statusCode": 403, "message": "the header is not accepted"})
	case !id.imds && q.Get("api-version") != "2019-08-01", q.Get("resource") == "":
		writeJSON(w, http.StatusBadRequest, map[string]any{"statusCode": 400, "message": "no resource or version"})
	default:
		id.issue(w, q, true)
	}
}

type rewrite func(*http.Request) (*http.Response, error)

func (f rewrite) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

var errElsewhere = errors.New("azuretest: only 169.254.169.254 is here")

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// ClearEnv unsets what says where a program runs and who it is, and leaves a
// PATH without tools.
func ClearEnv(t testing.TB) {
	t.Helper()
	for name := range strings.FieldsSeq(`AZURE_TENANT_ID AZURE_CLIENT_ID AZURE_CLIENT_SECRET AZURE_CLIENT_CERTIFICATE_PATH AZURE_CLIENT_CERTIFICATE_PASSWORD
		AZURE_FEDERATED_TOKEN_FILE AZURE_AUTHORITY_HOST AZURE_TOKEN_CREDENTIALS AZURE_ADDITIONALLY_ALLOWED_TENANTS AZURE_USERNAME AZURE_FUNCTIONS_ENVIRONMENT
		IDENTITY_ENDPOINT IDENTITY_HEADER IDENTITY_SERVER_THUMBPRINT IMDS_ENDPOINT MSI_ENDPOINT MSI_SECRET WEBSITE_SITE_NAME WEBSITE_INSTANCE_ID
		CONTAINER_APP_NAME FUNCTIONS_WORKER_RUNTIME AWS_LAMBDA_FUNCTION_NAME AWS_LAMBDA_RUNTIME_API AWS_EXECUTION_ENV ECS_CONTAINER_METADATA_URI_V4
		ECS_CONTAINER_METADATA_URI AWS_CONTAINER_CREDENTIALS_FULL_URI AWS_CONTAINER_CREDENTIALS_RELATIVE_URI AWS_WEB_IDENTITY_TOKEN_FILE K_SERVICE
		FUNCTION_TARGET GAE_SERVICE CLOUD_RUN_JOB KUBERNETES_SERVICE_HOST AZURE_OPENAI_ENDPOINT AZURE_OPENAI_API_KEY OPENAI_API_VERSION OPENAI_BASE_URL
		OPENAI_API_KEY OPENAI_ORG_ID OPENAI_PROJECT_ID HTTP_PROXY HTTPS_PROXY`) {
		t.Setenv(name, "")
	}
	t.Setenv("PATH", t.TempDir())
}

// HTTP returns a client for the endpoint of an Identity.
func (id *Identity) HTTP() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
}
