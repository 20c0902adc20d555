package interop_test

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
	"github.com/latchkey-go/latchkey/middleware"
)

// A world is a client that has lived: calls, rotations, refusals and outages,
// and whatever it has handed out on the way.
type world struct {
	*rig
	kind   kind
	ctx    context.Context
	cache  *credential.Cache
	source *credentialtest.RenewingStore
	config client.Config
	log    *lines

	mu     sync.Mutex
	events []credential.Event
	sends  []*middleware.Send

	errs      map[string]error
	posted    *client.Response
	streamed  client.Event
	responses map[string]*http.Response
}

// lines is a log that can be read while it is written.
type lines struct {
	mu  sync.Mutex
	out capped
}

// A writerFunc keeps go-cmp from comparing what was logged byte by byte.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func (l *lines) write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(p)
}

func (w *world) record(ev credential.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, ev)
}

func (w *world) observe(_ context.Context, s *middleware.Send) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sends = append(w.sends, s)
}

// refusedSend is the record of a send whose credential was refused, by a server
// that echoes it.
func (w *world) refusedSend(t *testing.T) *middleware.Send {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.sends {
		if s.Credential.Refused {
			return s
		}
	}
	t.Fatalf("none of %d sends was refused", len(w.sends))
	return nil
}

// A kind of world: another protocol, other layers, another header for the key.
type kind struct {
	name, scheme string
	bare         bool // without a log and a stream guard, and with the api-key header
}

var kinds = []kind{
	{"http", "http", false},
	{"https", "https", false},
	{"http bare", "http", true},
	{"https bare", "https", true},
}

// newWorld returns a world whose key has been rotated so many times.
func newWorld(t *testing.T, k kind, rotations int) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	w := &world{kind: k, ctx: ctx, log: &lines{}, errs: map[string]error{}, responses: map[string]*http.Response{}}
	w.rig = newRig(t, k.scheme, func(cfg *client.Config) {
		store, _ := cfg.Source.(*credentialtest.Store)
		w.source = store.Renewing(nil)
		cache, err := credential.NewCache(w.source, &credential.CacheOptions{Grace: -1, OnEvent: w.record})
		if err != nil {
			t.Fatal(err)
		}
		w.cache, cfg.Source = cache, cache
		cfg.Organization, cfg.Project = "org-test", "proj_test"
		cfg.DisableStreamGuard = k.bare
		if k.bare {
			cfg.KeyHeader = "api-key"
		} else {
			cfg.Logger = slog.New(slog.NewJSONHandler(writerFunc(w.log.write), &slog.HandlerOptions{Level: slog.LevelDebug}))
		}
		cfg.Observe = w.observe
		cfg.Log = &middleware.LogOptions{Headers: []string{"X-Echo-Key", "Www-Authenticate", "Location"}}
		w.config = *cfg
	})
	if k.bare {
		w.srv.SetFlavor(clienttest.AzureOpenAI)
	}
	w.live(t, rotations)
	return w
}

// live is what happens to the client before it is printed.
func (w *world) live(t *testing.T, rotations int) {
	t.Helper()
	must := func(what string, err error) {
		if err != nil {
			t.Fatalf("%s: %s", what, shown(err))
		}
	}
	must("warm", w.client.Warm(w.ctx))
	_, err := w.post("chat/completions")
	must("first call", err)
	for range rotations {
		w.rotate()
		w.posted, err = w.post("chat/completions")
		must("call after the rotation", err)
	}

	w.refuse(t)
	_, err = w.post("chat/completions") // the service takes the key again
	must("call after the refusals", err)
	w.srv.SetJournal(true)
	w.open(t)
	for ev, err := range w.client.Stream(w.ctx, "chat/completions", chatBody(true)) {
		must("stream", err)
		w.streamed = client.Event{Type: ev.Type, Data: append([]byte(nil), ev.Data...)}
	}
}

func chatBody(stream bool) map[string]any {
	return map[string]any{
		"model": model, "stream": stream,
		"messages": []map[string]string{{"role": "user", "content": prompt}},
	}
}

func (w *world) post(path string) (*client.Response, error) {
	var out map[string]any
	return w.client.Post(w.ctx, path, chatBody(false), &out)
}

// refuse collects errors of the service and of the connection.
func (w *world) refuse(t *testing.T) {
	t.Helper()
	key := fakeKey(w.key)
	for name, f := range map[string]clienttest.Fault{
		"400 echo": {EchoKey: true, Status: 400},
		"503 echo": {EchoKey: true, Status: 503},
		"redirect": {Redirect: "https://elsewhere.test/?key=" + key},
		"reset":    {Reset: true},
		"endless":  {EchoKey: true, Status: 404, Gzip: true},
		"torn":     {Status: 400, Body: `{"error":{"message":"` + key + key, ResetAfter: 200},
		"broken":   {Malformed: true},
		"no JSON":  {Body: "Bearer " + key},
		"401 echo": {EchoKey: true},
	} {
		f.Path, f.Times = "/completions", -1
		w.srv.Inject(f)
		_, w.errs[name] = w.post("chat/completions")
		for _, err := range w.client.Stream(w.ctx, "chat/completions", chatBody(true)) {
			if err != nil {
				w.errs[name+" stream"] = err
			}
		}
		resp, err := w.send(t, "chat/completions")
		w.srv.ClearFaults()
		if err != nil {
			w.errs[name+" http"] = err
		} else {
			w.responses[name] = resp
		}
	}
	_, w.errs["origin"] = w.client.HTTPClient().Get("https://elsewhere.test/v1/models") //nolint:bodyclose,noctx // it is refused
	done, cancel := context.WithCancel(w.ctx)
	cancel()
	_, w.errs["canceled"] = w.client.Post(done, "models", nil, nil)
	for name, err := range w.errs {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// open keeps answers whose bodies are not read to the end.
func (w *world) open(t *testing.T) {
	t.Helper()
	for _, name := range []string{"unread", "streaming", "read"} {
		body := newChat(t, w.srv.URL)
		if name == "streaming" {
			body = newStream(t, w.srv.URL)
		}
		resp, err := w.client.HTTPClient().Do(body.WithContext(w.ctx))
		if err != nil {
			t.Fatalf("%s: %s", name, shown(err))
		}
		if name == "read" {
			_ = resp.Body.Close()
		} else if name == "streaming" {
			if _, err := resp.Body.Read(make([]byte, 10)); err != nil {
				t.Fatalf("%s: %s", name, shown(err))
			}
		}
		w.responses[name] = resp
		t.Cleanup(func() { _ = resp.Body.Close() })
	}
}

func (w *world) send(t *testing.T, path string) (*http.Response, error) {
	t.Helper()
	resp, err := w.client.HTTPClient().Do(newChat(t, w.srv.URL).WithContext(w.ctx))
	if err == nil {
		t.Cleanup(func() { _ = resp.Body.Close() })
	}
	return resp, err
}

// hostile is a server that answers each request with what answer makes of the
// credential, and ends the connection when the test ends.
func hostile(t *testing.T, answer func(key string) string) (origin string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
			if req, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				_, _ = io.WriteString(conn, answer(strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")))
			}
		}
	}()
	return "http://" + listener.Addr().String()
}

// badStatus puts the key where net/http quotes it.
func badStatus(key string) string { return "HTTP/1.1 " + key + "\r\n\r\n" }

// switched is an upgrade whose first message comes with it: net/http keeps the
// connection's buffers behind the body then.
func switched(string) string {
	return "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x05hello"
}
