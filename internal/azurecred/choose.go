package azurecred

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/managedidentity"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/leaf"
	"github.com/latchkey-go/latchkey/internal/platform"
	"github.com/latchkey-go/latchkey/internal/smallfile"
)

// The names of identities, in errors and in Value.Source.
const (
	principal = "service principal"
	workload  = "workload identity"
	managed   = "managed identity"
	cli       = "az"
	developer = "azd"
	shell     = "pwsh"
)

// asked is what AZURE_TOKEN_CREDENTIALS leaves of the list. The values are
// azidentity's.
type asked struct {
	names map[string]bool
	said  bool // it is set
}

func readAsked() (asked, error) {
	dev, prod := []string{cli, developer, shell}, []string{principal, workload, managed}
	set := func(names ...string) (asked, error) {
		a := asked{names: map[string]bool{}, said: true}
		for _, n := range names {
			a.names[n] = true
		}
		return a, nil
	}
	value := strings.TrimSpace(os.Getenv("AZURE_TOKEN_CREDENTIALS"))
	switch strings.ToLower(value) {
	case "":
		a, err := set(append(prod, dev...)...)
		a.said = false
		return a, err
	case "dev":
		return set(dev...)
	case "prod":
		return set(prod...)
	case "environmentcredential":
		return set(principal)
	case "workloadidentitycredential":
		return set(workload)
	case "managedidentitycredential":
		return set(managed)
	case "azureclicredential":
		return set(cli)
	case "azuredeveloperclicredential":
		return set(developer)
	case "azurepowershellcredential":
		return set(shell)
	}
	return asked{}, errors.New("it is none of dev, prod, EnvironmentCredential, WorkloadIdentityCredential, ManagedIdentityCredential, " +
		"AzureCLICredential, AzureDeveloperCLICredential, AzurePowerShellCredential")
}

// candidates lists the identities to try, in order, and says of the others
// what they lack. The error is final: something is configured, and wrong.
func (c *Credential) candidates(here platform.Place) (list []*identity, missing []string, err error) {
	want, err := readAsked()
	if err != nil {
		return nil, nil, c.broken("AZURE_TOKEN_CREDENTIALS", err, "correct it or unset it")
	}
	for _, find := range []func(asked, platform.Place) (*identity, string, error){c.principal, c.workload, c.endpoint} {
		id, lack, err := find(want, here)
		switch {
		case err != nil:
			return nil, nil, err
		case id != nil:
			return []*identity{id}, nil, nil
		case lack != "":
			missing = append(missing, lack)
		}
	}
	developers, lack := c.developers(want, here)
	missing = append(missing, lack...)
	machine, why := c.machine(want, here)
	switch {
	case machine == nil:
		missing = append(missing, why)
		return developers, missing, nil
	case machine.ready == nil: // it is configured
		return append([]*identity{machine}, developers...), missing, nil
	}
	return append(developers, machine), missing, nil
}

func (c *Credential) clientID() string {
	return first(c.opts().ClientID, os.Getenv("AZURE_CLIENT_ID"))
}

func (c *Credential) tenantID() string {
	return first(c.opts().TenantID, os.Getenv("AZURE_TENANT_ID"))
}

// principal is the service principal of the environment.
func (c *Credential) principal(want asked, _ platform.Place) (*identity, string, error) {
	if !want.names[principal] {
		return nil, "", nil
	}
	secret, path := os.Getenv("AZURE_CLIENT_SECRET"), os.Getenv("AZURE_CLIENT_CERTIFICATE_PATH")
	if secret == "" && path == "" {
		return nil, principal + ": neither AZURE_CLIENT_SECRET nor AZURE_CLIENT_CERTIFICATE_PATH is set", nil
	}
	if err := c.needs(principal); err != nil {
		return nil, "", err
	}
	if unresolved(secret) {
		return nil, "", c.broken("AZURE_CLIENT_SECRET", errUnresolved, hintUnresolved)
	}
	var cred azcore.TokenCredential
	var err error
	if secret != "" {
		cred, err = azidentity.NewClientSecretCredential(c.tenantID(), c.clientID(), secret, &azidentity.ClientSecretCredentialOptions{
			ClientOptions: c.clientOptions(c.web, Retries), DisableInstanceDiscovery: c.opts().DisableInstanceDiscovery, AdditionallyAllowedTenants: otherTenants(),
		})
	} else {
		cred, err = c.certificate(path)
	}
	if err != nil {
		return nil, "", c.unbuilt(principal, err)
	}
	return &identity{name: principal, get: cred.GetToken}, "", nil
}

func (c *Credential) certificate(path string) (azcore.TokenCredential, error) {
	file, err := smallfile.Read(path, smallfile.Max)
	if err != nil {
		return nil, c.broken("AZURE_CLIENT_CERTIFICATE_PATH", fmt.Errorf("the file cannot be read: %w", err), "let the process read it, or correct the path")
	}
	certs, key, err := azidentity.ParseCertificates(file.Text, []byte(os.Getenv("AZURE_CLIENT_CERTIFICATE_PASSWORD")))
	if err != nil {
		return nil, c.broken("AZURE_CLIENT_CERTIFICATE_PATH", errors.New("the file is no PEM or PKCS#12 with a certificate and its private key"),
			"check it, and AZURE_CLIENT_CERTIFICATE_PASSWORD; PKCS#12 with an algorithm that Go does not know has to be converted to PEM")
	}
	if len(certs) > 0 && certs[0].NotAfter.Before(now()) {
		return nil, c.broken("AZURE_CLIENT_CERTIFICATE_PATH", fmt.Errorf("the certificate expired at %s", stamp(certs[0].NotAfter)),
			"make a new one and add it to the app registration")
	}
	if _, ok := key.(*rsa.PrivateKey); !ok {
		return nil, c.broken("AZURE_CLIENT_CERTIFICATE_PATH", errors.New("the private key is not RSA"), "Entra and the SDK take RSA keys only: make a certificate with one")
	}
	chain := strings.ToLower(os.Getenv("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN"))
	return azidentity.NewClientCertificateCredential(c.tenantID(), c.clientID(), certs, key, &azidentity.ClientCertificateCredentialOptions{ //nolint:wrapcheck // unbuilt does
		ClientOptions: c.clientOptions(c.web, Retries), DisableInstanceDiscovery: c.opts().DisableInstanceDiscovery, AdditionallyAllowedTenants: otherTenants(),
		SendCertificateChain: chain == "1" || chain == "true",
	})
}

// workload is the federated identity of a Kubernetes service account.
func (c *Credential) workload(want asked, _ platform.Place) (*identity, string, error) {
	if !want.names[workload] {
		return nil, "", nil
	}
	if os.Getenv("AZURE_FEDERATED_TOKEN_FILE") == "" {
		return nil, workload + ": AZURE_FEDERATED_TOKEN_FILE is unset", nil
	}
	if err := c.needs(workload); err != nil {
		return nil, "", err
	}
	// Not the SDK's own credential of that name, which reads any file.
	cred, err := azidentity.NewClientAssertionCredential(c.tenantID(), c.clientID(), c.assertion, &azidentity.ClientAssertionCredentialOptions{
		ClientOptions: c.clientOptions(c.web, Retries), DisableInstanceDiscovery: c.opts().DisableInstanceDiscovery, AdditionallyAllowedTenants: otherTenants(),
	})
	if err != nil {
		return nil, "", c.unbuilt(workload, err)
	}
	return &identity{name: workload, get: cred.GetToken}, "", nil
}

// assertion reads the token of the service account. The SDK makes text of its
// error, and so that is noted.
func (c *Credential) assertion(ctx context.Context) (string, error) {
	const variable = "AZURE_FEDERATED_TOKEN_FILE"
	file, err := smallfile.Read(os.Getenv(variable), smallfile.Max)
	if err != nil {
		broken := c.broken(variable, fmt.Errorf("the file cannot be read: %w", err), "mount the token, and let the process read it")
		broken.Transient = true // the kubelet replaces it
		seen, _ := ctx.Value(seenKey{}).(*Seen)
		seen.note(&Seen{Err: broken})
		return "", broken
	}
	return strings.TrimSpace(string(file.Text)), nil
}

// needs checks the two ids that an application is known by.
func (c *Credential) needs(name string) error {
	for variable, value := range map[string]string{"AZURE_TENANT_ID": c.tenantID(), "AZURE_CLIENT_ID": c.clientID()} {
		if value == "" {
			return c.broken(variable, errors.New("it is unset, and the "+name+" needs it"), "set it to the id that the app registration shows")
		}
	}
	return nil
}

// endpoint is the managed identity of a platform that names its endpoint.
func (c *Credential) endpoint(want asked, here platform.Place) (*identity, string, error) {
	if !want.names[managed] {
		return nil, "", nil
	}
	source, err := managedidentity.GetSource()
	if err != nil {
		return nil, "", c.unbuilt(managed, err)
	}
	if source == managedidentity.DefaultToIMDS {
		lack := managed + ": IDENTITY_ENDPOINT and IDENTITY_HEADER are unset"
		if here.Cloud == platform.Azure && here.Service != "" && here.Service != platform.Kubernetes {
			lack += ", which they are while the app has no identity: assign one"
		}
		return nil, lack, nil
	}
	id, err := c.managed(source == managedidentity.ServiceFabric)
	return id, "", err
}

// managed builds the managed identity.
func (c *Credential) managed(pinned bool) (*identity, error) {
	o := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: c.clientOptions(c.mi, patience)}
	if pinned && c.opts().Transport == nil { // the SDK pins the endpoint's certificate, in a plain transport only
		direct := leaf.NewTransport(nil)
		direct.Proxy = nil
		o.Transport = &http.Client{Transport: direct}
	}
	if id := c.clientID(); id != "" {
		o.ID = azidentity.ClientID(id)
	}
	cred, err := azidentity.NewManagedIdentityCredential(o)
	if err != nil {
		return nil, c.unbuilt(managed, err)
	}
	return &identity{name: managed, get: func(ctx context.Context, tro policy.TokenRequestOptions) (azcore.AccessToken, error) {
		// The SDK has one cache of these tokens for the whole process, which
		// does not keep the hint when to refresh. With claims it is passed over;
		// they go no further.
		if tro.Claims == "" {
			tro.Claims = "{}"
		}
		return cred.GetToken(ctx, tro)
	}}, nil
}

// developers are the tools that a developer may be logged in to.
func (c *Credential) developers(want asked, here platform.Place) (list []*identity, missing []string) {
	if !want.names[cli] && !want.names[developer] && !want.names[shell] {
		return nil, nil
	}
	if here.Service != "" && !want.said {
		return nil, []string{"developer identity: not looked for on " + here.Name()}
	}
	tenant, others := c.tenantID(), otherTenants()
	for _, tool := range []struct {
		name string
		make func() (azcore.TokenCredential, error)
	}{
		{cli, func() (azcore.TokenCredential, error) {
			return azidentity.NewAzureCLICredential(&azidentity.AzureCLICredentialOptions{TenantID: tenant, AdditionallyAllowedTenants: others})
		}},
		{developer, func() (azcore.TokenCredential, error) {
			return azidentity.NewAzureDeveloperCLICredential(&azidentity.AzureDeveloperCLICredentialOptions{TenantID: tenant, AdditionallyAllowedTenants: others})
		}},
		{shell, func() (azcore.TokenCredential, error) {
			return azidentity.NewAzurePowerShellCredential(&azidentity.AzurePowerShellCredentialOptions{TenantID: tenant, AdditionallyAllowedTenants: others})
		}},
	} {
		if !want.names[tool.name] {
			continue
		}
		if !onPath(tool.name) {
			missing = append(missing, tool.name+": not on PATH")
			continue
		}
		cred, err := tool.make()
		if err != nil {
			missing = append(missing, tool.name+": the SDK refuses its options; check AZURE_TENANT_ID")
			continue
		}
		list = append(list, &identity{name: tool.name, get: c.oneByOne(cred)})
	}
	return list, missing
}

// oneByOne starts one process at a time, and another when the SDK stopped
// listening to the first too early: it gives a process that has ended 100 ms
// to be read, which a busy machine may not.
func (c *Credential) oneByOne(cred azcore.TokenCredential) func(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return func(ctx context.Context, tro policy.TokenRequestOptions) (azcore.AccessToken, error) {
		select {
		case c.slot <- struct{}{}:
			defer func() { <-c.slot }()
		case <-ctx.Done():
			return azcore.AccessToken{}, context.Cause(ctx)
		}
		token, err := cred.GetToken(ctx, tro)
		if err != nil && ctx.Err() == nil && strings.Contains(err.Error(), unheard) {
			token, err = cred.GetToken(ctx, tro)
		}
		return token, err //nolint:wrapcheck // ask does
	}
}

const unheard = "WaitDelay expired"

func onPath(tool string) bool {
	if _, err := exec.LookPath(tool); err == nil {
		return true
	}
	if tool == shell { // what Windows has by itself
		_, err := exec.LookPath("powershell.exe")
		return err == nil
	}
	return false
}

func (c *Credential) clientOptions(t policy.Transporter, retries func(policy.RetryOptions) policy.RetryOptions) policy.ClientOptions {
	o := c.opts().ClientOptions
	o.Transport = t
	if o.Retry.MaxRetries == 0 && o.Retry.RetryDelay == 0 && o.Retry.MaxRetryDelay == 0 {
		o.Retry = retries(o.Retry)
	}
	return o
}

func otherTenants() []string {
	if list := os.Getenv("AZURE_ADDITIONALLY_ALLOWED_TENANTS"); list != "" {
		return strings.Split(list, ";")
	}
	return nil
}

func (c *Credential) broken(variable string, err error, hint string) *credential.SourceError {
	return &credential.SourceError{Source: c.opts().Source, Op: "read " + variable, Err: err, Hint: hint}
}

// unbuilt is why the SDK refuses to build an identity. Its texts quote ids and
// paths only, but nobody promises that.
func (c *Credential) unbuilt(name string, err error) error {
	if se := (*credential.SourceError)(nil); errors.As(err, &se) {
		return se
	}
	return &credential.SourceError{Source: c.opts().Source, Op: "set up the " + name, Err: errors.New("the SDK refuses the configuration"),
		Hint: "check the ids, AZURE_AUTHORITY_HOST (https only) and the cloud"}
}
