package auto

import (
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/azureidentity"
)

// settings are the variables that decide without a reference. They hold
// whether, not what.
type settings struct {
	endpoint  bool // AZURE_OPENAI_ENDPOINT
	azureBase bool // OPENAI_BASE_URL has one of Azure's names
	azureKey  bool
	key       bool
	file      string
}

func readSettings() settings {
	return settings{
		endpoint:  isSet("AZURE_OPENAI_ENDPOINT"),
		azureBase: azureHost(os.Getenv("OPENAI_BASE_URL")),
		azureKey:  isSet("AZURE_OPENAI_API_KEY"),
		key:       isSet("OPENAI_API_KEY"),
		file:      os.Getenv("OPENAI_API_KEY_FILE"),
	}
}

func (s settings) azure() bool { return s.endpoint || s.azureBase }

// byVariables lists the four sources that variables alone configure. At most
// one of them applies.
func byVariables(opts *Options) []candidate {
	s := readSettings()
	return []candidate{s.keyOfAzure(), s.identity(opts), s.keyOfOpenAI(), s.keyInFile()}
}

func (s settings) keyOfAzure() candidate {
	c := candidate{name: "env:AZURE_OPENAI_API_KEY", looked: "AZURE_OPENAI_ENDPOINT, AZURE_OPENAI_API_KEY",
		found: foundOf([]string{"AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY"})}
	switch {
	case s.azure() && s.azureKey:
		c.src, c.err = keyFrom("AZURE_OPENAI_API_KEY")
	case s.azureKey && !s.key && s.file == "":
		c.err = errors.New("AZURE_OPENAI_API_KEY is set, and AZURE_OPENAI_ENDPOINT is not: the key would have no place to go; set it to the resource, https://NAME.openai.azure.com")
		c.do = "set AZURE_OPENAI_ENDPOINT to https://NAME.openai.azure.com"
	case s.azureKey:
		c.skip, c.do = "AZURE_OPENAI_ENDPOINT is unset", "set AZURE_OPENAI_ENDPOINT if Azure is meant, else unset AZURE_OPENAI_API_KEY"
	case s.azure():
		c.skip = "AZURE_OPENAI_API_KEY is unset"
	default:
		c.skip, c.do, c.local = "AZURE_OPENAI_ENDPOINT is unset", "for Azure OpenAI set AZURE_OPENAI_ENDPOINT and, unless an identity is to be used, AZURE_OPENAI_API_KEY", true
	}
	return c
}

func (s settings) identity(opts *Options) candidate {
	c := candidate{name: "azureidentity", looked: "AZURE_OPENAI_ENDPOINT without a key", found: foundOf(identityVariables())}
	switch {
	case !s.azure():
		c.skip = "AZURE_OPENAI_ENDPOINT is unset"
	case s.azureKey, s.azureBase && !s.endpoint && s.key:
		c.skip = "a key is set, and comes first"
	default:
		src, err := azureidentity.New(&azureidentity.Options{ClientOptions: azureOptions(opts.transport)})
		if err != nil {
			c.err, c.do = err, "correct the variables of Azure's identity"
			return c
		}
		c.src = src
	}
	return c
}

func (s settings) keyOfOpenAI() candidate {
	c := candidate{name: "env:OPENAI_API_KEY", looked: "OPENAI_API_KEY", found: foundOf([]string{"OPENAI_API_KEY"})}
	switch {
	case !s.key:
		c.skip, c.do, c.local = "OPENAI_API_KEY is unset", "set it", !s.azure()
	case s.endpoint:
		c.skip, c.do = "the endpoint is Azure's, and a key of OpenAI's must not go there", "set AZURE_OPENAI_API_KEY if it is a key of Azure's"
	case s.azureBase && s.azureKey:
		c.skip = "AZURE_OPENAI_API_KEY comes first, as OPENAI_BASE_URL is Azure's"
	default:
		c.src, c.err = keyFrom("OPENAI_API_KEY")
	}
	return c
}

func (s settings) keyInFile() candidate {
	c := candidate{name: "file", looked: "OPENAI_API_KEY_FILE", found: foundOf([]string{"OPENAI_API_KEY_FILE"})}
	switch {
	case s.file == "":
		c.skip, c.do, c.local = "OPENAI_API_KEY_FILE is unset", "set it to the path of a file that holds the key", !s.azure()
	case s.azure():
		c.skip = "the endpoint is Azure's, and a key of OpenAI's must not go there"
	case s.key:
		c.skip, c.do = "OPENAI_API_KEY comes first", "unset the one that is not meant"
	case isKey(filepath.Base(s.file)):
		c.err, c.do = errors.New("OPENAI_API_KEY_FILE holds what looks like a key; want the path of a file"), "move it to OPENAI_API_KEY"
	default:
		c.src = credential.File(s.file)
		c.name = "file:" + s.file
	}
	return c
}

// keyFrom is the source of a variable's key, unless a reference got in there.
func keyFrom(name string) (credential.Source, error) {
	text := os.Getenv(name)
	if strings.Contains(text, "://") && text[0] != '@' || strings.HasPrefix(text, "arn:") {
		return nil, errors.New(name + " holds a reference, not a key; move it to " + variable)
	}
	return credential.Env(name), nil
}

const notAsked = "no reference asks for it"

// stores are the sources that want a reference, and what speaks for each here.
func stores() []candidate {
	var rows []candidate
	for _, s := range schemes(nil) {
		if s.example == "" {
			continue
		}
		c := candidate{name: s.name, looked: variable + "=" + s.name + "://...", found: foundOf(s.sets), skip: notAsked}
		if c.found != "unset" && c.found != "-" {
			c.do = "if the key is there: " + variable + "=" + s.example
		}
		rows = append(rows, c)
	}
	return rows
}

func isSet(name string) bool { return os.Getenv(name) != "" }

// foundOf tells which of the variables are set, and never to what.
func foundOf(names []string) string {
	var set []string
	for _, name := range names {
		if isSet(name) {
			set = append(set, name)
		}
	}
	switch {
	case len(names) == 0:
		return "-"
	case len(set) == 0:
		return "unset"
	case len(set) == len(names):
		return "set"
	}
	return strings.Join(set, ", ")
}

// azureHost reports whether base has one of Azure's own names, as in package
// client.
func azureHost(base string) bool {
	u, err := url.Parse(strings.TrimSpace(base))
	if err != nil {
		return false
	}
	host := strings.ToLower(u.Hostname())
	for _, cloud := range [...]string{"com", "us", "cn"} {
		for _, name := range [...]string{".openai.azure.", ".cognitiveservices.azure.", ".services.ai.azure."} {
			if strings.HasSuffix(host, name+cloud) {
				return true
			}
		}
	}
	return false
}

// azureOptions carry requests by t, if it is not nil.
func azureOptions(t http.RoundTripper) (o azcore.ClientOptions) {
	if t != nil {
		o.Transport = &http.Client{Transport: t}
	}
	return o
}

// platform names the platform that has left its marks in the environment.
func platform() string {
	for _, mark := range []struct{ platform, names string }{
		{"AWS Lambda", "AWS_LAMBDA_FUNCTION_NAME AWS_LAMBDA_RUNTIME_API"},
		{"Azure", "WEBSITE_SITE_NAME CONTAINER_APP_NAME IDENTITY_ENDPOINT FUNCTIONS_WORKER_RUNTIME AZURE_FEDERATED_TOKEN_FILE"},
		{"AWS", "AWS_EXECUTION_ENV ECS_CONTAINER_METADATA_URI_V4 AWS_CONTAINER_CREDENTIALS_FULL_URI AWS_CONTAINER_CREDENTIALS_RELATIVE_URI AWS_WEB_IDENTITY_TOKEN_FILE"},
		{"Kubernetes", "KUBERNETES_SERVICE_HOST"},
	} {
		for name := range strings.FieldsSeq(mark.names) {
			if isSet(name) {
				return mark.platform
			}
		}
	}
	return ""
}

// example is a reference that fits the platform.
func example(platform string) string {
	switch platform {
	case "AWS", "AWS Lambda":
		return "awssecretsmanager:///NAME"
	case "Azure":
		return "azurekeyvault://VAULT/NAME"
	case "Kubernetes":
		return "file:///var/run/secrets/openai/key"
	}
	return "exec:///path/to/helper"
}
