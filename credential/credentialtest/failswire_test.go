package credentialtest_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"os"
	"testing"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
)

// A wired source reads over HTTP as it should, but for what its fields say.
type wired struct {
	transport                               http.RoundTripper
	follows, endless, strict, final, wooden bool
}

func (w wired) Retrieve(ctx context.Context) (credential.Value, error) {
	client := &http.Client{Transport: w.transport}
	if !w.follows {
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	fail := func(err error, transient bool) (credential.Value, error) {
		return credential.Value{}, &credential.SourceError{Source: "bad", Err: err, Hint: "wait", Transient: transient}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://store.test/", http.NoBody)
	if err != nil {
		return fail(errors.New("no request"), false)
	}
	resp, err := client.Do(req)
	cert := (*tls.CertificateVerificationError)(nil)
	switch {
	case ctx.Err() != nil && w.wooden:
		return fail(ctx.Err(), true)
	case ctx.Err() != nil:
		return fail(context.Cause(ctx), true)
	case errors.As(err, &cert):
		return fail(errors.New("the certificate is not trusted"), !w.strict)
	case err != nil:
		return fail(errors.New("no answer"), true)
	}
	defer func() { _ = resp.Body.Close() }()
	most := int64(1 << 20)
	if w.endless {
		most = 1 << 40
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, most))
	return fail(errors.New("no answer of the store"), !w.final || resp.StatusCode < 500)
}

// badWires each break one rule about requests and files.
var badWires = map[string]wired{
	"follows no redirect":                     {follows: true},
	"reads no answer without an end":          {endless: true},
	"does not trust a stranger's certificate": {strict: true},
	"takes what passes for transient":         {final: true},
	"gives the cause of its context's end":    {wooden: true},
}

func brokenConfig(name string, cfg credentialtest.Config) credentialtest.Config {
	if w, ok := badWires[name]; ok {
		cfg.HTTP = func(_ *testing.T, transport http.RoundTripper) credential.Source {
			w.transport = transport
			return w
		}
	}
	if name == "reads small regular files only" {
		cfg.File = func(_ *testing.T, path string) credential.Source {
			return sourceOf(func(context.Context) (credential.Value, error) {
				if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
					return credential.Value{}, errors.New("no file")
				}
				_, err := os.ReadFile(path)
				return value("sk-CANARY-conformance-1"), err
			})
		}
	}
	return cfg
}

// A renamed source has another name than its values.
type renamed struct{ credential.Source }

func (renamed) String() string { return "another" }

func TestAGoodSourceOverHTTPPasses(t *testing.T) {
	credentialtest.TestSource(t, credentialtest.Config{
		New: func(t *testing.T, secret string) credentialtest.Harness {
			return credentialtest.Harness{Source: credentialtest.NewStore(secret), Held: func() int { return 0 }}
		},
		HTTP: func(_ *testing.T, transport http.RoundTripper) credential.Source { return wired{transport: transport} },
		File: func(_ *testing.T, path string) credential.Source { return credential.File(path) },
	})
}
