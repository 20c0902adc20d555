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
	"github.com/latchkey-go/latchkey/internal/hidden"
	"github.com/latchkey-go/latchkey/internal/leaf"
	"github.com/latchkey-go/latchkey/internal/smallfile"
)

const (
	// maxAnswer bounds an answer of Vault, after decompression: a secret of
	// document.MaxDocument, escaped, and what is around it.
	maxAnswer = 2*document.MaxDocument + 64<<10
	// maxBundle bounds a file with certificates.
	maxBundle = 1 << 20
	// lagRetries is how often a node that lags behind (412) is asked again,
	// after lagWait, twice that, and so on. The documentation of Vault advises to retry:
	// https://developer.hashicorp.com/vault/docs/enterprise/consistency.
	lagRetries = 4
	lagWait    = 50 * time.Millisecond
	// defaultTimeout bounds a request if ctx has no deadline and
	// VAULT_CLIENT_TIMEOUT is not set.
	defaultTimeout = 60 * time.Second

	// headerCache has the Vault Lambda extension read its copy again:
	// https://github.com/hashicorp/vault-lambda-extension.
	headerCache = "X-Vault-Cache-Control"
)

// A conn is a way to Vault. It holds no token.
type conn struct {
	client  hidden.Value[*api.Client]
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
			Hint:   "set VAULT_ADDR to the address of Vault",
		}
	}
	if err := checkFiles(); err != nil {
		return nil, err
	}
	cfg := api.DefaultConfig() // it reads them, as does a copy
	if o.Client != nil {
		cfg = o.Client.CloneConfig()
	}
	unix := isSocket(cfg)
	if unix && (o.Client != nil || o.Transport != nil) {
		return nil, taken()
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
	if plain := address(client.Address()); plain != client.Address() {
		if err := client.SetAddress(plain); err != nil {
			return nil, badEnvironment()
		}
	}
	local := isLoopback(client.Address())
	via := leaf.HTTP{Transport: o.Transport, MaxAnswer: maxAnswer, Plain: leaf.PlainHTTP(o.PlainHTTP || unix)}
	if own, ok := cfg.HttpClient.Transport.(*http.Transport); ok && o.Client == nil {
		via.Base = own
	} else if o.Transport == nil {
		via.Transport = cfg.HttpClient.Transport // the user's
	}
	cfg.HttpClient = via.Client()
	if o.Client != nil {
		client.SetHeaders(o.Client.Headers())
	}
	if o.Namespace != "" {
		client.SetNamespace(o.Namespace)
	}
	client.ClearToken()
	// VAULT_WRAP_TTL would have every answer wrapped.
	client.SetWrappingLookupFunc(func(string, string) string { return "" })
	return &conn{
		client:  hidden.Of(client),
		timeout: timeout,
		agent:   unix || local || cfg.AgentAddress != "",
	}, nil
}

// isSocket reports whether the address is a Unix socket. An agent's goes before
// the server's, as in vault/api.
func isSocket(cfg *api.Config) bool {
	address := cfg.Address
	if cfg.AgentAddress != "" {
		address = cfg.AgentAddress
	}
	return strings.HasPrefix(address, "unix://")
}

// taken refuses a Unix socket beside a transport that somebody chose. For such
// an address vault/api puts a dialer of its own into the transport of its
// client: one that stood there, such as the one of a dialguard, is gone, and
// nothing shows that it was there. Options.Transport would look for Vault at
// http://localhost instead.
func taken() error {
	return &credential.SourceError{
		Source: sourceName, Op: "read the address",
		Err:  final("it is a Unix socket, which would be dialed around the Client or the Transport in the Options"),
		Hint: "leave both out, and set VAULT_ADDR or VAULT_AGENT_ADDR to the socket; or use http://localhost as the address, with a Transport that dials the socket",
	}
}

// checkFiles looks at the files that vault/api reads without a look at what they
// are.
func checkFiles() error {
	for _, variable := range [...]string{api.EnvVaultCACert, api.EnvVaultClientCert, api.EnvVaultClientKey} {
		if path := os.Getenv(variable); path != "" {
			if _, err := smallfile.Read(path, maxBundle); err != nil {
				return &credential.SourceError{Source: sourceName, Op: "read " + variable, Err: final("the file cannot be read: " + err.Error()),
					Hint: "correct " + variable + ", or let the process read the file"}
			}
		}
	}
	return nil
}

// badEnvironment does not quote vault/api, whose errors hold values.
func badEnvironment() error {
	return &credential.SourceError{
		Source: sourceName, Op: "read the VAULT_* variables", Err: final("one of them is malformed, or names a file that cannot be read"),
		Hint: "look at VAULT_ADDR, VAULT_CACERT, VAULT_CAPATH, VAULT_CLIENT_CERT, VAULT_CLIENT_KEY, VAULT_HEADERS, and those that are numbers or booleans",
	}
}

// address takes off what stands behind the address of Vault where people copy
// it from: the version of the API, or a page of the user interface.
func address(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	path := strings.TrimRight(u.Path, "/")
	if before, _, ok := strings.Cut(path+"/", "/ui/"); ok {
		path = before
	}
	u.Path, u.RawPath = strings.TrimSuffix(path, "/v1"), ""
	u.RawQuery, u.Fragment = "", ""
	return u.String()
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

// A call is one request to Vault.
type call struct {
	path   string
	params url.Values
	body   any // nil: a GET
	token  string
	index  string // of a write that the answer must not lag behind
	fresh  bool   // past a cache on the way
}

// A reply is the part of an answer that we read.
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
			return nil, &refusal{code, reasonForeign}
		}
		return r, newRefusal(code, r.Errors)
	case r == nil:
		return nil, errGarbled
	}
	return r, nil
}
