// Package azurename knows the names of the Azure clouds and of the services in
// them, and reads the addresses that people paste where a base URL is wanted.
package azurename

import (
	"net"
	"strings"
)

const (
	// DefaultScope is what tokens for Azure OpenAI in the public cloud are for.
	DefaultScope = "https://cognitiveservices.azure.com/.default"
	// FoundryScope is what tokens for Azure AI Foundry in the public cloud are for.
	FoundryScope = "https://ai.azure.com/.default"
)

// A Cloud is an Azure cloud. The zero Cloud is none.
type Cloud struct {
	// Name is what people call it.
	Name string
	// Scope is what tokens for Azure OpenAI are for, FoundryScope what tokens
	// for the projects of Azure AI Foundry are for.
	Scope, FoundryScope string
	// VaultSuffix is what the host of a Key Vault ends with, and VaultZone the
	// DNS zone of its private endpoints.
	VaultSuffix, VaultZone string
	// Portal is the portal of the cloud.
	Portal string

	authorities []string
	inference   []string // suffixes of the hosts of Azure OpenAI and related services
	regional    string   // of the endpoints of a whole region
	gateways    string   // of API Management
}

// Clouds lists the clouds, the public one first.
//
// https://learn.microsoft.com/azure/azure-government/compare-azure-government-global-azure
// https://learn.microsoft.com/azure/china/resources-developer-guide
// https://learn.microsoft.com/azure/private-link/private-endpoint-dns
func Clouds() [3]Cloud {
	return [...]Cloud{
		{
			Name:  "the public cloud",
			Scope: DefaultScope, FoundryScope: FoundryScope,
			VaultSuffix: ".vault.azure.net", VaultZone: "privatelink.vaultcore.azure.net", Portal: "portal.azure.com",
			authorities: []string{"login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net"},
			inference:   []string{".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com"},
			regional:    ".api.cognitive.microsoft.com", gateways: ".azure-api.net",
		},
		{
			Name:  "Azure Government",
			Scope: "https://cognitiveservices.azure.us/.default", FoundryScope: "https://ai.azure.us/.default",
			VaultSuffix: ".vault.usgovcloudapi.net", VaultZone: "privatelink.vaultcore.usgovcloudapi.net", Portal: "portal.azure.us",
			authorities: []string{"login.microsoftonline.us"},
			inference:   []string{".openai.azure.us", ".cognitiveservices.azure.us", ".services.ai.azure.us"},
			regional:    ".api.cognitive.microsoft.us", gateways: ".azure-api.us",
		},
		{
			Name:  "21Vianet",
			Scope: "https://cognitiveservices.azure.cn/.default", FoundryScope: "https://ai.azure.cn/.default",
			VaultSuffix: ".vault.azure.cn", VaultZone: "privatelink.vaultcore.azure.cn", Portal: "portal.azure.cn",
			authorities: []string{"login.chinacloudapi.cn", "login.partner.microsoftonline.cn"},
			inference:   []string{".openai.azure.cn", ".cognitiveservices.azure.cn", ".services.ai.azure.cn"},
			regional:    ".api.cognitive.azure.cn", gateways: ".azure-api.cn",
		},
	}
}

// OfInference returns the cloud of a host, with or without a port, that is one
// of Azure OpenAI, Cognitive Services or Azure AI Foundry.
func OfInference(host string) (Cloud, bool) {
	host = plain(host)
	for _, c := range Clouds() {
		for _, suffix := range append(c.inference, c.regional) {
			if below(host, suffix) {
				return c, true
			}
		}
	}
	return Cloud{}, false
}

// OfGateway returns the cloud of a host of API Management.
func OfGateway(host string) (Cloud, bool) {
	host = plain(host)
	for _, c := range Clouds() {
		if below(host, c.gateways) {
			return c, true
		}
	}
	return Cloud{}, false
}

// OfVault returns the cloud of the host of a Key Vault, in any form that Vault
// knows.
func OfVault(host string) (Cloud, bool) {
	_, c, ok := Vault(host)
	return c, ok
}

// Vault returns the host of a Key Vault as Azure gave it, and its cloud. The
// host may have capitals, a dot at its end, the port of https, or the name that
// its private endpoint has in the DNS.
func Vault(host string) (string, Cloud, bool) {
	host = strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(host), ":443"), ".")
	for _, c := range Clouds() {
		for _, suffix := range [...]string{c.VaultSuffix, "." + c.VaultZone, "." + strings.TrimPrefix(c.VaultZone, "privatelink.")} {
			if name, ok := strings.CutSuffix(host, suffix); ok && name != "" && !strings.ContainsAny(name, ".:@/") {
				return name + c.VaultSuffix, c, true
			}
		}
	}
	return host, Cloud{}, false
}

// OfScope returns the cloud that a scope for Azure OpenAI or Azure AI Foundry is
// of.
func OfScope(scope string) (Cloud, bool) {
	for _, c := range Clouds() {
		if scope == c.Scope || scope == c.FoundryScope {
			return c, true
		}
	}
	return Cloud{}, false
}

// HasProjects reports whether a host of the cloud has projects of Azure AI
// Foundry, which take tokens of FoundryScope.
func (c Cloud) HasProjects(host string) bool {
	return len(c.inference) > 0 && below(plain(host), c.inference[len(c.inference)-1])
}

// Authority is the address that tokens in the cloud come from.
func (c Cloud) Authority() string {
	if len(c.authorities) == 0 {
		return ""
	}
	return "https://" + c.authorities[0] + "/"
}

// OfAuthority returns the cloud of the host, or the URL, that tokens come from.
func OfAuthority(authority string) (Cloud, bool) {
	host := strings.ToLower(strings.TrimSpace(authority))
	host, _, _ = strings.Cut(strings.TrimPrefix(host, "https://"), "/")
	for _, c := range Clouds() {
		for _, known := range c.authorities {
			if host == known {
				return c, true
			}
		}
	}
	return Cloud{}, false
}

// Zone returns the DNS zone that a private endpoint of the host needs; that of
// Azure OpenAI in the public cloud if the host is not known.
func Zone(host string) string {
	host = plain(host)
	for _, c := range Clouds() {
		for _, suffix := range c.inference {
			if below(host, suffix) {
				return "privatelink" + suffix
			}
		}
		if below(host, c.regional) {
			return "privatelink" + c.inference[1]
		}
	}
	return "privatelink.openai.azure.com"
}

// below reports whether a name stands before the suffix.
func below(host, suffix string) bool {
	return len(host) > len(suffix) && strings.HasSuffix(host, suffix)
}

// plain is the host in lower case, without a port.
func plain(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.ToLower(host)
}
