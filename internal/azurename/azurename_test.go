package azurename_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/internal/azurename"
)

func TestEachHostIsOfOneCloud(t *testing.T) {
	const none, public, gov, china = "", "the public cloud", "Azure Government", "21Vianet"
	for host, want := range map[string]string{
		"r.openai.azure.com": public, "R.OpenAI.Azure.COM:443": public, "r.cognitiveservices.azure.com": public, "r.services.ai.azure.com": public, "eastus.api.cognitive.microsoft.com": public,
		"r.openai.azure.us": gov, "r.cognitiveservices.azure.us": gov, "r.services.ai.azure.us": gov, "v.api.cognitive.microsoft.us": gov,
		"r.openai.azure.cn": china, "r.cognitiveservices.azure.cn": china, "r.services.ai.azure.cn": china, "c.api.cognitive.azure.cn": china,
		".openai.azure.com": none, "openai.azure.com": none, "evilopenai.azure.com": none, "r.openai.azure.com.evil.example": none, "api.openai.com": none, "": none,
	} {
		if c, ok := azurename.OfInference(host); c.Name != want || ok != (want != none) {
			t.Errorf("%s: %q, %t", host, c.Name, ok)
		}
	}
	for host, want := range map[string]string{"v.vault.azure.net": public, "V.vault.usgovcloudapi.net": gov, "v.vault.azure.cn": china, "v.vault.azure.us": none, "a.b.vault.azure.net": none, "v.vault.azure.net:1": none, ".vault.azure.net": none} {
		if c, _ := azurename.OfVault(host); c.Name != want {
			t.Errorf("%s: %q", host, c.Name)
		}
	}
	for host, want := range map[string]string{"": none, "https://login.microsoftonline.com/": public, "login.microsoftonline.us": gov, "https://login.chinacloudapi.cn/tenant": china, "login.partner.microsoftonline.cn": china, "https://login.microsoftonline.us.evil": none} {
		if c, _ := azurename.OfAuthority(host); c.Name != want {
			t.Errorf("%s: %q", host, c.Name)
		}
	}
	if c, ok := azurename.OfGateway("g.azure-api.us"); !ok || c.Name != gov {
		t.Errorf("a gateway is of %q", c.Name)
	}
}

func TestAVaultHasOneAddress(t *testing.T) {
	for host, want := range map[string]string{
		"v.vault.azure.net": "v.vault.azure.net", "V.VAULT.azure.net:443": "v.vault.azure.net", "v.vault.azure.net.": "v.vault.azure.net", "v.vault.azure.net.:443": "v.vault.azure.net",
		"v.vaultcore.azure.net": "v.vault.azure.net", "v.privatelink.vaultcore.usgovcloudapi.net": "v.vault.usgovcloudapi.net", "v.vaultcore.azure.cn": "v.vault.azure.cn",
		"v.vault.azure.net:8443": "", "vault.azure.net": "", "v.evil.vaultcore.azure.net": "", "v.vault.azure.net.evil.example": "",
	} {
		if got, _, ok := azurename.Vault(host); ok != (want != "") || ok && got != want {
			t.Errorf("%s: %q, %t, want %q", host, got, ok, want)
		}
	}
}

func TestAScopeIsOfOneCloud(t *testing.T) {
	for scope, want := range map[string]string{
		azurename.DefaultScope: "https://login.microsoftonline.com/", azurename.FoundryScope: "https://login.microsoftonline.com/",
		"https://cognitiveservices.azure.us/.default": "https://login.microsoftonline.us/", "https://ai.azure.cn/.default": "https://login.chinacloudapi.cn/", "https://vault.azure.net/.default": "",
	} {
		if c, ok := azurename.OfScope(scope); c.Authority() != want || ok != (want != "") {
			t.Errorf("%s: %q", scope, c.Authority())
		}
	}
}

func TestTheZoneOfAPrivateEndpointIsThatOfTheHost(t *testing.T) {
	for host, want := range map[string]string{
		"r.openai.azure.com": "privatelink.openai.azure.com", "r.openai.azure.us": "privatelink.openai.azure.us", "r.cognitiveservices.azure.cn:443": "privatelink.cognitiveservices.azure.cn",
		"r.services.ai.azure.com": "privatelink.services.ai.azure.com", "eastus.api.cognitive.microsoft.com": "privatelink.cognitiveservices.azure.com", "": "privatelink.openai.azure.com",
	} {
		if got := azurename.Zone(host); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
}

func TestAPathThatLeadsOutIsRefusedHoweverItIsWritten(t *testing.T) {
	for _, path := range []string{
		"..", "a/../b", "./a", "a/%2e%2e/b", "%2E./b", "%252e%252e", "a%2f..%2fb", "a/%25252e%25252e", "..;/b", "a/..;x=1/b", ".;/", "%2e%2e%3b/a", "..%20/a", "a\\b", "a%5cb", "a%255cb", "a%00", "a%0ab",
		"%zz", "%c0%ae%c0%ae/", "a/%ff", "%" + strings.Repeat("25", 12) + "2e", "%25%2532%65", "%%32e%%32e",
	} {
		if azurename.CheckPath(path) == nil {
			t.Errorf("%s was accepted", path)
		}
	}
	for _, path := range []string{"", "a", "a/b/", "a...b", "...", "a%2Fb", "100%25", "a%2525b", "files/a;b", "ü", "%C3%BC", ".well-known/x", "a.b"} {
		if err := azurename.CheckPath(path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestWhatCouldBeAKeyIsNotShown(t *testing.T) {
	for path, want := range map[string]string{
		"/openai/v1/": "/openai/v1/", "/t/sk-CANARY-0001/v1/": "/t/.../v1/", "/0f8fad5bd9cb469fa16570867728950e/v1/": "/.../v1/", "/openai/deployments/gpt-4o-mini-2024-07-18/": "/openai/deployments/.../", "/team-a/": "/team-a/",
	} {
		if got := azurename.Shown(path); got != want {
			t.Errorf("%d bytes became %q, want %q", len(path), got, want)
		}
	}
	for _, key := range []string{"sk-CANARY", "SK-CANARY", "gsk_CANARY", "eyJhbGciOi", "AIzaCANARY", "hvs.CANARY"} {
		if !azurename.LooksLikeKey(key) {
			t.Errorf("%.3s...: not taken for a key", key)
		}
	}
	for _, name := range []string{"sk-", "skill", "eyJ", "hf", "openai", "task-0001-a", ""} {
		if azurename.LooksLikeKey(name) {
			t.Errorf("%s: taken for a key", name)
		}
	}
}

func TestAHostThatCanBeReadInTwoWaysIsRefused(t *testing.T) {
	for _, host := range []string{"%25", "a%20b.example", "a!b", "a;b.c", "b\u00fccher.example", "\u212a.example", "[::1%25eth0]", "a.b.", "a,b", "a*b", "a%00b", "a'b", strings.Repeat("a", 254)} {
		if a, err := azurename.Parse("https://" + host + "/"); err == nil {
			t.Errorf("%q became %s", host, a.Origin)
		}
	}
	for _, host := range []string{"a", "A_b-c.example:8443", "[::1]:1", "127.0.0.1", "xn--bcher-kva.example", strings.Repeat("a", 253)} {
		if _, err := azurename.Parse("https://" + host + "/"); err != nil {
			t.Errorf("%q: %v", host, err)
		}
	}
}

// What is resolved once stays as it is, and what is refused is not quoted.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"https://r.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21", "'https://https://api.openai.com//v1'", "r.services.ai.azure.com/api/projects/p",
		"https://gw.example/%252e%252e/?a=b&&c", "OPENAI_BASE_URL=http://[::1]:1/", "wss://x/realtime", "https:/a.b", "http://%25",
	} {
		f.Add(seed, "CANARY+secret")
	}
	f.Fuzz(func(t *testing.T, text, secret string) {
		a, err := azurename.Parse(text)
		if err != nil {
			return
		}
		u, err := url.Parse(a.Origin + a.Path)
		if err != nil || u.User != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.Scheme+"://"+u.Host != a.Origin {
			t.Fatalf("%q became %+v", text, a)
		}
		if !strings.HasPrefix(a.Path, "/") || !strings.HasSuffix(a.Path, "/") || strings.Contains(a.Path, "//") || azurename.CheckPath(a.Path) != nil {
			t.Fatalf("%q has the path %q", text, a.Path)
		}
		if !strings.Contains(strings.ToLower(text), strings.ToLower(u.Host)) {
			t.Fatalf("%q goes to %s", text, u.Host)
		}
		again, err := azurename.Parse(a.Origin + a.Path)
		if err != nil || again.Origin != a.Origin || again.Azure != a.Azure || again.Scope() != a.Scope() || len(again.Path) > len(a.Path) {
			t.Fatalf("%q became %+v, then %+v (%v)", text, a, again, err)
		}
	})
}
