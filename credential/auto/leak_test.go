package auto_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/auto"
	"github.com/latchkey-go/latchkey/internal/redact"
	"github.com/latchkey-go/latchkey/internal/redact/redacttest"
)

// A storeRow is a store that gets a credential of its own, and echoes it.
type storeRow struct {
	name, ref, secret string
	env               vars
	// echoes reports whether the request is for the store.
	echoes func(*http.Request) bool
	// slow reports whether the SDK asks again, with pauses.
	slow bool
}

const (
	vaultToken   = "hvs.CANARYtokenOfVault-0123456789"
	sessionToken = "IQoJb3JpZ2luX2VjEXAMPLE+CANARY/token/of/a/session/0123456789abcdefghijklmnopqrstuvwxyz/0123456789abcdefghijklmnopqrstuvwxyz/0123456789=="
	headerToken  = "CANARY-identity-header-0123456789"
	clientSecret = "q8Q~CANARY-client-secret-0123456789"
)

func storeRows(t *testing.T, w *world) []storeRow {
	t.Helper()
	subject := jwt()
	if err := os.WriteFile(filepath.Join(w.dir, "subject"), []byte(subject), 0o600); err != nil {
		t.Fatal(err)
	}
	host := func(suffix string) func(*http.Request) bool {
		return func(r *http.Request) bool { return strings.HasSuffix(r.Host, suffix) }
	}
	aws := vars{"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "CANARY-secret", "AWS_SESSION_TOKEN": sessionToken, "AWS_MAX_ATTEMPTS": "1",
		"AWS_ENDPOINT_URL_SECRETS_MANAGER": "$URL", "AWS_ENDPOINT_URL_STS": "$URL", "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT": "$PORT"}
	entra := vars{"AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_ID": "c", "AZURE_CLIENT_SECRET": clientSecret}
	web := vars{"AWS_REGION": "eu-west-1", "AWS_WEB_IDENTITY_TOKEN_FILE": "$DIR/subject", "AWS_ROLE_ARN": "arn:aws:iam::1:role/r", "AWS_ENDPOINT_URL_STS": "$URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER": "$URL", "AWS_MAX_ATTEMPTS": "1"}
	return []storeRow{
		{"Vault", vaultRef, vaultToken, vars{"VAULT_ADDR": "$URL", "VAULT_TOKEN": vaultToken}, func(r *http.Request) bool { return r.Header.Get("X-Vault-Token") != "" }, false},
		{"Secrets Manager", smRef, sessionToken, aws, func(r *http.Request) bool { return r.Header.Get("X-Amz-Target") != "" }, false},
		{"extension", "awsextension:///prod/openai", sessionToken, aws, func(r *http.Request) bool { return r.URL.Path == "/secretsmanager/get" }, false},
		{"STS", smRef, subject, web, func(r *http.Request) bool { return r.Method == http.MethodPost && r.Header.Get("X-Amz-Target") == "" }, false},
		{"Key Vault", keyVaultRef, token, managed(), host(".vault.azure.net"), true},
		{"identity endpoint", "azureidentity://", headerToken, vars{"IDENTITY_ENDPOINT": "http://127.0.0.1:41741/msi/token/", "IDENTITY_HEADER": headerToken, "AZURE_OPENAI_ENDPOINT": "https://res.openai.azure.com"},
			host("127.0.0.1:41741"), true},
		{"Entra", "azureidentity://", clientSecret, entra, host("login.microsoftonline.com"), true},
		{"OpenAI's issuer", workloadRef + "kubernetes&token-file=" + filepath.Join(w.dir, "subject"), subject, nil, host("auth.openai.com"), false},
	}
}

// each calls f with the places, and some forms and statuses in turn: each place
// with several forms, and all forms where the store names a version. An SDK that
// asks again after some answers, with pauses, gets fewer of those.
func (row *storeRow) each(f func(redacttest.Place, redacttest.Form, int)) {
	turn, forms := 0, redacttest.Forms(row.secret)
	statuses, few, broken := []int{200, 201, 204, 206, 300, 302, 304, 307, 400, 401, 403, 404, 409, 418}, 8, 1
	if row.slow {
		statuses, few = []int{200, 201, 204, 206, 300, 302, 304, 400, 401, 403}, 4
	}
	for _, place := range redacttest.Places() {
		switch n := few; {
		case place.Name == "name of a version":
			for _, form := range forms {
				f(place, form, http.StatusOK)
			}
		case row.slow && place.Fixed && broken > 2:
		default:
			if place.Fixed {
				n, broken = 1, broken+1
			}
			for range n {
				f(place, forms[turn%len(forms)], statuses[turn%len(statuses)])
				turn += 7
			}
		}
	}
}

// An echoWorld is a world in which one store answers every request that holds
// its credential with the same bytes.
type echoWorld struct {
	*world
	echoes func(*http.Request) bool
	answer atomic.Pointer[string]
	hits   atomic.Int64
}

func (w *echoWorld) loopbackEcho(rw http.ResponseWriter, r *http.Request) {
	if !w.echoes(r) {
		w.loopback(rw, r)
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	conn, _, err := http.NewResponseController(rw).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	w.hits.Add(1)
	_, _ = io.WriteString(conn, *w.answer.Load())
}

// RoundTrip answers as the world, or over a connection in memory as the store.
func (w *echoWorld) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Host = r.URL.Host
	if !w.echoes(r) || strings.HasSuffix(r.Host, ".vault.azure.net") && r.Header.Get("Authorization") == "" {
		return w.world.RoundTrip(r)
	}
	w.hits.Add(1)
	dial := func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer func() { _ = far.Close() }()
			if req, err := http.ReadRequest(bufio.NewReader(far)); err == nil {
				_, _ = io.Copy(io.Discard, req.Body)
				_, _ = io.WriteString(far, *w.answer.Load())
			}
		}()
		return near, nil
	}
	return (&http.Transport{DialContext: dial, DialTLSContext: dial, DisableKeepAlives: true}).RoundTrip(r)
}

type lockedText struct {
	mu   sync.Mutex
	text string
}

func (l *lockedText) add(text string) { l.mu.Lock(); l.text += text; l.mu.Unlock() }
func (l *lockedText) String() string  { l.mu.Lock(); defer l.mu.Unlock(); return l.text }

// shownOf is all that is shown of one read of the environment's credential.
func (w *echoWorld) shownOf(t *testing.T) map[string]string {
	t.Helper()
	shown := map[string]string{}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	report, err := json.Marshal(auto.Explain(ctx, auto.Over(auto.Options{}, w)))
	if err != nil {
		t.Fatal(err)
	}
	shown["Explain"] = string(report)
	var events lockedText // a read may outlive the call
	src, err := auto.New(auto.Over(auto.Options{}, w))
	if err != nil {
		t.Fatal(err)
	}
	cache, err := credential.NewCache(src, &credential.CacheOptions{OnEvent: func(e credential.Event) { events.add(fmt.Sprintf("%+v %v\n", e, e.Err)) }})
	if err != nil {
		t.Fatal(err)
	}
	v, err := cache.Retrieve(ctx)
	shown["error"] = fmt.Sprintf("%v %+v %#v", err, err, err)
	shown["events"] = events.String()
	shown["value"] = fmt.Sprintf("%+v %s", v, cache)
	return shown
}

// What a source sends to its store is shown nowhere, wherever the store echoes
// it: in the report of the doctor, in errors, in events, in the version of the
// value, which each record of a send names.
func TestNoCredentialOfAStoreIsShownWhereverTheStoreEchoesIt(t *testing.T) {
	w := newWorld(t)
	for _, row := range storeRows(t, w) {
		t.Run(row.name, func(t *testing.T) {
			clearEnv(t)
			e := &echoWorld{world: w, echoes: row.echoes}
			server := httptest.NewServer(http.HandlerFunc(e.loopbackEcho))
			defer server.Close()
			u, err := url.Parse(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			fill := strings.NewReplacer("$DIR", w.dir, "$URL", server.URL, "$PORT", u.Port())
			for name, value := range row.env {
				t.Setenv(name, fill.Replace(value))
			}
			t.Setenv("OPENAI_CREDENTIAL", row.ref)
			cells, random := 0, rand.New(rand.NewPCG(1, 2))
			row.each(func(place redacttest.Place, form redacttest.Form, status int) {
				if os.Getenv("LATCHKEY_PROOFS") == "" && random.IntN(5) > 0 {
					return // .ci/run sets the variable
				}
				cells++
				answer := place.Answer(status, form)
				e.answer.Store(&answer)
				for sink, text := range e.shownOf(t) {
					if redact.Text(text, false, row.secret) != text {
						t.Errorf("%s in the %s, status %d: shown by %s", form.Name, place.Name, status, sink)
					}
				}
			})
			if e.hits.Load() < int64(cells) {
				t.Errorf("the store was asked %d times for %d answers", e.hits.Load(), cells)
			}
			t.Logf("%d answers", cells)
		})
	}
}
