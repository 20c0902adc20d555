package auto

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/azureidentity"
	"github.com/latchkey-go/latchkey/internal/azurename"
	"github.com/latchkey-go/latchkey/internal/platform"
)

// settings are the variables that decide without a reference. They tell which
// variables are set, not what they hold.
type settings struct {
	endpoint  bool // AZURE_OPENAI_ENDPOINT
	azureBase bool // OPENAI_BASE_URL is an Azure address
	azureKey  bool
	key       bool
	file      string
}

func readSettings() settings {
	_, azureBase := azureAddress("OPENAI_BASE_URL")
	return settings{
		endpoint:  isSet("AZURE_OPENAI_ENDPOINT"),
		azureBase: azureBase,
		azureKey:  isSet("AZURE_OPENAI_API_KEY"),
		key:       isSet("OPENAI_API_KEY"),
		file:      os.Getenv("OPENAI_API_KEY_FILE"),
	}
}

// endpoints are the variables that can name an endpoint of Azure here.
func (s settings) endpoints() []string {
	if s.azureBase {
		return []string{"AZURE_OPENAI_ENDPOINT", "OPENAI_BASE_URL"}
	}
	return []string{"AZURE_OPENAI_ENDPOINT"}
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
		found: foundOf(append(s.endpoints(), "AZURE_OPENAI_API_KEY"))}
	switch {
	case s.azure() && s.azureKey:
		c.src, c.err = keyFrom("AZURE_OPENAI_API_KEY")
	case s.azureKey && !s.key && s.file == "":
		c.err = &credential.SourceError{Source: c.name, Err: errors.New("AZURE_OPENAI_ENDPOINT is unset, and the key has no place to go"),
			Hint: "set AZURE_OPENAI_ENDPOINT to the resource, https://NAME.openai.azure.com"}
	case s.azureKey:
		c.skip, c.do, c.anyway = "AZURE_OPENAI_ENDPOINT is unset", "set AZURE_OPENAI_ENDPOINT, if Azure is meant", true
	case s.azure():
		c.skip, c.do = "AZURE_OPENAI_API_KEY is unset", "set AZURE_OPENAI_API_KEY to a key of the resource"
	default:
		c.skip, c.do, c.local = "AZURE_OPENAI_ENDPOINT is unset", "set AZURE_OPENAI_ENDPOINT to the resource, for Azure OpenAI", true
	}
	return c
}

func (s settings) identity(opts *Options) candidate {
	c := candidate{name: "azureidentity", looked: "AZURE_OPENAI_ENDPOINT without a key", found: foundOf(append(s.endpoints(), identityVariables()...))}
	switch {
	case !s.azure():
		c.skip = "AZURE_OPENAI_ENDPOINT is unset"
	case s.azureKey, s.azureBase && !s.endpoint && s.key:
		c.skip = "a key is set, and comes first"
	default:
		src, err := azureidentity.New(&azureidentity.Options{Transport: opts.transport})
		if err != nil {
			c.err = err
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
		if c.skip, c.local = "OPENAI_API_KEY is unset", !s.azure(); c.local {
			c.do = "set OPENAI_API_KEY to the key"
		}
	case s.endpoint:
		c.skip, c.anyway, c.do = onAzure, true, "set it as AZURE_OPENAI_API_KEY, if it is a key for Azure"
	case s.azureBase && s.azureKey:
		c.skip = "AZURE_OPENAI_API_KEY comes first, as OPENAI_BASE_URL is on Azure"
	default:
		c.src, c.err = keyFrom("OPENAI_API_KEY")
	}
	return c
}

func (s settings) keyInFile() candidate {
	c := candidate{name: "file", looked: "OPENAI_API_KEY_FILE", found: foundOf([]string{"OPENAI_API_KEY_FILE"})}
	switch {
	case s.file == "":
		if c.skip, c.local = "OPENAI_API_KEY_FILE is unset", !s.azure(); c.local {
			c.do = "set OPENAI_API_KEY_FILE to the path of the file that holds the key"
		}
	case s.azure():
		c.skip = onAzure
	case s.key:
		c.skip, c.anyway, c.do = "OPENAI_API_KEY comes first", true, "unset OPENAI_API_KEY, if the file is meant"
	case isKey(filepath.Base(s.file)):
		c.err, c.do = errors.New("OPENAI_API_KEY_FILE holds what looks like a key; want the path of a file"), "move it to OPENAI_API_KEY"
	default:
		c.src = credential.File(s.file)
		c.name = "file:" + s.file
	}
	return c
}

// keyFrom is the source of a variable's key. What is no key is an error before
// anything is asked.
func keyFrom(name string) (credential.Source, error) {
	src := credential.Env(name)
	if _, err := src.Retrieve(context.Background()); err != nil { // no I/O
		return nil, err //nolint:wrapcheck // it names the variable
	}
	return src, nil
}

const (
	notAsked = "no reference asks for it"
	onAzure  = "the endpoint is on Azure, where a key for OpenAI must not go"
)

// stores are the sources that want a reference, and what speaks for each here.
func stores() []candidate {
	var rows []candidate
	for _, s := range schemes(nil) {
		if s.example == "" {
			continue
		}
		c := candidate{name: s.name, looked: variable + "=" + s.name + "://...", found: foundOf(s.sets), skip: notAsked}
		if c.found != "unset" && c.found != "-" {
			c.do = "set " + variable + "=" + s.example + ", if the key is there"
		}
		rows = append(rows, c)
	}
	return rows
}

// foundWith tells of a reference, which is set, what else speaks for its source.
func foundWith(names []string) string {
	others := foundOf(names)
	switch {
	case others == "unset" || others == "-":
		return "set"
	case others == "set":
		others = strings.Join(names, ", ")
	}
	return "set, with " + others
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

// azureAddress returns the address in the variable, if package client takes it
// for an Azure address. Package client reports one that is not valid.
func azureAddress(name string) (azurename.Address, bool) {
	a, err := azurename.Parse(os.Getenv(name))
	return a, err == nil && a.Azure
}

// toWhat completes the advice to set OPENAI_CREDENTIAL, with a reference that fits
// the place. Nothing tells where people keep a key on a machine of their own. If
// they keep it nowhere, a plain variable is the way.
func toWhat(here platform.Place) string {
	const like = ", here for example to "
	switch {
	case here.Cloud == platform.AWS:
		return like + "awssecretsmanager:///NAME"
	case here.Cloud == platform.Azure:
		return like + "azurekeyvault://VAULT/NAME"
	case here.Service == platform.Kubernetes:
		return like + "file:///var/run/secrets/openai/key"
	}
	return ", if the key is in a store or a password manager; else OPENAI_API_KEY"
}
