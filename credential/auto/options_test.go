package auto_test

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/credential/awsextension"
	"github.com/latchkey-go/latchkey/credential/awsparameterstore"
	"github.com/latchkey-go/latchkey/credential/awssecretsmanager"
	"github.com/latchkey-go/latchkey/credential/azureidentity"
	"github.com/latchkey-go/latchkey/credential/azurekeyvault"
	"github.com/latchkey-go/latchkey/credential/execcommand"
	"github.com/latchkey-go/latchkey/credential/hashivault"
	"github.com/latchkey-go/latchkey/credential/hashivault/awsauth"
	"github.com/latchkey-go/latchkey/credential/hashivault/azureauth"
	"github.com/latchkey-go/latchkey/credential/openaiworkload"
)

// optionsOf are the Options of all sources, by their package.
func optionsOf() map[string]reflect.Type {
	return map[string]reflect.Type{
		"awsextension": reflect.TypeFor[awsextension.Options](), "awsparameterstore": reflect.TypeFor[awsparameterstore.Options](),
		"awssecretsmanager": reflect.TypeFor[awssecretsmanager.Options](), "azureidentity": reflect.TypeFor[azureidentity.Options](),
		"azurekeyvault": reflect.TypeFor[azurekeyvault.Options](), "execcommand": reflect.TypeFor[execcommand.Options](),
		"hashivault": reflect.TypeFor[hashivault.Options](), "awsauth": reflect.TypeFor[awsauth.Options](),
		"azureauth": reflect.TypeFor[azureauth.Options](), "openaiworkload": reflect.TypeFor[openaiworkload.Options](),
	}
}

// table is all options as a table: those that more sources have come first.
func table() string {
	fields, types := map[string][]string{}, map[string][]string{}
	for name, options := range optionsOf() {
		for i := range options.NumField() {
			if f := options.Field(i); f.IsExported() {
				fields[f.Name] = append(fields[f.Name], name)
				types[f.Name] = append(types[f.Name], f.Type.String())
			}
		}
	}
	var b strings.Builder
	b.WriteString("| Option | Type | Sources |\n|---|---|---|\n")
	names := slices.SortedFunc(maps.Keys(fields), func(a, b string) int {
		return cmp.Or(len(fields[b])-len(fields[a]), strings.Compare(a, b))
	})
	for _, name := range names {
		slices.Sort(fields[name])
		slices.Sort(types[name])
		fmt.Fprintf(&b, "| `%s` | `%s` | %s |\n", name, strings.Join(slices.Compact(types[name]), "`, `"), strings.Join(fields[name], ", "))
	}
	return b.String()
}

func TestTheOptionsOfAllSourcesStandInOneTable(t *testing.T) {
	page, err := os.ReadFile("../../docs/sources.md")
	if err != nil {
		t.Fatal(err)
	}
	if want := table(); !strings.Contains(string(page), want) {
		t.Errorf("docs/sources.md does not have this table:\n%s", want)
	}
}

// One name is one thing: it has one type in all sources, and no other name
// stands for what another source calls so.
func TestOneNameOfAnOptionIsOneThing(t *testing.T) {
	types := map[string]reflect.Type{}
	for name, options := range optionsOf() {
		for i := range options.NumField() {
			f := options.Field(i)
			known, ok := types[f.Name]
			if f.Name == "Client" || f.Name == "Credential" { // of one SDK each
				continue
			}
			if types[f.Name] = f.Type; ok && known != f.Type {
				t.Errorf("%s.Options.%s is a %v, and elsewhere a %v", name, f.Name, f.Type, known)
			}
			for _, other := range []string{"VersionID", "VersionStage", "HTTPClient", "MetadataTransport", "RoundTripper", "StandbyKey", "Key"} {
				if f.Name == other {
					t.Errorf("%s.Options.%s: this has another name in other sources", name, f.Name)
				}
			}
		}
	}
}
