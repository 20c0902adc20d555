package hashivault

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/document"
)

const (
	// maxAnswer bounds an answer of Vault, after decompression: a secret of
	// document.MaxDocument, escaped, and what is around it.
	maxAnswer = 2*document.MaxDocument + 64<<10
	// lagRetries is how often a node that lags behind (412) is asked again,
	// after lagWait, twice that, and so on. Vault's own advice is to retry:
	// https://developer.hashicorp.com/vault/docs/enterprise/consistency.
	lagRetries = 4
	lagWait    = 50 * time.Millisecond
	// defaultTimeout bounds a request if neither ctx nor VAULT_CLIENT_TIMEOUT does.
	defaultTimeout = 60 * time.Second

	// headerCache has the Vault Lambda extension read its copy again:
	// https://github.com/hashicorp/vault-lambda-extension.
	headerCache = "X-Vault-Cache-Control"
)

// A conn is a way to Vault. It holds no token.
type conn struct {
	client  func() *api.Client
	timeout time.Duration
	// agent tells that a Vault Agent may be there, which has a token.
	agent bool
}

// dial makes a conn of the options and the environment. It opens no
// connection, but reads the files of certificates.
func dial(o *Options) (*conn, error) {
	if o.Client == nil && os.Getenv(api.EnvVaultAddress) == "" && os.Getenv(api.EnvVaultAgentAddr) == "" {
		return nil, &credential.SourceError{
			Source: sourceName,
			Err:    &plain{credential.ErrUnavailable.Error() + ": neither VAULT_ADDR nor VAULT_AGENT_ADDR is set", credential.ErrUnavailable},
			Hint:   "set one of them, or Options.Client",
		}
	}
	cfg := api.DefaultConfig()
	if o.Client != nil {
		cfg = o.Client.CloneConfig()
	}
	timeout := cfg.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	// vault/api ends its own timeout before the answer to a write is read.
	cfg.Timeout = 0
	cfg.MaxRetries = 0
	cfg.CheckRetry = func(context.Context, *http.Response, error) (bool, error) { return false, nil }
	cfg.Logger = nil
	cfg.DisableRedirects = true
	cfg.ReadYourWrites = false
	client, err := api.NewClient(cfg)
	if err != nil || cfg.Error != nil {
		return nil, badEnvironment()
	}
	cfg.HttpClient.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	cfg.HttpClient.Transport = &capped{cfg.HttpClient.Transport}
	if o.Client != nil {
		client.SetHeaders(o.Client.Headers())
	}
	if o.Namespace != "" {
		client.SetNamespace(o.Namespace)
	}
	client.ClearToken()
	// VAULT_WRAP_TTL would have every answer wrapped.
	client.SetWrappingLookupFunc(func(string, string) string { return "" })
	unix, local := strings.HasPrefix(cfg.Address, "unix://"), isLoopback(client.Address())
	if strings.HasPrefix(client.Address(), "http://") && !unix && !local && !o.PlainHTTP {
		return nil, &credential.SourceError{
			Source: sourceName, Op: "connect", Err: final("the address is plain http to another machine, which shows the token to the network"),
			Hint: "use https, or set Options.PlainHTTP",
		}
	}
	return &conn{
		client:  func() *api.Client { return client },
		timeout: timeout,
		agent:   unix || local || cfg.AgentAddress != "",
	}, nil
}

// badEnvironment does not quote vault/api, whose errors hold values.
func badEnvironment() error {
	return &credential.SourceError{
		Source: sourceName, Op: "read the VAULT_* variables", Err: final("one of them is malformed, or names a file that cannot be read"),
		Hint: "look at VAULT_ADDR, VAULT_CACERT, VAULT_CAPATH, VAULT_CLIENT_CERT, VAULT_CLIENT_KEY, VAULT_HEADERS, and those that are numbers or booleans",
	}
}

func isLoopback(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	host := u.Hostname()
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback()
	}
	return host == "localhost"
}

// capped bounds the bodies that vault/api reads to their end, and makes an
// error of a redirect, which vault/api takes for a success.
type capped struct{ base http.RoundTripper }

func (t *capped) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(req)
	switch {
	case err != nil:
		return resp, err
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		_ = resp.Body.Close() // there is nothing in it for us
		return nil, &refusal{resp.StatusCode, "a redirect"}
	}
	resp.Body = &cappedBody{resp.Body, maxAnswer}
	return resp, nil
}

type cappedBody struct {
	io.ReadCloser
	left int
}

func (b *cappedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, tooLarge()
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// A call is one request to Vault.
type call struct {
	path   string
	params url.Values
	body   any // nil: a GET
	token  string
	index  string // of a write that the answer must not lag behind
	fresh  bool   // past a cache on the way
}

// A reply is what we read of Vault's answers.
type reply struct {
	LeaseID       string          `json:"lease_id"`
	LeaseDuration int64           `json:"lease_duration"`
	Renewable     bool            `json:"renewable"`
	Data          json.RawMessage `json:"data"`
	Auth          *struct {
		LeaseDuration int64 `json:"lease_duration"`
		Renewable     bool  `json:"renewable"`
	} `json:"auth"`
	Errors []string `json:"errors"`
}

// do sends c, again while the node lags behind. A refusal comes with the reply,
// if there is one.
func (k *conn) do(ctx context.Context, c call) (*reply, error) {
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	for try := 0; ; try++ {
		r, err := k.once(ctx, c)
		if refused(err) != http.StatusPreconditionFailed || try == lagRetries {
			return r, err
		}
		timer := time.NewTimer(lagWait << try)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, known(ctx.Err())
		}
	}
}

func (k *conn) once(ctx context.Context, c call) (*reply, error) {
	logical := k.client().WithRequestCallbacks(func(r *api.Request) {
		r.ClientToken = c.token
		if c.index != "" {
			r.Headers.Set(api.HeaderIndex, c.index)
			r.Headers.Set(api.HeaderInconsistent, "forward-active-node")
		}
		if c.fresh {
			r.Headers.Set(headerCache, "recache")
		}
	}).Logical()
	var (
		resp *api.Response
		err  error
	)
	if c.body == nil {
		resp, err = logical.ReadRawWithDataWithContext(ctx, c.path, c.params)
	} else {
		body, encodeErr := json.Marshal(c.body)
		if encodeErr != nil {
			return nil, final("the request cannot be encoded")
		}
		resp, err = logical.WriteRawWithContext(ctx, c.path, body)
	}
	return parse(resp, err)
}

func parse(resp *api.Response, err error) (*reply, error) {
	if resp == nil || resp.Response == nil {
		if err == nil {
			err = errGarbled
		}
		return nil, known(err)
	}
	defer func() { _ = resp.Body.Close() }()
	// vault/api has read the body of an error already.
	if err != nil && !errors.As(err, new(*api.ResponseError)) {
		return nil, known(err)
	}
	data, readErr := io.ReadAll(resp.Body)
	if readErr != nil {
		return nil, known(readErr)
	}
	r := &reply{}
	if decodeErr := json.Unmarshal(data, r); decodeErr != nil {
		r = nil
	}
	switch code := resp.StatusCode; {
	case code == http.StatusNoContent:
		return &reply{}, nil
	case code < 200 || code > 299:
		if r == nil {
			return nil, newRefusal(code, nil)
		}
		return r, newRefusal(code, r.Errors)
	case r == nil:
		return nil, errGarbled
	}
	return r, nil
}
