package azurecred

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/latchkey-go/latchkey/credential"
)

const (
	azure  = "Azure"
	amazon = "AWS"

	imds = "http://169.254.169.254/metadata/identity/oauth2/token"
	// probeTime is how long a machine has to answer that it is in Azure, where
	// nothing says so; sureProbeTime where a client id or
	// AZURE_TOKEN_CREDENTIALS does.
	probeTime     = 500 * time.Millisecond
	sureProbeTime = 3 * time.Second
)

// platform names the platform that has left its marks in the environment.
func platform() string {
	for _, mark := range []struct{ platform, names string }{
		{amazon, "AWS_LAMBDA_FUNCTION_NAME AWS_LAMBDA_RUNTIME_API AWS_EXECUTION_ENV ECS_CONTAINER_METADATA_URI_V4 ECS_CONTAINER_METADATA_URI " +
			"AWS_CONTAINER_CREDENTIALS_FULL_URI AWS_CONTAINER_CREDENTIALS_RELATIVE_URI AWS_WEB_IDENTITY_TOKEN_FILE"},
		{"Google Cloud", "K_SERVICE FUNCTION_TARGET GAE_SERVICE CLOUD_RUN_JOB"},
		{azure, "WEBSITE_SITE_NAME WEBSITE_INSTANCE_ID CONTAINER_APP_NAME IDENTITY_ENDPOINT MSI_ENDPOINT"},
		{"Kubernetes", "KUBERNETES_SERVICE_HOST"},
	} {
		for name := range strings.FieldsSeq(mark.names) {
			if os.Getenv(name) != "" {
				return mark.platform
			}
		}
	}
	// The Core Tools set it on a developer's machine, too, and say so.
	if os.Getenv("FUNCTIONS_WORKER_RUNTIME") != "" && os.Getenv("AZURE_FUNCTIONS_ENVIRONMENT") != "Development" {
		return azure
	}
	return ""
}

// machine is the managed identity of a virtual machine, or why it is not
// asked for.
func (c *Credential) machine(want asked, here string) (id *identity, why string) {
	sure := c.clientID() != "" || want.single
	switch {
	case !want.names[managed]:
		return nil, managed + ": AZURE_TOKEN_CREDENTIALS leaves it out"
	case here == azure:
		return nil, managed + " of a virtual machine: not looked for on " + azure + "'s platforms"
	case here == "Kubernetes" && sure:
		// the nodes of AKS are virtual machines
	case here != "":
		return nil, managed + " of a virtual machine: not looked for on " + here
	}
	id, err := c.managed(false)
	if err != nil {
		return nil, managed + ": the SDK refuses the configuration"
	}
	wait := probeTime
	if sure {
		wait = sureProbeTime
	}
	id.ready = func(ctx context.Context) error { return c.probe(ctx, wait) }
	return id, ""
}

// probe asks the endpoint of virtual machines whether it is there and Azure's.
// Without the header Metadata it refuses, in a form of its own; the endpoints
// of other clouds at this address, and proxies, answer in others.
func (c *Credential) probe(ctx context.Context, wait time.Duration) error {
	no := func(what string) error {
		return &credential.SourceError{Source: c.opts().Source, Op: "look for the identity endpoint of a virtual machine",
			Err: fmt.Errorf("%w: %s", credential.ErrUnavailable, what)}
	}
	short, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	req, err := http.NewRequestWithContext(short, http.MethodGet, imds, nil)
	if err != nil {
		return no("malformed request")
	}
	resp, err := c.mi.Do(req)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil && errors.Is(err, context.DeadlineExceeded):
		return no(fmt.Sprintf("nothing answers at 169.254.169.254 within %v", wait))
	case err != nil:
		return no("nothing answers at 169.254.169.254")
	}
	defer func() { _ = resp.Body.Close() }()
	var doc struct{ Error string }
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 16<<10)) // what came will do
	if resp.StatusCode != http.StatusBadRequest || json.Unmarshal(body, &doc) != nil || doc.Error == "" {
		return no(fmt.Sprintf("what answers at 169.254.169.254 with status %d is not Azure's endpoint", resp.StatusCode))
	}
	return nil
}

// Retries bounds what the SDK repeats by itself: the Cache above repeats as
// well, and bridges.
func Retries(o policy.RetryOptions) policy.RetryOptions {
	o.MaxRetries, o.RetryDelay, o.MaxRetryDelay = 2, 200*time.Millisecond, 2*time.Second
	return o
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// checkID admits ids and domain names, as azidentity does.
func checkID(what, id string) error {
	for i := range len(id) {
		if c := id[i]; !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.') {
			return fmt.Errorf("%s: byte %d cannot stand in an id; want letters, digits, dots and dashes", what, i+1)
		}
	}
	return nil
}
