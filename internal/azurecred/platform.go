package azurecred

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/metadata"
	"github.com/latchkey-go/latchkey/internal/platform"
)

const imds = "http://" + metadata.Host + "/metadata/identity/oauth2/token"

// named tells what asks for a managed identity by name; empty if nothing does.
func (c *Credential) named(want asked) string {
	switch {
	case c.opts().ClientID != "":
		return "the option ClientID names one"
	case os.Getenv("AZURE_CLIENT_ID") != "":
		return "AZURE_CLIENT_ID names one"
	case want.names[managed] && !want.names[cli]:
		return "AZURE_TOKEN_CREDENTIALS asks for one"
	}
	return ""
}

// machine is the managed identity of a virtual machine, or why it is not
// asked for. It is configured if somebody names it, or the machine is known to
// be in Azure; otherwise its endpoint is probed.
func (c *Credential) machine(want asked, here platform.Place) (id *identity, why string) {
	name := c.named(want)
	chance := here.Metadata(platform.Azure)
	switch {
	case !want.names[managed]:
		return nil, managed + ": AZURE_TOKEN_CREDENTIALS leaves it out"
	case chance == platform.Never && here.Why == "":
		return nil, managed + " of a virtual machine: not looked for on a Mac"
	case chance == platform.Never:
		return nil, managed + " of a virtual machine: not looked for on " + here.Name() + ": " + here.Why
	case here.Service == platform.Kubernetes && name == "": // the node's
		return nil, managed + " of a virtual machine: not looked for on Kubernetes without AZURE_CLIENT_ID"
	}
	id, err := c.managed(false)
	switch {
	case err != nil:
		return nil, managed + ": the SDK refuses the configuration"
	case name != "":
		id.named, id.why = true, name
	case chance == platform.Surely:
		id.why = "the machine is in Azure: " + here.Why
	default:
		id.ready = c.probe
	}
	return id, ""
}

// probe asks the endpoint of virtual machines whether it is there and Azure's.
// Without the header Metadata it refuses, in a form of its own; the endpoints
// of other clouds at this address, and proxies, answer in others. That nobody
// answers in time is a guess.
func (c *Credential) probe(ctx context.Context) error {
	no := func(guess bool, what string) error {
		return &credential.SourceError{Source: c.opts().Source, Op: "look for the identity endpoint of a virtual machine",
			Err: fmt.Errorf("%w: %s", credential.ErrUnavailable, what), Guess: guess}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, imds, nil)
	if err != nil {
		return no(false, "malformed request")
	}
	resp, cancel, err := metadata.Probe(ctx, c.mi.Do, req)
	switch {
	case metadata.IsSilence(err):
		return no(true, err.Error())
	case err != nil:
		return err //nolint:wrapcheck // the end of ctx
	}
	defer cancel()
	defer func() { _ = resp.Body.Close() }()
	var doc struct{ Error string }
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 16<<10)) // what came will do
	if resp.StatusCode != http.StatusBadRequest || json.Unmarshal(body, &doc) != nil || doc.Error == "" {
		other := metadata.Of(resp.Header)
		return no(other == platform.Unknown, fmt.Sprintf("what answers at 169.254.169.254 with status %d is not Azure's endpoint", resp.StatusCode))
	}
	return nil
}

// patience is what the SDK repeats by itself for a managed identity: its own
// limits for virtual machines, where it waits 97 s in all, with shorter waits at
// first. The endpoint may be starting, and nothing else takes its place.
func patience(o policy.RetryOptions) policy.RetryOptions {
	o.MaxRetries, o.RetryDelay, o.MaxRetryDelay = 9, 300*time.Millisecond, 25*time.Second
	return o
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
