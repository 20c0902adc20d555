package interop_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	goopenai "github.com/sashabaranov/go-openai"

	openai "github.com/openai/openai-go/v3"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
	"github.com/latchkey-go/latchkey/middleware"
)

// canary is in every fake key, and in nothing else that is sent or printed.
const canary = "CANARY"

// fakeKey repeats the word, so that it is whole in a row of a hex dump.
func fakeKey(n int) string { return fmt.Sprintf("sk-%s%04d", strings.Repeat(canary+"-", 8), n) }

// holdsKey looks in any case: a printer may change it.
func holdsKey(s string) bool { return strings.Contains(strings.ToUpper(s), canary) }

// A rig is a service, a store with the key that it accepts, and a client of both.
type rig struct {
	srv    *clienttest.Server
	store  *credentialtest.Store
	client *client.Client
	key    int
}

// schemes are the two ways to reach the service.
var schemes = []string{"http", "https"}

func newRig(t *testing.T, scheme string, edit ...func(*client.Config)) *rig {
	t.Helper()
	r := &rig{srv: newServer(t, scheme, fakeKey(0)), store: credentialtest.NewStore(fakeKey(0))}
	cfg := client.Config{
		Source:  r.store,
		BaseURL: r.srv.URL,
		RootCAs: r.srv.CertPEM,
		Retry:   &middleware.RetryOptions{BaseDelay: time.Millisecond},
	}
	for _, f := range edit {
		f(&cfg)
	}
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.client = c
	t.Cleanup(c.HTTPClient().CloseIdleConnections)
	return r
}

func newServer(t *testing.T, scheme string, keys ...string) *clienttest.Server {
	t.Helper()
	start := clienttest.NewServer
	if scheme == "https" {
		start = clienttest.NewTLSServer
	}
	srv := start(keys...)
	t.Cleanup(srv.Close)
	if srv.Err != nil {
		t.Fatal(srv.Err)
	}
	return srv
}

// rotate is a hard rotation: the store has a new key, and from the same moment
// on the service takes no other.
func (r *rig) rotate() {
	r.key++
	r.store.Rotate(fakeKey(r.key))
	r.srv.Rotate(fakeKey(r.key))
}

func (r *rig) official() openai.Client { return openai.NewClient(r.client.Options()...) }

func (r *rig) community() *goopenai.Client {
	cfg := goopenai.DefaultConfig("unused")
	cfg.BaseURL = strings.TrimSuffix(r.srv.URL, "/")
	cfg.HTTPClient = r.client.HTTPClient()
	return goopenai.NewClientWithConfig(cfg)
}

// sdks are what each SDK can do through r. They share r's client.
func (r *rig) sdks() []sdk {
	return []sdk{openaiGo(r.official()), goOpenAI(r.community())}
}

// An sdk is a client library at work.
type sdk struct {
	name  string
	calls []call
	// streams are calls as well, those whose answer comes in events.
	streams []call
	refused func(ctx context.Context, kind refusal) error
	// status is the service's status and message, if err is the SDK's own type.
	status func(err error) (code int, message string, ok bool)
}

// A call does one thing and returns an error unless the answer was right.
type call struct {
	name string
	path string
	run  func(ctx context.Context) error
}

// A refusal is a call that the service answers with an error.
type refusal int

const (
	unknownModel refusal = iota // 404
	noMessages                  // 400
	ordinary                    // whatever the server was told to answer
)

const (
	model  = "gpt-4o-mini"
	prompt = "one two three four five six seven"
	echo   = "echo: " + prompt
)

// shown is err for the output of a test, which must not have a key in it.
func shown(err error) string {
	switch {
	case err == nil:
		return "no error"
	case holdsKey(err.Error()):
		return fmt.Sprintf("a %T that shows the key", err)
	}
	return err.Error()
}

func wrong(what, got string) error {
	return fmt.Errorf("%s: got %d bytes that are not right", what, len(got))
}

func (s sdk) all() []call { return append(append([]call(nil), s.calls...), s.streams...) }
