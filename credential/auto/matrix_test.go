package auto_test

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/auto"
	"github.com/latchkey-go/latchkey/internal/testing/awstest"
	"github.com/latchkey-go/latchkey/internal/testing/azuretest"
)

// An environment is what a process finds, and what has to come of it.
type environment struct {
	name    string
	base    []map[string]string
	env     map[string]string
	machine string
	// firmware is what the machine says of itself; empty is that of machine.
	firmware string
	az       string // what az prints a token of; empty: az is not there
	winner   string // the prefix of the winner's name
	says     string // in the error, where there is no winner
	asks     string // all who are asked; empty: no network at all
}

type vars = map[string]string

func lambda() vars {
	v := vars{"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001", "AWS_EXECUTION_ENV": "AWS_Lambda_provided.al2023", "AWS_LAMBDA_FUNCTION_NAME": "f"}
	for name, value := range awstest.Caller().Env("eu-west-1") {
		v[name] = value
	}
	return v
}

func functions() vars {
	return vars{"WEBSITE_SITE_NAME": "f", "FUNCTIONS_WORKER_RUNTIME": "custom", "WEBSITE_INSTANCE_ID": "1"}
}

func managed() vars {
	return vars{"IDENTITY_ENDPOINT": "http://127.0.0.1:41741/msi/token/", "IDENTITY_HEADER": "CANARY"}
}

func pod() vars { return vars{"KUBERNETES_SERVICE_HOST": "10.0.0.1"} }

func aks() vars {
	return vars{"KUBERNETES_SERVICE_HOST": "10.0.0.1", "AZURE_FEDERATED_TOKEN_FILE": "$DIR/token", "AZURE_CLIENT_ID": "c", "AZURE_TENANT_ID": "tenant",
		"AZURE_AUTHORITY_HOST": "https://login.microsoftonline.com/"}
}

func eks() vars {
	return vars{"KUBERNETES_SERVICE_HOST": "10.0.0.1", "AWS_WEB_IDENTITY_TOKEN_FILE": "$DIR/token", "AWS_ROLE_ARN": "arn:aws:iam::1:role/r",
		"AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL_STS": "$URL"}
}

func ecs() vars {
	return vars{"AWS_CONTAINER_CREDENTIALS_FULL_URI": "$URL/ecs", "ECS_CONTAINER_METADATA_URI_V4": "http://169.254.170.2/v4/x", "AWS_REGION": "eu-west-1",
		"AWS_EXECUTION_ENV": "AWS_ECS_FARGATE"}
}

func azure() vars { return vars{"AZURE_OPENAI_ENDPOINT": "https://res.openai.azure.com"} }

func ref(text string) vars { return vars{"OPENAI_CREDENTIAL": text} }

const (
	smRef       = "awssecretsmanager:///prod/openai"
	keyVaultRef = "azurekeyvault://myvault/openai-key"
	vaultRef    = "vault://secret/openai?field=key"
	workloadRef = "openaiworkload://?provider=idp_1&service-account=sa_1&from="
)

func configured() []environment {
	key, azureKey := vars{"OPENAI_API_KEY": "sk-CANARY-1"}, vars{"AZURE_OPENAI_API_KEY": "CANARY-azure"}
	return []environment{
		{name: "Lambda, key", base: []vars{lambda(), key}, winner: "env:OPENAI_API_KEY"},
		{name: "Lambda, secret", base: []vars{lambda(), ref(smRef)}, winner: "awssecretsmanager:prod/openai", asks: "secretsmanager"},
		{name: "Lambda, ARN", base: []vars{lambda(), ref("arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/openai")}, winner: "awssecretsmanager:arn", asks: "secretsmanager"},
		{name: "Lambda, parameter", base: []vars{lambda(), ref("awsparameterstore:///prod/openai")}, winner: "awsparameterstore:/prod/openai", asks: "parameterstore"},
		{name: "Lambda, ARN of a parameter", base: []vars{lambda(), ref("arn:aws:ssm:eu-west-1:123456789012:parameter/prod/openai:1")}, winner: "awsparameterstore:arn", asks: "parameterstore"},
		{name: "Lambda, extension", base: []vars{lambda(), ref("awsextension:///prod/openai"), {"PARAMETERS_SECRETS_EXTENSION_HTTP_PORT": "$PORT"}},
			winner: "awsextension:prod/openai", asks: "extension"},
		{name: "Lambda, parameter by the extension", base: []vars{lambda(), ref("awsextension://parameter/prod/openai"), {"PARAMETERS_SECRETS_EXTENSION_HTTP_PORT": "$PORT"}},
			winner: "awsextension:/prod/openai", asks: "extension"},
		{name: "Lambda, Bedrock", base: []vars{lambda(), ref("awsbedrock://")}, winner: "awsbedrock"},
		{name: "Lambda, Vault", base: []vars{lambda(), ref(vaultRef), {"VAULT_ADDR": "$URL", "VAULT_TOKEN": "hvs.CANARY"}}, winner: "hashivault:secret/openai", asks: "vault"},
		{name: "Functions, identity", base: []vars{functions(), managed(), azure()}, winner: "azureidentity:managed-identity", asks: "identity"},
		{name: "Functions, user-assigned identity", base: []vars{functions(), managed(), azure(), {"AZURE_CLIENT_ID": "c"}}, winner: "azureidentity:managed-identity", asks: "identity"},
		{name: "Functions, key of Azure", base: []vars{functions(), managed(), azure(), azureKey}, winner: "env:AZURE_OPENAI_API_KEY"},
		{name: "Functions, Key Vault", base: []vars{functions(), managed(), ref(keyVaultRef)}, winner: "azurekeyvault:myvault", asks: "identity keyvault"},
		{name: "App Service, URL of Key Vault", base: []vars{managed(), ref("https://myvault.vault.azure.net/secrets/openai-key")}, winner: "azurekeyvault:myvault", asks: "identity keyvault"},
		{name: "App Service, key of OpenAI", base: []vars{managed(), key}, winner: "env:OPENAI_API_KEY"},
		{name: "App Service, federation", base: []vars{managed(), ref(workloadRef + "azure&audience=api://openai")}, winner: "openaiworkload", asks: "identity openai"},
		{name: "AKS, workload identity", base: []vars{aks(), azure()}, winner: "azureidentity:workload-identity", asks: "entra"},
		{name: "AKS, mounted secret", base: []vars{pod(), ref("file://$DIR/key")}, winner: "file:"},
		{name: "AKS, federation", base: []vars{aks(), ref(workloadRef + "kubernetes&token-file=$DIR/token")}, winner: "openaiworkload", asks: "openai"},
		{name: "EKS, role", base: []vars{eks(), ref(smRef)}, winner: "awssecretsmanager:prod/openai", asks: "secretsmanager sts"},
		{name: "EKS, Vault", base: []vars{eks(), ref(vaultRef), {"VAULT_ADDR": "$URL", "VAULT_TOKEN": "hvs.CANARY"}}, winner: "hashivault:secret/openai", asks: "vault"},
		{name: "ECS, role", base: []vars{ecs(), ref(smRef)}, winner: "awssecretsmanager:prod/openai", asks: "ecs secretsmanager"},
		{name: "ECS, Bedrock in another region", base: []vars{ecs(), ref("awsbedrock://?region=us-east-1")}, winner: "awsbedrock:us-east-1", asks: "ecs"},
		{name: "ECS, Docker secret", base: []vars{ecs(), {"OPENAI_API_KEY_FILE": "$DIR/key"}}, winner: "file:"},
		{name: "GKE, federation", base: []vars{pod(), ref(workloadRef + "gcp")}, machine: "gcp", winner: "openaiworkload", asks: "metadata openai"},
		{name: "GKE, mounted key", base: []vars{pod(), {"OPENAI_API_KEY_FILE": "$DIR/key"}}, machine: "gcp", winner: "file:"},
		{name: "VM of Azure", base: []vars{azure()}, machine: "azure", winner: "azureidentity:managed-identity", asks: "metadata"},
		{name: "VM of Azure, user-assigned", base: []vars{azure(), {"AZURE_CLIENT_ID": "c", "AZURE_TOKEN_CREDENTIALS": "prod"}}, machine: "azure", winner: "azureidentity:managed-identity", asks: "metadata"},
		{name: "VM of EC2, instance role", base: []vars{ref(smRef), {"AWS_REGION": "eu-west-1", "AWS_EC2_METADATA_DISABLED": ""}}, machine: "ec2", winner: "awssecretsmanager:prod/openai", asks: "ec2 secretsmanager"},
		{name: "VM of EC2, key", base: []vars{key, {"AWS_EC2_METADATA_DISABLED": ""}}, machine: "ec2", winner: "env:OPENAI_API_KEY"},
		{name: "GitHub Actions, secret", base: []vars{key, {"GITHUB_ACTIONS": "true"}}, winner: "env:OPENAI_API_KEY"},
		{name: "GitHub Actions, az", base: []vars{azure(), {"GITHUB_ACTIONS": "true", "AZURE_TOKEN_CREDENTIALS": "dev"}}, az: token, winner: "azureidentity:az"},
		{name: "GitHub Actions, OIDC for AWS", base: []vars{eks(), {"KUBERNETES_SERVICE_HOST": "", "GITHUB_ACTIONS": "true"}, ref(smRef)}, winner: "awssecretsmanager:prod/openai", asks: "secretsmanager sts"},
		{name: "laptop, key", base: []vars{key}, winner: "env:OPENAI_API_KEY"},
		{name: "laptop, az", base: []vars{azure()}, az: token, winner: "azureidentity:az"},
		{name: "laptop, helper", base: []vars{ref("exec://$DIR/helper?arg=read")}, winner: "execcommand:"},
		{name: "laptop, vault login", base: []vars{ref(vaultRef), {"VAULT_ADDR": "$URL", "HOME": "$DIR"}}, winner: "hashivault:secret/openai", asks: "vault"},
		{name: "laptop, service principal", base: []vars{azure(), {"AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_ID": "c", "AZURE_CLIENT_SECRET": "CANARY"}}, winner: "azureidentity:service-principal", asks: "entra"},
		{name: "laptop, v1 base URL of Azure and its key in OPENAI_API_KEY", base: []vars{key, {"OPENAI_BASE_URL": "https://res.openai.azure.com/openai/v1/"}}, winner: "env:OPENAI_API_KEY"},
		{name: "laptop, v1 base URL of Azure and az", base: []vars{{"OPENAI_BASE_URL": "https://res.openai.azure.com/openai/v1/"}}, az: token, winner: "azureidentity:az"},
	}
}

func halfConfigured() []environment {
	signed := vars{"AWS_ACCESS_KEY_ID": "AKIACANARY", "AWS_SECRET_ACCESS_KEY": "CANARY", "AWS_REGION": "eu-west-1"}
	return []environment{
		{name: "Lambda, nothing", base: []vars{lambda()}, says: "awssecretsmanager:///NAME"},
		{name: "Lambda, unknown secret", base: []vars{lambda(), ref("awssecretsmanager:///other")}, says: "no such secret", asks: "secretsmanager"},
		{name: "Lambda, unknown parameter", base: []vars{lambda(), ref("awsparameterstore:///other")}, says: "no such parameter", asks: "parameterstore"},
		{name: "Lambda, no extension", base: []vars{lambda(), ref("awsextension:///prod/openai"), {"PARAMETERS_SECRETS_EXTENSION_HTTP_PORT": "1"}}, says: "extension"},
		{name: "Functions, no identity assigned", base: []vars{functions(), azure()}, says: "assign one"},
		{name: "Functions, unresolved reference", base: []vars{functions(), {"OPENAI_API_KEY": "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/n)"}}, says: "unresolved Key Vault reference"},
		{name: "Functions, nothing", base: []vars{functions(), managed()}, says: "azurekeyvault://VAULT/NAME"},
		{name: "App Service, key of Azure without its endpoint", base: []vars{managed(), {"AZURE_OPENAI_API_KEY": "CANARY"}}, says: "AZURE_OPENAI_ENDPOINT"},
		{name: "AKS, no tenant", base: []vars{aks(), {"AZURE_TENANT_ID": ""}, azure()}, says: "AZURE_TENANT_ID"},
		{name: "AKS, token file is gone", base: []vars{aks(), {"AZURE_FEDERATED_TOKEN_FILE": "$DIR/gone"}, azure()}, says: "token", asks: "entra"},
		{name: "EKS, role without a region", base: []vars{eks(), {"AWS_REGION": ""}, ref(smRef)}, says: "AWS_REGION"},
		{name: "ECS, region only", base: []vars{{"AWS_EXECUTION_ENV": "AWS_ECS_EC2", "AWS_REGION": "eu-west-1", "AWS_EC2_METADATA_DISABLED": ""}, ref(smRef)}, says: "no credentials", asks: "ec2"},
		{name: "GKE, an identity of Azure's", base: []vars{pod(), azure()}, machine: "gcp", says: "not looked for on Kubernetes"},
		{name: "VM of Google, Azure's endpoint", base: []vars{azure()}, machine: "gcp", says: "not looked for on Google Cloud"},
		{name: "VM of Google that says nothing, Azure's endpoint", base: []vars{azure()}, machine: "gcp", firmware: "silent", says: "is not Azure's endpoint", asks: "metadata"},
		{name: "VM of EC2, Azure's endpoint", base: []vars{azure()}, machine: "ec2", says: "not looked for on AWS"},
		{name: "VM of EC2 that says nothing, Azure's endpoint", base: []vars{azure()}, machine: "ec2", firmware: "silent", says: "is not Azure's endpoint", asks: "metadata"},
		{name: "VM of Azure, no identity", base: []vars{azure()}, machine: "azure, no identity", firmware: "azure", says: "no system-assigned identity", asks: "metadata"},
		{name: "GitHub Actions, the secret of a fork", base: []vars{{"GITHUB_ACTIONS": "true", "OPENAI_API_KEY": ""}}, says: "OPENAI_API_KEY is unset"},
		{name: "laptop, nothing", says: "OPENAI_CREDENTIAL"},
		{name: "laptop, blank reference", base: []vars{ref(" ")}, says: "OPENAI_CREDENTIAL"},
		{name: "laptop, endpoint without az", base: []vars{azure()}, firmware: "laptop", says: "az: not on PATH"},
		{name: "machine that says nothing, endpoint without az", base: []vars{azure()}, says: "az: not on PATH", asks: "metadata"},
		{name: "laptop, Vault without an address", base: []vars{ref(vaultRef)}, says: "VAULT_ADDR"},
		{name: "laptop, Vault without a login", base: []vars{ref(vaultRef), {"VAULT_ADDR": "https://vault.example.com"}}, says: "VAULT_TOKEN"},
		{name: "laptop, Vault is not there", base: []vars{ref(vaultRef), {"VAULT_ADDR": "http://127.0.0.1:1", "VAULT_TOKEN": "hvs.CANARY"}}, says: "check that Vault is at the address in VAULT_ADDR"},
		{name: "laptop, no agent of Vault's", base: []vars{ref(vaultRef), {"VAULT_ADDR": "$URL", "VAULT_AGENT_ADDR": "http://127.0.0.1:1", "VAULT_TOKEN": "hvs.CANARY"}},
			says: "check that Vault is at the address in VAULT_AGENT_ADDR"},
		{name: "laptop, Vault is something else", base: []vars{ref(vaultRef), {"VAULT_ADDR": "$URL/elsewhere", "VAULT_TOKEN": "hvs.CANARY"}}, says: "VAULT_ADDR", asks: "sts"},
		{name: "laptop, a field that is mistyped", base: []vars{ref("vault://secret/openai?field=Key"), {"VAULT_ADDR": "$URL", "VAULT_TOKEN": "hvs.CANARY"}}, says: `did you mean "key"?`, asks: "vault"},
		{name: "laptop, a profile that is not there", base: []vars{ref(smRef), {"AWS_PROFILE": "nobody"}}, says: "no AWS profile"},
		{name: "laptop, keys without a region", base: []vars{ref(smRef), signed, {"AWS_REGION": ""}}, says: "AWS_REGION"},
		{name: "laptop, helper fails", base: []vars{ref("exec://$DIR/broken")}, says: "3"},
		{name: "laptop, helper is gone", base: []vars{ref("exec://$DIR/gone")}, says: "no such command"},
		{name: "laptop, file is gone", base: []vars{{"OPENAI_API_KEY_FILE": "$DIR/gone"}}, says: "no such file"},
		{name: "laptop, empty file", base: []vars{{"OPENAI_API_KEY_FILE": "$DIR/empty"}}, says: "empty"},
		{name: "laptop, a key as a reference", base: []vars{ref("sk-CANARY-1")}, says: "belongs in OPENAI_API_KEY"},
		{name: "laptop, a reference as a key", base: []vars{{"OPENAI_API_KEY": smRef}}, says: "OPENAI_CREDENTIAL"},
		{name: "laptop, a key as a file", base: []vars{{"OPENAI_API_KEY_FILE": "sk-CANARY-0123456789abcdef"}}, says: "looks like a key"},
		{name: "laptop, quoted key", base: []vars{{"OPENAI_API_KEY": `"sk-CANARY-1"`}}, says: "in quotes"},
	}
}

func contradictory() []environment {
	key, azureKey := vars{"OPENAI_API_KEY": "sk-CANARY-1"}, vars{"AZURE_OPENAI_API_KEY": "CANARY-azure"}
	return []environment{
		{name: "a reference and a key", base: []vars{lambda(), ref(smRef), key}, winner: "awssecretsmanager:prod/openai", asks: "secretsmanager"},
		{name: "a store that fails and a key", base: []vars{lambda(), ref("awssecretsmanager:///other"), key}, says: "no such secret", asks: "secretsmanager"},
		{name: "a store that is not there and a key", base: []vars{ref(vaultRef), key}, says: "VAULT_ADDR"},
		{name: "a store that is not there and a key that is listed", base: []vars{ref(vaultRef + " env://OPENAI_API_KEY"), key}, winner: "env:OPENAI_API_KEY"},
		{name: "a store that fails and a key that is listed", base: []vars{lambda(), ref("awssecretsmanager:///other env://OPENAI_API_KEY"), key}, says: "no such secret", asks: "secretsmanager"},
		{name: "a malformed second reference", base: []vars{key, ref("env://OPENAI_API_KEY awssecretmanager:///x")}, says: "reference 2"},
		{name: "both keys and the endpoint", base: []vars{azure(), key, azureKey}, winner: "env:AZURE_OPENAI_API_KEY"},
		{name: "both keys and no endpoint", base: []vars{key, azureKey}, winner: "env:OPENAI_API_KEY"},
		{name: "both keys and a base URL of Azure's", base: []vars{key, azureKey, {"OPENAI_BASE_URL": "https://res.openai.azure.com/openai/v1/"}}, winner: "env:AZURE_OPENAI_API_KEY"},
		{name: "a key of OpenAI's and Azure's endpoint", base: []vars{functions(), azure(), key}, says: "assign one"},
		{name: "a key and a file", base: []vars{key, {"OPENAI_API_KEY_FILE": "$DIR/key"}}, winner: "env:OPENAI_API_KEY"},
		{name: "Lambda with the variables of Azure's tools", base: []vars{lambda(), azure(), {"AZURE_TENANT_ID": "tenant"}}, says: "not looked for on AWS"},
		{name: "Functions with AWS keys", base: []vars{functions(), managed(), azure(), awstest.Caller().Env("eu-west-1"), {"AWS_LAMBDA_FUNCTION_NAME": ""}},
			winner: "azureidentity:managed-identity", asks: "identity"},
		{name: "AKS pod with a key of AWS's in it", base: []vars{aks(), azure(), {"AWS_ACCESS_KEY_ID": "CANARY"}}, winner: "azureidentity:workload-identity", asks: "entra"},
	}
}

// kind is the machine of package platformtest.
func (e environment) kind() string {
	switch {
	case e.firmware != "":
		return e.firmware
	case e.machine == "gcp":
		return "google"
	case e.machine != "":
		return e.machine
	}
	return "silent"
}

// enter makes the process one of that environment.
func (e environment) enter(t *testing.T) (*world, *auto.Options) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("its paths and commands are those of Unix; CI runs this on Linux")
	}
	clearEnv(t)
	if e.az != "" {
		azuretest.NewAz(t, e.az)
	}
	w := newWorld(t)
	w.machine = e.machine
	w.setenv(t, vars{"AWS_ENDPOINT_URL_SECRETS_MANAGER": "$URL", "AWS_ENDPOINT_URL_SSM": "$URL", "AWS_MAX_ATTEMPTS": "1", "AWS_EC2_METADATA_SERVICE_ENDPOINT": "$URL"})
	for _, env := range e.base {
		w.setenv(t, env)
	}
	w.setenv(t, e.env)
	return w, auto.Over(auto.Options{}, w)
}

// The matrix: who wins, who is asked for it, and what is said where nobody
// does. Nobody else is asked: no metadata service of another platform, and
// nobody at all where configuration decides.
func TestTheEnvironmentDecides(t *testing.T) {
	all := slices.Concat(configured(), halfConfigured(), contradictory())
	if len(all) < 40 {
		t.Errorf("%d environments, want 40", len(all))
	}
	for _, e := range all {
		t.Run(e.name, func(t *testing.T) {
			w, opts := e.enter(t)
			ctx := on(t, e.kind())
			_, _ = auto.New(opts)
			if got := w.who(); got != "" {
				t.Errorf("New asks %s", got)
			}
			v, err := firstOn(ctx, t, opts, nil)
			if got := w.who(); got != e.asks {
				t.Errorf("the source asks %q, want %q", got, e.asks)
			}
			report := auto.Explain(ctx, opts)
			if got := w.who(); got != e.asks {
				t.Errorf("Explain asks %q, want %q", got, e.asks)
			}
			checkReport(t, report)
			if e.winner == "" {
				e.lost(t, report, err)
				return
			}
			if err != nil || !strings.HasPrefix(v.Source, e.winner) || v.Source != report.Winner {
				t.Errorf("New gives %s, Explain %s, want %s: %v; %s", v.Source, report.Winner, e.winner, err, report.Error)
			}
			if v.Scheme.String() != report.Scheme || v.Version != report.Version && !strings.HasPrefix(v.Source, "openaiworkload") && !strings.HasPrefix(v.Source, "azureidentity") {
				t.Errorf("the report has scheme %q and version %q", report.Scheme, report.Version)
			}
		})
	}
}

// lost checks that no one won, and that it is clear why.
func (e environment) lost(t *testing.T, report *auto.Report, err error) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("New succeeds, with %s", report.Winner)
	case strings.Contains(err.Error(), "CANARY"):
		t.Error("the error holds a secret")
	case !strings.Contains(err.Error(), e.says):
		t.Errorf("New says %v, want %q in it", err, e.says)
	}
	if report.Winner != "" || report.Error == "" {
		t.Errorf("Explain has winner %q and error %q", report.Winner, report.Error)
	}
	if e.base == nil && !errors.Is(err, credential.ErrUnavailable) {
		t.Errorf("nothing is configured, and the error is not ErrUnavailable: %v", err)
	}
	for _, a := range report.Attempts {
		if strings.Contains(a.Why+a.Do, e.says) {
			return
		}
	}
	if !strings.Contains(report.Error, e.says) {
		t.Errorf("the report says %q nowhere: %q", e.says, report.Attempts)
	}
}
