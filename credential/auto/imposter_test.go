package auto_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/auto"
)

// An imposter answers in place of a store or an issuer, as a proxy, a captive
// portal or another program on the port does.
type imposter struct {
	status int
	body   string
	// hosts are those it stands for; the world answers for the others.
	hosts []string
	world *world
}

func (i *imposter) ServeHTTP(rw http.ResponseWriter, _ *http.Request) {
	rw.Header().Set("Content-Type", "text/html")
	if i.status/100 == 3 {
		rw.Header().Set("Location", "https://portal.example.com/CANARY")
	}
	rw.WriteHeader(i.status)
	_, _ = rw.Write([]byte(i.body))
}

func (i *imposter) RoundTrip(r *http.Request) (*http.Response, error) {
	for _, host := range i.hosts {
		if strings.HasSuffix(r.URL.Host, host) {
			rec := httptest.NewRecorder()
			i.ServeHTTP(rec, r)
			resp := rec.Result()
			resp.Request = r
			return resp, nil
		}
	}
	return i.world.RoundTrip(r)
}

func TestAnAnswerThatIsNotTheStoresKeepsItsStatus(t *testing.T) {
	const page = "<html><title>CANARY</title>Sign in</html>"
	for name, c := range map[string]struct {
		ref   string
		env   []vars
		hosts []string
	}{
		"azurekeyvault":     {keyVaultRef, []vars{functions(), managed()}, []string{".vault.azure.net"}},
		"azureidentity":     {"azureidentity://", []vars{functions(), managed()}, []string{"127.0.0.1:41741"}},
		"a login at Entra":  {"azureidentity://", []vars{{"AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_ID": "c", "AZURE_CLIENT_SECRET": "CANARY"}}, []string{"login.microsoftonline.com"}},
		"awssecretsmanager": {smRef, []vars{lambda(), {"AWS_ENDPOINT_URL_SECRETS_MANAGER": "$IMPOSTER"}}, nil},
		"awsextension":      {"awsextension:///prod/openai", []vars{lambda(), {"PARAMETERS_SECRETS_EXTENSION_HTTP_PORT": "$IMPOSTERPORT"}}, nil},
		"vault":             {vaultRef, []vars{{"VAULT_ADDR": "$IMPOSTER", "VAULT_TOKEN": "hvs.CANARY", "VAULT_MAX_RETRIES": "0"}}, nil},
		"openaiworkload":    {workloadRef + "kubernetes&token-file=$DIR/token", []vars{pod()}, []string{"auth.openai.com"}},
	} {
		for _, status := range []int{200, 302, 403, 404, 502} {
			for kind, body := range map[string]string{"page": page, "JSON": `{"message":"CANARY"}`} {
				if kind == "JSON" && status == 502 { // repeated, with a wait
					continue
				}
				t.Run(fmt.Sprintf("%s, %d, %s", name, status, kind), func(t *testing.T) {
					clearEnv(t)
					w := newWorld(t)
					i := &imposter{status: status, body: body, hosts: c.hosts, world: w}
					server := httptest.NewServer(i)
					t.Cleanup(server.Close)
					port := server.URL[strings.LastIndex(server.URL, ":")+1:]
					for _, env := range append([]vars{{"AWS_MAX_ATTEMPTS": "1"}}, c.env...) {
						filled := vars{}
						for name, value := range env {
							filled[name] = strings.NewReplacer("$IMPOSTERPORT", port, "$IMPOSTER", server.URL).Replace(value)
						}
						w.setenv(t, filled)
					}
					ref := strings.ReplaceAll(c.ref, "$DIR", w.dir)
					_, err := first(t, auto.Over(auto.Options{References: ref}, i), &credential.CacheOptions{Timeout: 2 * time.Second})
					switch {
					case err == nil:
						t.Error("no error")
					case strings.Contains(err.Error(), "CANARY"):
						t.Error("the error quotes the answer")
					case !strings.Contains(err.Error(), strconv.Itoa(status)):
						t.Errorf("no status: %v", err)
					}
				})
			}
		}
	}
}
