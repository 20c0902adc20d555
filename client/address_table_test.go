package client_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/internal/azurename"
	"github.com/latchkey-go/latchkey/internal/testing/azuretest"
)

// An addressRow is what becomes of an address. What begins with "no:" is a part
// of the error of New.
type addressRow struct {
	address  string
	base     string // the URL of a chat, for BaseURL and OPENAI_BASE_URL
	endpoint string // for AZURE_OPENAI_ENDPOINT; "" is the same
	header   string // that carries a key, for the first two
	scope    string // of an identity
}

const (
	bearer   = "Authorization"
	apiKey   = "Api-Key"
	public   = "https://cognitiveservices.azure.com/.default"
	foundry  = "https://ai.azure.com/.default"
	usGov    = "https://cognitiveservices.azure.us/.default"
	china    = "https://cognitiveservices.azure.cn/.default"
	azureV1  = "https://r.openai.azure.com/openai/v1/chat/completions"
	azureOld = "https://r.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21"
	openAI   = "https://api.openai.com/v1/chat/completions"
)

func addresses() []addressRow {
	rows := append(addressesOfOpenAI(), addressesOfAzure()...)
	rows = append(rows, addressesOfOtherClouds()...)
	return append(rows, addressesThatAreRefused()...)
}

func addressesOfOpenAI() []addressRow {
	gateway := func(address, chat string) addressRow {
		host := strings.TrimSuffix(chat, "chat/completions")
		return addressRow{address, chat, host + "openai/v1/chat/completions", bearer, ""}
	}
	alone := "https://api.openai.com/v1/openai/v1/chat/completions" // AZURE_OPENAI_ENDPOINT says that it is Azure's
	return []addressRow{
		{"https://api.openai.com/v1", openAI, alone, bearer, ""},
		{"https://api.openai.com/v1/", openAI, alone, bearer, ""},
		{"https://api.openai.com", openAI, alone, bearer, ""},
		{"https://api.openai.com/", openAI, alone, bearer, ""},
		{"https://api.openai.com//v1//", openAI, alone, bearer, ""},
		{"https:///api.openai.com/v1", openAI, alone, bearer, ""},
		{"https://https://api.openai.com/v1", openAI, alone, bearer, ""},
		{"http://https://api.openai.com/v1", openAI, alone, bearer, ""},
		{"  https://api.openai.com/v1\n", openAI, alone, bearer, ""},
		{`"https://api.openai.com/v1"`, openAI, alone, bearer, ""},
		{"'https://api.openai.com/v1',", openAI, alone, bearer, ""},
		{"<https://api.openai.com/v1>", openAI, alone, bearer, ""},
		{"\u201chttps://api.openai.com/v1\u201d", openAI, alone, bearer, ""},
		{"OPENAI_BASE_URL=https://api.openai.com/v1", openAI, alone, bearer, ""},
		{`OPENAI_BASE_URL="https://api.openai.com/v1"`, openAI, alone, bearer, ""},
		{"https://api.openai.com/v1/chat/completions", openAI, alone, bearer, ""},
		{"https://api.openai.com/v1/completions/", openAI, alone, bearer, ""},
		{"https://api.openai.com/v1/responses", openAI, alone, bearer, ""},
		{"https://api.openai.com/v1/embeddings", openAI, alone, bearer, ""},
		{"https://api.openai.com/v1/models", openAI, alone, bearer, ""},
		{"https://api.openai.com/v1/images/generations", openAI, alone, bearer, ""},
		{"https://api.openai.com/v1/audio/transcriptions", openAI, alone, bearer, ""},
		{"https://eu.api.openai.com", "https://eu.api.openai.com/v1/chat/completions", "https://eu.api.openai.com/v1/openai/v1/chat/completions", bearer, ""},
		gateway("https://gw.example", "https://gw.example/chat/completions"),
		gateway("https://gw.example:8443/llm", "https://gw.example:8443/llm/chat/completions"),
		gateway("https://gw.example/llm/chat/completions", "https://gw.example/llm/chat/completions"),
		gateway("https://gw.example/models", "https://gw.example/models/chat/completions"),
		gateway("https://gw.example/v1/models", "https://gw.example/v1/chat/completions"),
		gateway("https://gw.example/a%2Fb//c", "https://gw.example/a%2Fb/c/chat/completions"),
		{"https://gw.example/v1?team=a", "https://gw.example/v1/chat/completions?team=a", "https://gw.example/v1/openai/v1/chat/completions?team=a", bearer, ""},
		{"https://gw.example/v1?api-version=7", "https://gw.example/v1/chat/completions?api-version=7", "no:malformed; want a date", bearer, ""},
		gateway("https://gateway.ai.cloudflare.com/v1/0123456789abcdef0123456789abcdef/gw/openai/x", "https://gateway.ai.cloudflare.com/v1/0123456789abcdef0123456789abcdef/gw/openai/x/chat/completions"),
		{"http://localhost:11434/v1", "http://localhost:11434/v1/chat/completions", "http://localhost:11434/v1/openai/v1/chat/completions", bearer, ""},
		{"http://[::1]:8080/v1/chat/completions", "http://[::1]:8080/v1/chat/completions", "http://[::1]:8080/v1/openai/v1/chat/completions", bearer, ""},
		gateway("https://openai.azure.com.evil.example/", "https://openai.azure.com.evil.example/chat/completions"),
		gateway("https://evilopenai.azure.com/", "https://evilopenai.azure.com/chat/completions"),
	}
}

func addressesOfAzure() []addressRow {
	const r = "https://r.openai.azure.com"
	const project = "https://r.services.ai.azure.com/api/projects/p/openai/v1/chat/completions"
	return []addressRow{
		{r, azureV1, "", apiKey, public}, {r + "/", azureV1, "", apiKey, public}, {r + "/openai", azureV1, "", apiKey, public}, {r + "//openai//", azureV1, "", apiKey, public},
		{r + "/openai/v1", azureV1, "", apiKey, public}, {r + "/openai/v1/", azureV1, "", apiKey, public}, {r + "/v1", azureV1, "", apiKey, public},
		{r + "/openai/v1/chat/completions", azureV1, "", apiKey, public}, {r + "/openai/v1/responses", azureV1, "", apiKey, public}, {r + "/v1/chat/completions", azureV1, "", apiKey, public},
		{r + "/openai/v1/models", azureV1, "", apiKey, public}, {r + ":443/openai/v1/", "https://r.openai.azure.com:443/openai/v1/chat/completions", "", apiKey, public},
		{r + "/openai/v1/?api-version=preview", azureV1 + "?api-version=preview", "", apiKey, public},
		{r + "/openai/v1/responses?api-version=preview", azureV1 + "?api-version=preview", "", apiKey, public},
		{r + "/openai/v1?api-version=2024-10-21", "no:want https://r.openai.azure.com/openai/v1/", "", "", ""},
		{r + "/openai/v1/chat/completions?api-version=2024-10-21", "no:want https://r.openai.azure.com/openai/v1/", "", "", ""},
		{r + "?api-version=2024-10-21", strings.Replace(azureOld, "/d/", "/m/", 1), "", apiKey, public},
		{r + "/openai/?api-version=2024-10-21", strings.Replace(azureOld, "/d/", "/m/", 1), "", apiKey, public},
		{r + "/openai/responses?api-version=2025-04-01-preview", strings.Replace(strings.Replace(azureOld, "/d/", "/m/", 1), "2024-10-21", "2025-04-01-preview", 1), "", apiKey, public},
		{r + "/openai/models?api-version=2024-10-21", strings.Replace(azureOld, "/d/", "/m/", 1), "", apiKey, public},
		{r + "/openai/deployments?api-version=2024-10-21", strings.Replace(azureOld, "/d/", "/m/", 1), "", apiKey, public},
		{r + "/openai/deployments/d/chat/completions?api-version=2024-10-21", azureOld, "", apiKey, public},
		{r + "/openai/deployments/d/embeddings?api-version=2024-10-21", azureOld, "", apiKey, public},
		{r + "//openai/deployments/d//chat/completions?api-version=2024-10-21", azureOld, "", apiKey, public},
		{r + "/openai/deployments/d?API-VERSION=2024-10-21", azureOld, "", apiKey, public},
		{r + "/deployments/d/chat/completions?api-version=2024-10-21", azureOld, "", apiKey, public},
		{r + "/openai/deployments/d/extensions/chat/completions?api-version=2024-10-21", azureOld, "", apiKey, public},
		{r + "/openai/deployments/d/chat/completions", "no:want https://r.openai.azure.com/openai/v1/, and the deployment as the model", "", "", ""},
		{r + "/openai/deployments/d", "no:such as 2024-10-21", "", "", ""},
		{"https://https://r.openai.azure.com/", azureV1, "", apiKey, public}, {"AZURE_OPENAI_ENDPOINT=" + r, azureV1, "", apiKey, public},
		{"https://R.OPENAI.AZURE.COM/openai/v1/", "https://R.OPENAI.AZURE.COM/openai/v1/chat/completions", "", apiKey, public},
		{"https://eastus.api.cognitive.microsoft.com/", "https://eastus.api.cognitive.microsoft.com/openai/v1/chat/completions", "", apiKey, public},
		{"https://eastus.api.cognitive.microsoft.com/openai/deployments/d/chat/completions?api-version=2024-10-21", "https://eastus.api.cognitive.microsoft.com/openai/deployments/d/chat/completions?api-version=2024-10-21", "", apiKey, public},
		{"https://r.cognitiveservices.azure.com/", "https://r.cognitiveservices.azure.com/openai/v1/chat/completions", "", apiKey, public},
		{"https://r.services.ai.azure.com", "https://r.services.ai.azure.com/openai/v1/chat/completions", "", apiKey, public},
		{"https://r.services.ai.azure.com/models", "https://r.services.ai.azure.com/models/chat/completions", "", apiKey, public},
		{"https://r.services.ai.azure.com/models/chat/completions?api-version=2024-05-01-preview", "https://r.services.ai.azure.com/models/chat/completions?api-version=2024-05-01-preview", "", apiKey, public},
		{"https://r.services.ai.azure.com/api/projects/p", project, "", apiKey, foundry}, {"https://r.services.ai.azure.com/api/projects/p/openai", project, "", apiKey, foundry},
		{"https://r.services.ai.azure.com/api/projects/p/openai/v1/responses", project, "", apiKey, foundry},
		{"https://apim.azure-api.net/openai/deployments/d/chat/completions?api-version=2024-10-21", "https://apim.azure-api.net/openai/deployments/d/chat/completions?api-version=2024-10-21", "", apiKey, public},
		{"https://apim.azure-api.net/team/openai/deployments/d?api-version=2024-10-21", "https://apim.azure-api.net/team/openai/deployments/d/chat/completions?api-version=2024-10-21", "", apiKey, public},
		{"https://apim.azure-api.net/team", "https://apim.azure-api.net/team/chat/completions", "https://apim.azure-api.net/team/openai/v1/chat/completions", bearer, public},
		{"https://gw.example/openai/deployments/d/chat/completions?api-version=2024-10-21", "https://gw.example/openai/deployments/d/chat/completions?api-version=2024-10-21", "", apiKey, ""},
	}
}

func addressesOfOtherClouds() []addressRow {
	return []addressRow{
		{"https://r.openai.azure.us/", "https://r.openai.azure.us/openai/v1/chat/completions", "", apiKey, usGov},
		{"https://r.cognitiveservices.azure.us/openai/v1/", "https://r.cognitiveservices.azure.us/openai/v1/chat/completions", "", apiKey, usGov},
		{"https://r.services.ai.azure.us", "https://r.services.ai.azure.us/openai/v1/chat/completions", "", apiKey, usGov},
		{"https://r.services.ai.azure.us/api/projects/p", "https://r.services.ai.azure.us/api/projects/p/openai/v1/chat/completions", "", apiKey, "https://ai.azure.us/.default"},
		{"https://usgovvirginia.api.cognitive.microsoft.us/", "https://usgovvirginia.api.cognitive.microsoft.us/openai/v1/chat/completions", "", apiKey, usGov},
		{"https://apim.azure-api.us/openai/deployments/d?api-version=2024-10-21", "https://apim.azure-api.us/openai/deployments/d/chat/completions?api-version=2024-10-21", "", apiKey, usGov},
		{"https://r.openai.azure.cn/", "https://r.openai.azure.cn/openai/v1/chat/completions", "", apiKey, china},
		{"https://r.cognitiveservices.azure.cn/", "https://r.cognitiveservices.azure.cn/openai/v1/chat/completions", "", apiKey, china},
		{"https://r.services.ai.azure.cn/", "https://r.services.ai.azure.cn/openai/v1/chat/completions", "", apiKey, china},
		{"https://chinaeast2.api.cognitive.azure.cn/", "https://chinaeast2.api.cognitive.azure.cn/openai/v1/chat/completions", "", apiKey, china},
		{"https://apim.azure-api.cn/openai/deployments/d?api-version=2024-10-21", "https://apim.azure-api.cn/openai/deployments/d/chat/completions?api-version=2024-10-21", "", apiKey, china},
	}
}

func addressesThatAreRefused() []addressRow {
	var rows []addressRow
	for address, says := range map[string]string{
		"api.openai.com/v1": "want https://api.openai.com/v1/", "r.openai.azure.com": "want https://r.openai.azure.com/openai/v1/", "//r.openai.azure.com/": "want https://r.openai.azure.com/openai/v1/",
		"https:/r.openai.azure.com": "want https://r.openai.azure.com/openai/v1/", "https//api.openai.com/v1": "want https://api.openai.com/v1/", "localhost:11434/v1": "want http://localhost:11434/v1/",
		"127.0.0.1:8080": "want http://127.0.0.1:8080/", "r.openai.azure.com:443/openai/v1/": "want https://r.openai.azure.com:443/openai/v1/",
		"http://r.openai.azure.com/": "want https://r.openai.azure.com/openai/v1/", "http://api.openai.com/v1": "want https://api.openai.com/v1/", "http://gw.example/v1": "https",
		"wss://r.openai.azure.com/openai/v1/realtime": "want https://r.openai.azure.com/openai/v1/", "ftp://gw.example": "https", "https://": "want https://host",
		"https://platform.openai.com/api-keys": "want https://api.openai.com/v1/", "https://portal.azure.com/#@t/resource/x": "fragment", "https://ai.azure.com/resource/overview": "want https://RESOURCE.openai.azure.com/openai/v1/",
		"https://portal.azure.us/x": "want https://RESOURCE.openai.azure.us/openai/v1/", "https://<your-resource-name>.openai.azure.com/": "placeholder", "https://{resource}.openai.azure.com": "placeholder",
		"https://YOUR-RESOURCE-NAME.openai.azure.com": "placeholder", "${ENDPOINT}": "placeholder", "https://RESOURCE.openai.azure.com/": "placeholder",
		"https://user:CANARY@r.openai.azure.com/": "user information", "https://r.openai.azure.com/openai/v1/?api-key=CANARY": "key in its query", "https://gw.example/v1?subscription-key=CANARY": "key in its query",
		"https://gw.example/v1?code=CANARY": "key in its query", "https://gw.example/v1?x=sk-CANARY-1": "key in its query", "https://gw.example/v1?sk-CANARY-1": "key in its query",
		"https://gw.example/sk-CANARY-0001/v1": "looks like a key", "https://gw.example/v1/eyJhCANARY.b.c/": "looks like a key", "sk-CANARY-0001": "not a URL",
		"https://r.openai.azure.com/openai/v1/?api-version=": "empty api-version", "https://r.openai.azure.com/?api-version=2024-1-1": "want a date", "https://gw.example/v1?%zz": "malformed query",
		"https://r.openai.azure.com/foo": "want https://r.openai.azure.com/openai/v1/", "https://r.openai.azure.com/openai/v2": "want https://r.openai.azure.com/openai/v1/",
		"https://eastus.api.cognitive.microsoft.com/sts/v1.0/issuetoken": "want https://eastus.api.cognitive.microsoft.com/openai/v1/", "https://r.services.ai.azure.com/api/agents": "/api/projects/PROJECT/openai/v1/",
		"https://gw.example/..;/v1": "dot segment", "https://gw.example/%252e%252e/v1": "dot segment", "https://gw.example/a/%25252e%25252e%25252fv1": "dot segment", "https://gw.example/.;x=1/v1": "dot segment",
		"https://gw.example/%c0%ae%c0%ae/": "no UTF-8", "https://gw.example/a%5cb": "backslash", "https://gw.example/v1#x": "fragment",
		"@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/CANARY)": "unresolved Key Vault reference",
	} {
		rows = append(rows, addressRow{address: address, base: "no:" + says})
	}
	return rows
}

// called returns where a chat goes, with which header, and what the error of New
// says.
func called(t *testing.T, cfg client.Config) (target, header string, err error) {
	cfg.Source = static()
	cfg.Transport = tripFunc(func(req *http.Request) (*http.Response, error) {
		target = req.URL.String()
		for _, name := range []string{bearer, apiKey} {
			if req.Header.Get(name) != "" {
				header += name
			}
		}
		return answer(req, 200, "{}"), nil
	})
	c, err := client.New(cfg)
	if err == nil {
		_, err = c.Post(t.Context(), "chat/completions", map[string]string{"model": "m"}, nil)
	}
	return target, header, err
}

func TestEveryPastedAddressIsResolvedOrRefused(t *testing.T) {
	rows := addresses()
	if len(rows) < 80 {
		t.Errorf("only %d addresses", len(rows))
	}
	for _, row := range rows {
		want := map[string]string{"BaseURL": row.base, "OPENAI_BASE_URL": row.base, "AZURE_OPENAI_ENDPOINT": row.base}
		if row.endpoint != "" {
			want["AZURE_OPENAI_ENDPOINT"] = row.endpoint
		}
		for from, want := range want {
			azuretest.ClearEnv(t)
			clearEnv(t)
			var cfg client.Config
			if from == "BaseURL" {
				cfg.BaseURL = row.address
			} else {
				t.Setenv(from, row.address)
			}
			got, header, err := called(t, cfg)
			says, refused := strings.CutPrefix(want, "no:")
			shown := strings.ReplaceAll(row.address, "CANARY", "...")
			switch {
			case refused && (err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "CANARY")):
				t.Errorf("%s=%s: sent to %s; the error is of %d bytes; want %q, and no secret", from, shown, got, len(errText(err)), says)
			case refused && !strings.Contains(err.Error(), from) && !strings.Contains(says, "want a date") && says != "https":
				t.Errorf("%s=%s: the error does not name %s: %v", from, shown, from, err)
			case !refused && (err != nil || got != want):
				t.Errorf("%s=%s: sent to %s (%v), want %s", from, shown, got, err, want)
			case !refused && from != "AZURE_OPENAI_ENDPOINT" && header != row.header:
				t.Errorf("%s=%s: the key is in %s, want %s", from, shown, header, row.header)
			}
		}
		if a, err := azurename.Parse(row.address); err == nil && !strings.HasPrefix(row.base, "no:") && a.Scope() != row.scope {
			t.Errorf("%s: the scope is %q, want %q", row.address, a.Scope(), row.scope)
		}
	}
	t.Logf("%d addresses", len(rows))
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// A mesh may add TLS to what goes out for the service's own name.
func TestPlainHTTPToAServicesOwnNameHasToBeAskedFor(t *testing.T) {
	azuretest.ClearEnv(t)
	clearEnv(t)
	for _, base := range []string{"http://api.openai.com/v1/", "http://r.openai.azure.com/openai/v1/"} {
		if got, _, err := called(t, client.Config{BaseURL: base, PlainHTTP: true}); err != nil || got != base+"chat/completions" {
			t.Errorf("%s: sent to %s (%v)", base, got, err)
		}
		if _, _, err := called(t, client.Config{BaseURL: base}); err == nil || !strings.Contains(err.Error(), "want https://") {
			t.Errorf("%s, not asked for: %v", base, err)
		}
	}
}

func TestAStringShowsNoKeyThatStandsInTheAddress(t *testing.T) {
	c := inMemory(t, client.Config{BaseURL: "https://gw.example/t/0f8fad5bd9cbCANARY7086772895/v1?team=CANARY-team"}, nil)
	if s := c.String(); strings.Contains(s, "CANARY") || !strings.Contains(s, "https://gw.example/t/.../v1/?team=...") {
		t.Errorf("%d bytes: something that could be a key is shown, or the rest is not", len(s))
	}
}
