package storm

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/auth"
	"github.com/openai/openai-go/v3/option"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
)

// A Contender is a client that is put into the storm.
type Contender struct {
	Name string
	What string
	// Ours is true for those that latchkey's promises hold for.
	Ours bool
	make func(*service, *store, Times) (func(ctx context.Context, call int) error, error)
}

// Contenders returns all of them.
func Contenders() []Contender {
	return []Contender{
		{"latchkey", "client.Post", true, newPost},
		{"openai-go+latchkey", "openai-go with client.Options", true, newOptions},
		{"openai-go static", "openai-go with the key that was read at the start", false, newStatic},
		{"openai-go refetch", "openai-go; on a 401 the key is read, a new client made, and the call repeated once", false, newRefetch},
		{"openai-go workload", "openai-go with option.WithWorkloadIdentity; the token exchange is the store", false, newWorkload},
	}
}

var errStoreGone = errors.New("storm: the read of the store was canceled")

// newTransport is what a program has that trusts the service.
func newTransport(svc *service) *http.Transport {
	return &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: svc.roots(), MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 100,
	}
}

func newLatchkey(svc *service, st *store, t Times) (*client.Client, error) {
	src := credential.SourceFunc(func(ctx context.Context) (credential.Value, error) {
		key, ok := st.read(ctx.Done())
		if !ok {
			return credential.Value{}, context.Cause(ctx)
		}
		return credential.Value{Secret: credential.NewSecret(key)}, nil
	})
	c, err := client.New(client.Config{
		Source: src, Cache: &credential.CacheOptions{Grace: t.Grace},
		BaseURL: svc.url(), Transport: newTransport(svc),
		Middleware: []func(http.RoundTripper) http.RoundTripper{numbered},
	})
	if err != nil {
		return nil, fmt.Errorf("storm: %w", err)
	}
	return c, nil
}

type callKey struct{}

// numbered sends the number of the call, which client.Post has no header for.
func numbered(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		if call, ok := req.Context().Value(callKey{}).(int); ok {
			req = req.Clone(req.Context())
			req.Header.Set(callHeader, strconv.Itoa(call))
		}
		return next.RoundTrip(req)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func newPost(svc *service, st *store, t Times) (func(context.Context, int) error, error) {
	c, err := newLatchkey(svc, st, t)
	if err != nil {
		return nil, err
	}
	in := json.RawMessage(`{"model":"gpt-4.1","messages":[{"role":"user","content":"Hello!"}]}`)
	return func(ctx context.Context, call int) error {
		var out struct {
			ID string `json:"id"`
		}
		_, err := c.Post(context.WithValue(ctx, callKey{}, call), "chat/completions", in, &out)
		return err
	}, nil
}

func newOptions(svc *service, st *store, t Times) (func(context.Context, int) error, error) {
	c, err := newLatchkey(svc, st, t)
	if err != nil {
		return nil, err
	}
	oai := openai.NewClient(c.Options()...)
	return func(ctx context.Context, call int) error { return chat(ctx, &oai, call) }, nil
}

func chat(ctx context.Context, oai *openai.Client, call int) error {
	_, err := oai.Chat.Completions.New(ctx, openai.ChatCompletionNewParams{
		Model:    "gpt-4.1",
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Hello!")},
	}, option.WithHeader(callHeader, strconv.Itoa(call)))
	return err //nolint:wrapcheck // it is counted, and compared
}

func newStatic(svc *service, st *store, _ Times) (func(context.Context, int) error, error) {
	key, _ := st.read(nil)
	oai := openai.NewClient(option.WithBaseURL(svc.url()), option.WithAPIKey(key),
		option.WithHTTPClient(&http.Client{Transport: newTransport(svc)}))
	return func(ctx context.Context, call int) error { return chat(ctx, &oai, call) }, nil
}

// newRefetch makes clients as openai.NewClient does by default: each clones
// the transport.
func newRefetch(svc *service, st *store, _ Times) (func(context.Context, int) error, error) {
	base := newTransport(svc)
	build := func(key string) *openai.Client {
		oai := openai.NewClient(option.WithBaseURL(svc.url()), option.WithAPIKey(key),
			option.WithHTTPClient(&http.Client{Transport: base.Clone()}))
		return &oai
	}
	var current atomic.Pointer[openai.Client]
	key, _ := st.read(nil)
	current.Store(build(key))
	return func(ctx context.Context, call int) error {
		err := chat(ctx, current.Load(), call)
		var refused *openai.Error
		if !errors.As(err, &refused) || refused.StatusCode != http.StatusUnauthorized {
			return err
		}
		key, ok := st.read(ctx.Done())
		if !ok {
			return errStoreGone
		}
		again := build(key)
		current.Store(again)
		return chat(ctx, again, call)
	}, nil
}

func newWorkload(svc *service, st *store, _ Times) (func(context.Context, int) error, error) {
	net := newTransport(svc)
	oai := openai.NewClient(
		option.WithBaseURL(svc.url()),
		option.WithHTTPClient(&http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
			if req.URL.String() == auth.TokenExchangeURL {
				return exchange(st, req)
			}
			return net.RoundTrip(req)
		})}),
		option.WithWorkloadIdentity(auth.WorkloadIdentity{
			IdentityProviderID: "idp_1", ServiceAccountID: "sa_1", Provider: subject{},
		}))
	return func(ctx context.Context, call int) error { return chat(ctx, &oai, call) }, nil
}

type subject struct{}

func (subject) TokenType() auth.SubjectTokenType { return auth.SubjectTokenTypeJWT }

func (subject) GetToken(context.Context, auth.HTTPDoer) (string, error) { return "jwt-CANARY", nil }

// exchange answers as OpenAI's token endpoint, with what the store holds.
func exchange(st *store, req *http.Request) (*http.Response, error) {
	_ = req.Body.Close()
	key, ok := st.read(req.Context().Done())
	if !ok {
		return nil, context.Cause(req.Context())
	}
	body := []byte(fmt.Sprintf(`{"access_token":%q,"token_type":"Bearer","expires_in":7200}`, key))
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Request: req, ContentLength: int64(len(body)),
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)),
	}, nil
}
