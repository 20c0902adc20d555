package interop_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sort"
	"testing"
	"time"

	goopenai "github.com/sashabaranov/go-openai"

	openai "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
	"github.com/latchkey-go/latchkey/middleware"
)

// subjects are instances of every exported type, and of what comes with them.
// The order and number are the same for every world.
func (w *world) subjects(t *testing.T) []subject {
	t.Helper()
	out := w.credentialSubjects(t)
	out = append(out, w.sourceSubjects(t)...)
	out = append(out, w.middlewareSubjects(t)...)
	out = append(out, w.clientSubjects(t)...)
	out = append(out, w.httpSubjects(t)...)
	out = append(out, w.errorSubjects(t)...)
	return append(out, w.doubleSubjects()...)
}

func (w *world) credentialSubjects(t *testing.T) []subject {
	t.Helper()
	v, err := w.cache.Retrieve(w.ctx)
	if err != nil {
		t.Fatal(shown(err))
	}
	w.mu.Lock()
	events := append([]credential.Event(nil), w.events...)
	w.mu.Unlock()
	kinds := map[credential.EventKind]bool{}
	for _, ev := range events {
		kinds[ev.Kind] = true
	}
	rejections := w.source.Rejections()
	if !kinds["loaded"] || !kinds["rotated"] || !kinds["rejected"] || !kinds["failed"] || len(rejections) == 0 {
		t.Fatalf("the world has not seen enough: %v, %d rejections", kinds, len(rejections))
	}
	options := credential.CacheOptions{OnEvent: w.record, Now: time.Now}
	tenants, err := credential.NewTenants(func(context.Context, string) (credential.Source, error) { return w.source, nil }, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tenants.Retrieve(credential.WithTenant(w.ctx, "a customer")); err != nil {
		t.Fatal(shown(err))
	}
	secret, scheme := v.Secret, v.Scheme
	return []subject{
		of("credential.Secret", &secret),
		of("credential.Scheme", &scheme),
		of("credential.Value", &v),
		of("credential.Rejection", &rejections[len(rejections)-1]),
		of("credential.Event", &events[len(events)-1]),
		of("credential.EventKind", &events[len(events)-1].Kind),
		of("credential.Tenants", tenants),
		of("credential.TenantsOptions", &credential.TenantsOptions{Cache: options}),
		of("[]credential.Event", &events),
		of("credential.Cache", w.cache),
		of("credential.CacheOptions", &options),
	}
}

const keyVariable = "LATCHKEY_INTEROP_KEY"

// sourceSubjects are sources that have been read, each in its Cache.
func (w *world) sourceSubjects(t *testing.T) []subject {
	t.Helper()
	static := credential.Static(credential.NewSecret(fakeKey(w.key)), credential.BearerToken)
	closure := credential.SourceFunc(func(ctx context.Context) (credential.Value, error) { return static.Retrieve(ctx) })
	chain, err := credential.NewChain(credential.Env(keyVariable+"_UNSET"), static)
	if err != nil {
		t.Fatal(err)
	}
	out := []subject{of("credential.Chain", chain), of("credential.SourceFunc", &closure)}
	for _, src := range []credential.Source{
		static, credential.Env(keyVariable), credential.Standby(static, closure), chain, w.source,
	} {
		cache, err := credential.NewCache(src, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cache.Retrieve(w.ctx); err != nil {
			t.Fatal(shown(err))
		}
		out = append(out, of("credential.Source", &src), of("credential.Cache", cache))
	}
	renewer, provider := credential.Renewer(w.source), credential.Provider(w.cache)
	return append(out, of("credential.Renewer", &renewer), of("credential.Provider", &provider))
}

func (w *world) middlewareSubjects(t *testing.T) []subject {
	t.Helper()
	auth, err := middleware.Auth(w.cache, w.srv.Origin, &middleware.AuthOptions{KeyHeader: w.config.KeyHeader})
	if err != nil {
		t.Fatal(err)
	}
	retry, err := middleware.Retry(nil)
	if err != nil {
		t.Fatal(err)
	}
	refused := w.refusedSend(t)
	out := []subject{
		of("middleware.Send", refused),
		of("middleware.Identity", &refused.Credential),
		of("middleware.Reason", &refused.Reason),
		of("middleware.RateLimit", &refused.RateLimit),
		of("middleware.Usage", &refused.Usage),
		of("middleware.AuthOptions", &middleware.AuthOptions{KeyHeader: "api-key"}),
		of("middleware.RetryOptions", &middleware.RetryOptions{MaxRetries: 1}),
		of("middleware.LogOptions", w.config.Log),
		of("middleware.Middleware", &auth),
		of("middleware.Route", &middleware.Route{Name: "east", Layers: []middleware.Middleware{auth}}),
		of("middleware.RouteEvent", &middleware.RouteEvent{Kind: "cooling", Route: "east", Reason: "503"}),
		of("middleware.FailoverOptions", &middleware.FailoverOptions{OnEvent: func(middleware.RouteEvent) {}}),
	}
	failover, err := middleware.Failover([]middleware.Route{{Name: "east", Layers: []middleware.Middleware{auth}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	base := w.srv.Client().Transport
	for _, layers := range [][]middleware.Middleware{
		{auth},
		{auth, middleware.Log(w.config.Logger, nil)},
		{failover},
		{middleware.HoldBack(), auth},
		{auth, middleware.StreamGuard()},
		{middleware.Replay(), retry, auth, middleware.Log(w.config.Logger, nil), middleware.StreamGuard()},
	} {
		rt := middleware.Wrap(base, layers...)
		resp, err := rt.RoundTrip(newStream(t, w.srv.URL))
		if err != nil {
			t.Fatal(shown(err))
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		out = append(out, of("a layer", &rt), of("http.Response of a layer", resp))
	}
	return out
}

func (w *world) clientSubjects(t *testing.T) []subject {
	t.Helper()
	config := w.config
	config.Source, config.Cache = w.source, &credential.CacheOptions{OnEvent: w.record}
	refused := (*client.Error)(nil)
	if !errors.As(w.errs["401 echo"], &refused) {
		t.Fatalf("a %T, not a *client.Error", w.errs["401 echo"])
	}
	options := w.client.Options()
	endpoint := client.Endpoint{BaseURL: w.config.BaseURL, Source: w.source}
	out := []subject{
		of("client.Endpoint", &endpoint),
		of("client.Client", w.client),
		of("client.Config", &w.config),
		of("client.Config", &config),
		of("client.Error", refused),
		of("client.Event", &w.streamed),
		of("middleware.RateLimit", &w.posted.RateLimit),
		of("client.Response", w.posted),
		of("HTTPClient", w.client.HTTPClient()),
		of("HTTPClient's transport", &w.client.HTTPClient().Transport),
		of("Options", &options),
		of("goopenai.Client", w.community()),
	}
	if w.kind.bare {
		return out
	}
	official := w.official() // has hundreds of services, each with the options: it takes its time
	return append(out, of("openai.Client", &official))
}

func (w *world) httpSubjects(t *testing.T) []subject {
	t.Helper()
	var out []subject
	for _, name := range sorted(w.responses) {
		resp := w.responses[name]
		out = append(out, of("http.Response "+name, resp), of("http.Request of "+name, resp.Request))
	}
	w.srv.Inject(clienttest.Fault{EchoKey: true, Status: 403, Path: "/completions"})
	var into *http.Response
	official := w.official()
	_, err := official.Chat.Completions.New(w.ctx, chatParams(), option.WithResponseInto(&into))
	w.srv.ClearFaults()
	e := (*openai.Error)(nil)
	if !errors.As(err, &e) {
		t.Fatalf("a %T, not an *openai.Error", err)
	}
	stream := official.Chat.Completions.NewStreaming(w.ctx, chatParams())
	t.Cleanup(func() { _ = stream.Close() })
	theirs, err := w.community().CreateChatCompletionStream(w.ctx, communityChat())
	if err != nil {
		t.Fatal(shown(err))
	}
	t.Cleanup(func() { _ = theirs.Close() })
	for _, url := range []string{w.srv.URL, hostile(t, switched) + "/v1/"} {
		resp := upgrade(t, w, url)
		out = append(out, of("http.Response 101", resp), of("body of 101", &resp.Body))
	}
	return append(out, of("openai.Error", e), of("http.Response of openai.Error", into),
		of("stream of openai-go", stream), of[goopenai.ChatCompletionStream]("stream of go-openai", theirs))
}

// upgrade opens a WebSocket without a library around it.
func upgrade(t *testing.T, w *world, url string) *http.Response {
	t.Helper()
	c, err := client.New(client.Config{Source: w.cache, BaseURL: url, RootCAs: w.srv.CertPEM, KeyHeader: w.config.KeyHeader, Logger: w.config.Logger})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(w.ctx, http.MethodGet, url+"realtime", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"},
		"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="},
	}
	resp, err := c.HTTPClient().Do(req)
	if err != nil {
		t.Fatal(shown(err))
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if _, ok := resp.Body.(io.ReadWriteCloser); !ok || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("status %d, and the body is a %T", resp.StatusCode, resp.Body)
	}
	return resp
}

func sorted[T any](m map[string]T) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// errorSubjects are errors as the functions of the library return them.
func (w *world) errorSubjects(t *testing.T) []subject {
	t.Helper()
	var out []subject
	for _, name := range sorted(w.errs) {
		err := w.errs[name]
		out = append(out, of("error: "+name, &err))
	}
	for _, name := range []string{"panic", "fail", "hang", "bad value", "empty"} {
		err := brokenStore(t, w, name)
		out = append(out, of("error: store: "+name, &err))
		if se := (*credential.SourceError)(nil); errors.As(err, &se) {
			out = append(out, of("credential.SourceError", se))
		}
	}
	chain, err := credential.NewChain(credential.Env(keyVariable+"_UNSET"), credential.File("no such file"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = chain.Retrieve(w.ctx)
	none := (*credential.ChainError)(nil)
	if !errors.As(err, &none) {
		t.Fatalf("a %T, not a *ChainError", err)
	}
	c, err := client.New(client.Config{Source: w.source, BaseURL: hostile(t, badStatus), Retry: &middleware.RetryOptions{MaxRetries: -1}})
	if err != nil {
		t.Fatal(err)
	}
	_, malformed := c.Post(w.ctx, "models", nil, nil)
	if malformed == nil {
		t.Fatal("the hostile server's answer was no error")
	}
	return append(out, of("credential.ChainError", none), of("error: malformed", &malformed))
}

// brokenStore returns the error of a call whose store fails, with the key in
// what it panics with and in what it gives.
func brokenStore(t *testing.T, w *world, how string) error {
	t.Helper()
	store := credentialtest.NewStore(fakeKey(w.key))
	ctx := w.ctx
	switch how {
	case "panic":
		store.Panic("key " + fakeKey(w.key))
	case "fail":
		store.Fail(&credential.SourceError{Source: "store", Op: "read", Err: errors.New("out of order"), Transient: true})
	case "hang":
		t.Cleanup(store.Hang())
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		t.Cleanup(cancel)
		ctx = short
	case "bad value":
		store.Rotate(fakeKey(w.key) + " and more")
	case "empty":
		store.Rotate("")
	}
	c, err := client.New(client.Config{Source: store, BaseURL: w.srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = c.Post(ctx, "models", nil, nil); err == nil {
		t.Errorf("store %s: no error", how)
	}
	return err
}

// doubleSubjects are the exported types of the test doubles.
func (w *world) doubleSubjects() []subject {
	requests := w.srv.Requests()[:3]
	stats, kind, flavor := w.srv.Stats(), clienttest.InvalidKey, clienttest.OpenAI
	harness := credentialtest.Harness{Source: w.source, Rotate: func(s string) { w.store.Rotate(s) }, Fail: w.rotate}
	config := credentialtest.Config{New: func(*testing.T, string) credentialtest.Harness { return harness }}
	return []subject{
		of("credentialtest.Store", w.store),
		of("credentialtest.RenewingStore", w.source),
		of("credentialtest.Harness", &harness),
		of("credentialtest.Config", &config),
		of("clienttest.Service", w.srv.Service),
		of("clienttest.Server", w.srv),
		of("clienttest.Request", &requests[len(requests)-1]),
		of("[]clienttest.Request", &requests),
		of("clienttest.Stats", &stats),
		of("clienttest.ErrorKind", &kind),
		of("clienttest.Flavor", &flavor),
		of("clienttest.Capacity", &clienttest.Capacity{PerSecond: 10}),
		of("clienttest.Fault", fault(clienttest.InvalidKey)),
	}
}
