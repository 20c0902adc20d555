package auto

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/awsbedrock"
	"github.com/latchkey-go/latchkey/credential/awsextension"
	"github.com/latchkey-go/latchkey/credential/awsparameterstore"
	"github.com/latchkey-go/latchkey/credential/awssecretsmanager"
	"github.com/latchkey-go/latchkey/credential/azureidentity"
	"github.com/latchkey-go/latchkey/credential/azurekeyvault"
	"github.com/latchkey-go/latchkey/credential/execcommand"
	"github.com/latchkey-go/latchkey/credential/hashivault"
	"github.com/latchkey-go/latchkey/credential/openaiworkload"
	"github.com/latchkey-go/latchkey/internal/azurename"
)

// A scheme is one kind of reference.
type scheme struct {
	name   string
	params []string
	// sets are variables that speak for this source.
	sets []string
	// example is a reference of a store that the environment may speak for.
	example string
	build   func(reference) (credential.Source, error)
}

// identityVariables returns the variables that configure an Azure identity.
func identityVariables() []string {
	return []string{"AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH",
		"AZURE_FEDERATED_TOKEN_FILE", "IDENTITY_ENDPOINT", "MSI_ENDPOINT", "AZURE_TOKEN_CREDENTIALS"}
}

// schemes is the table of references. The documentation of the package has the
// same, and a test holds them together. Requests to Azure and OpenAI go through
// t, if it is not nil.
func schemes(t http.RoundTripper) []scheme {
	secret := []string{"field", "stage", "standby-field", "standby-stage", "version"}
	aws := []string{"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"}
	return []scheme{
		{name: "env", build: environment},
		{name: "file", build: file},
		{name: "exec", params: []string{"arg"}, build: command},
		{name: "azurekeyvault", params: []string{"field", "standby", "version"}, sets: identityVariables(),
			example: "azurekeyvault://VAULT/NAME", build: func(r reference) (credential.Source, error) { return keyVault(r, t) }},
		{name: "awssecretsmanager", params: append([]string{"expiry"}, secret...), sets: aws, example: "awssecretsmanager:///NAME",
			build: func(r reference) (credential.Source, error) { return secretsManager(r, t) }},
		{name: "awsparameterstore", params: append([]string{"expiry"}, secret...), sets: aws,
			example: "awsparameterstore:///NAME", build: func(r reference) (credential.Source, error) { return parameterStore(r, t) }},
		{name: "awsextension", params: secret, sets: []string{"PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", "AWS_TOKEN"},
			example: "awsextension:///NAME", build: extension},
		{name: "vault", params: []string{"auth", "expiry", "field", "kv", "namespace", "role", "standby-field", "version"},
			sets: []string{"VAULT_ADDR", "VAULT_AGENT_ADDR", "VAULT_TOKEN", "VAULT_NAMESPACE"}, example: "vault://secret/openai?field=key", build: vault},
		{name: "awsbedrock", params: []string{"region"}, sets: aws, build: func(r reference) (credential.Source, error) { return bedrock(r, t) }},
		{name: "azureidentity", params: []string{"client-id", "scope", "tenant-id"}, sets: identityVariables(),
			build: func(r reference) (credential.Source, error) { return identity(r, t) }},
		{name: "openaiworkload", params: []string{"audience", "client-id", "from", "managed-identity", "provider", "service-account", "token-file"},
			example: "openaiworkload://?provider=ID&service-account=ID&from=kubernetes&token-file=PATH",
			build:   func(r reference) (credential.Source, error) { return workload(r, t) }},
	}
}

func environment(r reference) (credential.Source, error) {
	const want = "want env://NAME, the name of a variable"
	switch {
	case r.host == "" || strings.Trim(r.path, "/") != "":
		return nil, errors.New(want)
	case strings.Trim(r.host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") != "":
		return nil, errors.New("a variable's name has letters, digits and _ only: " + want)
	case len(r.host) >= 20 && !strings.Contains(r.host, "_"):
		return nil, errors.New("this looks like a key: " + want)
	}
	return credential.Env(r.host), nil
}

// local is the path of a reference to this machine.
func (r reference) local() (string, error) {
	path := r.path
	if runtime.GOOS == "windows" { // file:///C:/key
		path = filepath.FromSlash(strings.TrimPrefix(path, "/"))
	}
	if r.host != "" || len(r.path) < 2 || !filepath.IsAbs(path) {
		return "", errors.New("want an absolute path after three slashes: " + r.scheme + ":///PATH")
	}
	return path, nil
}

func file(r reference) (credential.Source, error) {
	path, err := r.local()
	if err != nil {
		return nil, err
	}
	return credential.File(path), nil
}

func command(r reference) (credential.Source, error) {
	path, err := r.local()
	if err != nil {
		return nil, err
	}
	return made(execcommand.New(path, r.query["arg"], nil))
}

// made keeps a nil pointer out of the interface.
func made[S credential.Source](src S, err error) (credential.Source, error) {
	if err != nil {
		return nil, err
	}
	return src, nil
}

// secret is the name or ARN in a reference to AWS.
func (r reference) secret() (string, error) {
	name := strings.TrimPrefix(r.path, "/")
	if r.host != "" || name == "" {
		return "", errors.New("want the secret's name after three slashes: " + r.scheme + ":///NAME")
	}
	return name, nil
}

func secretsManager(r reference, t http.RoundTripper) (credential.Source, error) {
	id, err := r.secret()
	if err != nil {
		return nil, err
	}
	q := r.query
	return made(awssecretsmanager.New(id, &awssecretsmanager.Options{
		Field: q.Get("field"), StandbyField: q.Get("standby-field"), ExpiryTag: q.Get("expiry"), Transport: t,
		Stage: q.Get("stage"), StandbyStage: q.Get("standby-stage"), Version: q.Get("version"),
	}))
}

// parameter is the name or ARN of a parameter in a path. AWS wants a slash
// before a name with others in it.
func (r reference) parameter() (string, error) {
	id := strings.TrimPrefix(r.path, "/")
	if id == "" {
		return "", errors.New("want the parameter's name after the last slash")
	}
	if strings.Contains(id, "/") && !strings.HasPrefix(id, "/") && !strings.HasPrefix(id, "arn:") {
		id = "/" + id
	}
	return id, nil
}

func parameterStore(r reference, t http.RoundTripper) (credential.Source, error) {
	if _, err := r.secret(); err != nil {
		return nil, err
	}
	id, err := r.parameter()
	if err != nil {
		return nil, err
	}
	q := r.query
	if q.Has("expiry") && q.Get("expiry") != "policy" {
		return nil, errors.New("parameter expiry: want policy")
	}
	return made(awsparameterstore.New(id, &awsparameterstore.Options{
		Field: q.Get("field"), StandbyField: q.Get("standby-field"), ExpiryPolicy: q.Has("expiry"), Transport: t,
		Stage: q.Get("stage"), StandbyStage: q.Get("standby-stage"), Version: q.Get("version"),
	}))
}

func extension(r reference) (credential.Source, error) {
	q := r.query
	opts := &awsextension.Options{
		Field: q.Get("field"), StandbyField: q.Get("standby-field"),
		Stage: q.Get("stage"), StandbyStage: q.Get("standby-stage"), Version: q.Get("version"),
	}
	if part := strings.SplitN(r.path, ":", 4); r.host == "parameter" || len(part) == 4 && part[2] == "ssm" {
		id, err := r.parameter()
		if err != nil {
			return nil, err
		}
		return made(awsextension.NewParameter(id, opts))
	}
	id, err := r.secret()
	if err != nil {
		return nil, err
	}
	return made(awsextension.New(id, opts))
}

func keyVault(r reference, t http.RoundTripper) (credential.Source, error) {
	q := r.query
	opts := &azurekeyvault.Options{Version: q.Get("version"), StandbyName: q.Get("standby"), Field: q.Get("field"), Transport: t}
	if r.host == "" && strings.HasPrefix(r.path, "https://") { // off the clipboard
		return made(azurekeyvault.New(r.path, "", opts))
	}
	host := strings.ToLower(r.host)
	if host != "" && strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" {
		host += vaultSuffix()
	}
	name := strings.TrimPrefix(r.path, "/")
	if _, ok := azurename.OfVault(host); !ok || name == "" || strings.Contains(name, "/") {
		return nil, errors.New("want azurekeyvault://VAULT/NAME, where VAULT is a name, or a whole one such as myvault.vault.azure.cn")
	}
	return made(azurekeyvault.New("https://"+host, name, opts))
}

// vaultSuffix is what a vault's name ends with in the cloud that tokens come
// from here.
func vaultSuffix() string {
	if c, ok := azurename.OfAuthority(os.Getenv("AZURE_AUTHORITY_HOST")); ok {
		return c.VaultSuffix
	}
	return azurename.Clouds()[0].VaultSuffix
}

func vault(r reference) (credential.Source, error) {
	q := r.query
	opts := &hashivault.Options{Namespace: q.Get("namespace"), ExpiryTag: q.Get("expiry"), Field: q.Get("field"), StandbyField: q.Get("standby-field"), Version: q.Get("version"), RevokeOnClose: r.brief}
	if strings.Trim(r.host, "/") == "" || strings.Trim(r.path, "/") == "" {
		return nil, errors.New("want vault://MOUNT/PATH, as in vault://secret/openai")
	}
	if v := q.Get("version"); strings.Trim(v, "0123456789") != "" || strings.HasPrefix(v, "0") {
		return nil, errors.New("parameter version: want a number from 1 on")
	}
	if q.Has("kv") {
		if opts.KVVersion = map[string]int{"1": 1, "2": 2}[q.Get("kv")]; opts.KVVersion == 0 {
			return nil, errors.New("parameter kv: kv is 1 or 2")
		}
	}
	switch auth, role := q.Get("auth"), q.Get("role"); {
	case auth == "kubernetes" && role != "":
		opts.Auth = &hashivault.Kubernetes{Role: role}
	case auth == "kubernetes":
		return nil, errors.New("auth=kubernetes needs the parameter role")
	case q.Has("auth"):
		return nil, errors.New("parameter auth: want kubernetes; set Options.Auth of package hashivault in code for other logins")
	case q.Has("role"):
		return nil, errors.New("parameter role needs auth=kubernetes")
	}
	return made(hashivault.New(r.host+r.path, opts))
}

// bare refuses a name where a reference has none.
func (r reference) bare() error {
	if r.host != "" || strings.Trim(r.path, "/") != "" {
		return errors.New("want parameters only: " + r.scheme + "://?NAME=VALUE")
	}
	return nil
}

func identity(r reference, t http.RoundTripper) (credential.Source, error) {
	if err := r.bare(); err != nil {
		return nil, err
	}
	q := r.query
	return made(azureidentity.New(&azureidentity.Options{
		ClientID: q.Get("client-id"), TenantID: q.Get("tenant-id"), Scope: q.Get("scope"), Transport: t,
	}))
}

func bedrock(r reference, t http.RoundTripper) (credential.Source, error) {
	if err := r.bare(); err != nil {
		return nil, err
	}
	return made(awsbedrock.New(&awsbedrock.Options{Region: r.query.Get("region"), Transport: t}))
}

func workload(r reference, t http.RoundTripper) (credential.Source, error) {
	if err := r.bare(); err != nil {
		return nil, err
	}
	q := r.query
	// Its own error would quote what stands there.
	if from := []string{"kubernetes", "aws", "azure", "azure-imds", "gcp"}; !slices.Contains(from, q.Get("from")) {
		return nil, errors.New("parameter from: want one of " + strings.Join(from, ", "))
	}
	return made(openaiworkload.New(&openaiworkload.Options{
		IdentityProviderID: q.Get("provider"), ServiceAccountID: q.Get("service-account"), ClientID: q.Get("client-id"),
		From: q.Get("from"), TokenFile: q.Get("token-file"), Audience: q.Get("audience"), ManagedIdentityID: q.Get("managed-identity"),
		Transport: t,
	}))
}
