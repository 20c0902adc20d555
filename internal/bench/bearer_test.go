package bench_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
)

// A bearer is one way to make a request, put a token of Entra on it and send it.
type bearer struct {
	name string
	make func(tb testing.TB, net *memory) func() error
}

var bearers = []bearer{
	{"none", func(_ testing.TB, net *memory) func() error { return plainPost(net) }},
	{"latchkey", func(tb testing.TB, net *memory) func() error {
		return plainPost(newClient(tb, client.Config{Transport: net, Source: &tokens{}}).HTTPClient().Transport)
	}},
	{"azcore", func(_ testing.TB, net *memory) func() error { return pipelinePost(net) }},
	{"azcore+bearer", func(_ testing.TB, net *memory) func() error {
		return pipelinePost(net, runtime.NewBearerTokenPolicy(&tokens{}, []string{"https://cognitiveservices.azure.com/.default"}, nil))
	}},
}

// tokens gives one that lives for an hour, in both forms.
type tokens struct{}

func (*tokens) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: fakeKey, ExpiresOn: time.Now().Add(time.Hour)}, nil
}

func (*tokens) Retrieve(context.Context) (credential.Value, error) {
	return credential.Value{
		Secret: credential.NewSecret(fakeKey), Scheme: credential.BearerToken, Source: "tokens", Expires: time.Now().Add(time.Hour),
	}, nil
}

func plainPost(rt http.RoundTripper) func() error {
	return func() error {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, chatURL, strings.NewReader(chatPrompt))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := rt.RoundTrip(req)
		if err != nil {
			return err
		}
		return readBody(resp, http.StatusOK)
	}
}

// Do makes the transport one of azcore.
func (m *memory) Do(req *http.Request) (*http.Response, error) { return m.RoundTrip(req) }

// pipelinePost has what a pipeline of azcore has by default: retries, a log that is
// off, the download of the body.
func pipelinePost(net *memory, perRetry ...policy.Policy) func() error {
	p := runtime.NewPipeline("bench", "v1", runtime.PipelineOptions{PerRetry: perRetry}, &policy.ClientOptions{Transport: net})
	return func() error {
		req, err := runtime.NewRequest(context.Background(), http.MethodPost, chatURL)
		if err != nil {
			return err
		}
		if err := req.SetBody(streaming.NopCloser(strings.NewReader(chatPrompt)), "application/json"); err != nil {
			return err
		}
		resp, err := p.Do(req)
		if err != nil {
			return err
		}
		return readBody(resp, http.StatusOK)
	}
}

// BenchmarkBearer is one call with a token that is fresh, over a transport that
// answers from memory: the layers of latchkey over the transport alone, and the policy
// of azcore in a pipeline of azcore over the pipeline without it.
func BenchmarkBearer(b *testing.B) {
	for _, p := range bearers {
		b.Run("stack="+p.name, func(b *testing.B) {
			call := p.make(b, newMemory("application/json", chatAnswer))
			must(b, call())
			b.ReportAllocs()
			for b.Loop() {
				if err := call(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What is compared has to do the same: each stack that names a credential sends it.
func TestEachStackWithATokenSendsIt(t *testing.T) {
	for _, p := range bearers {
		var sent []string
		net := newMemory("application/json", chatAnswer)
		net.seen = func(req *http.Request) {
			body, err := io.ReadAll(req.Body)
			if err != nil || string(body) != chatPrompt {
				t.Errorf("%s: another body, or %v", p.name, err)
			}
			sent = append(sent, req.Header.Get("Authorization"))
		}
		call := p.make(t, net)
		must(t, call())
		must(t, call())
		want := "Bearer " + fakeKey
		if p.name == "none" || p.name == "azcore" {
			want = ""
		}
		if len(sent) != 2 || sent[0] != want || sent[1] != want {
			t.Errorf("%s: %d sends, or not with the token", p.name, len(sent))
		}
	}
}
