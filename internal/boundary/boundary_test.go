package boundary_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// What the SDKs link. A pattern that ends in "/..." stands for the modules
// below it and itself.
var (
	awsModules = []string{
		"github.com/aws/aws-sdk-go-v2/...",
		"github.com/aws/smithy-go",
	}
	azureCoreModules = []string{
		"github.com/Azure/azure-sdk-for-go/sdk/azcore",
		"github.com/Azure/azure-sdk-for-go/sdk/internal",
		"golang.org/x/net",
		"golang.org/x/text",
	}
	azureIdentityModules = slices.Concat(azureCoreModules, []string{
		"github.com/Azure/azure-sdk-for-go/sdk/azidentity",
		"github.com/AzureAD/microsoft-authentication-library-for-go",
		"github.com/golang-jwt/jwt/v5",
		"github.com/google/uuid",
		"github.com/kylelemons/godebug",
		"github.com/pkg/browser",
		"golang.org/x/crypto",
		"golang.org/x/sync",
	})
	azureVaultModules = slices.Concat(azureIdentityModules, []string{
		"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets",
		"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/internal",
	})
	vaultModules = []string{
		"github.com/cenkalti/backoff/v4",
		"github.com/go-jose/go-jose/v4",
		"github.com/hashicorp/errwrap",
		"github.com/hashicorp/go-cleanhttp",
		"github.com/hashicorp/go-multierror",
		"github.com/hashicorp/go-retryablehttp",
		"github.com/hashicorp/go-rootcerts",
		"github.com/hashicorp/go-secure-stdlib/...",
		"github.com/hashicorp/go-sockaddr",
		"github.com/hashicorp/hcl",
		"github.com/hashicorp/vault/api/...",
		"github.com/mitchellh/mapstructure",
		"github.com/ryanuber/go-glob",
		"golang.org/x/net",
		"golang.org/x/text",
		"golang.org/x/time",
	}
	otelModules = []string{
		"github.com/cespare/xxhash/v2",
		"github.com/go-logr/logr",
		"github.com/go-logr/stdr",
		"go.opentelemetry.io/auto/sdk",
		"go.opentelemetry.io/otel",
		"go.opentelemetry.io/otel/log",
		"go.opentelemetry.io/otel/metric",
		"go.opentelemetry.io/otel/trace",
	}
	redisModules = []string{
		"github.com/cespare/xxhash/v2",
		"github.com/redis/go-redis/v9",
		"go.uber.org/atomic",
		"golang.org/x/sys",
	}
	middlewareModules = []string{"github.com/sethvargo/go-retry"}
	clientModules     = slices.Concat(middlewareModules, []string{
		"github.com/coder/websocket",
		"github.com/openai/openai-go/v3",
		"github.com/tidwall/gjson",
		"github.com/tidwall/match",
		"github.com/tidwall/pretty",
		"github.com/tidwall/sjson",
	})
	belowMiddleware = []string{"credential", "internal/azurename", "internal/redact", "internal/sent", "internal/splice", "internal/sse", "internal/usage", "internal/wire", "internal/wraperr", "middleware/limit"}
	leaves          = []string{
		"credential/awsbedrock",
		"credential/awsextension",
		"credential/awsparameterstore",
		"credential/awssecretsmanager",
		"credential/azureidentity",
		"credential/azurekeyvault",
		"credential/execcommand",
		"credential/hashivault",
		"credential/openaiworkload",
	}
)

// A bound is what a package may link and how much it may export.
type bound struct {
	// modules are all that the package links from outside, no more, no less.
	modules []string
	// own are the packages of this module that it may import, with what these
	// may import.
	own []string
	// exports is the most exported package-level names that it may have.
	exports int
}

var bounds = map[string]bound{
	".":                            {},
	"credential":                   {exports: 30, own: []string{"internal/hidden", "internal/platform", "internal/redact", "internal/smallfile"}},
	"credential/credentialtest":    {exports: 12, own: []string{"credential"}},
	"credential/awsextension":      {exports: 6, own: []string{"credential", "internal/awssecret", "internal/document", "internal/leaf", "internal/smallfile"}},
	"credential/awsbedrock":        {exports: 6, own: []string{"credential", "internal/awssdk", "internal/awssecret", "internal/document", "internal/leaf", "internal/smallfile"}, modules: awsModules},
	"credential/awsparameterstore": {exports: 6, own: []string{"credential", "internal/awssdk", "internal/awssecret", "internal/document", "internal/leaf", "internal/smallfile"}, modules: awsModules},
	"credential/awssecretsmanager": {exports: 6, own: []string{"credential", "internal/awssdk", "internal/awssecret", "internal/document", "internal/leaf", "internal/smallfile"}, modules: awsModules},
	"credential/azureidentity":     {exports: 6, own: []string{"credential", "internal/azurecred", "internal/azurename", "internal/leaf", "internal/smallfile"}, modules: azureIdentityModules},
	"credential/azurekeyvault":     {exports: 6, own: []string{"credential", "internal/azurecred", "internal/azurename", "internal/document", "internal/leaf", "internal/smallfile"}, modules: azureVaultModules},
	"credential/execcommand":       {exports: 6, own: []string{"credential"}},
	"credential/hashivault":        {exports: 6, own: []string{"credential", "internal/document", "internal/leaf", "internal/smallfile"}, modules: vaultModules},
	"credential/hashivault/awsauth": {
		exports: 6,
		own:     []string{"credential", "internal/awssdk", "internal/leaf", "internal/metadata", "internal/platform", "internal/smallfile"},
		modules: slices.Concat(awsModules, vaultModules),
	},
	"credential/hashivault/azureauth": {
		exports: 6,
		own:     []string{"credential", "internal/azurecred", "internal/leaf", "internal/metadata", "internal/platform", "internal/smallfile"},
		modules: slices.Concat(azureIdentityModules, vaultModules),
	},
	"credential/openaiworkload": {exports: 6, own: []string{"credential", "internal/leaf", "internal/metadata"}},
	"credential/auto": {
		exports: 6,
		own:     slices.Concat([]string{"credential", "internal/awssdk", "internal/awssecret", "internal/azurecred", "internal/azurename", "internal/document", "internal/leaf", "internal/smallfile"}, leaves),
		modules: slices.Concat(awsModules, azureVaultModules, vaultModules),
	},
	"middleware":                    {exports: 30, own: belowMiddleware, modules: middlewareModules},
	"middleware/limit":              {exports: 17},
	"middleware/redislimit":         {exports: 6, own: []string{"middleware/limit"}, modules: redisModules},
	"middleware/telemetry":          {exports: 6, own: slices.Concat([]string{"middleware"}, belowMiddleware), modules: slices.Concat(middlewareModules, otelModules)},
	"audit":                         {exports: 15, own: slices.Concat([]string{"middleware"}, belowMiddleware), modules: middlewareModules},
	"audit/anomaly":                 {exports: 13, own: slices.Concat([]string{"middleware"}, belowMiddleware), modules: middlewareModules},
	"rotation":                      {exports: 15, own: []string{"credential"}},
	"rotation/azurekeyvault":        {exports: 3, own: []string{"credential", "internal/azurecred", "internal/azurename", "internal/leaf", "internal/rotationdoc", "internal/smallfile", "rotation"}, modules: azureVaultModules},
	"rotation/awssecretsmanager":    {exports: 3, own: []string{"credential", "internal/awssdk", "internal/awssecret", "internal/document", "internal/leaf", "rotation"}, modules: slices.Concat(awsModules, []string{"github.com/aws/aws-lambda-go"})},
	"rotation/azureopenai":          {exports: 3, own: []string{"credential", "internal/keyproof", "rotation"}, modules: azureCoreModules},
	"rotation/openaiadmin":          {exports: 3, own: slices.Concat([]string{"client", "dialguard", "internal/keyproof", "middleware", "rotation"}, belowMiddleware), modules: clientModules},
	"rotation/file":                 {exports: 2, own: []string{"credential", "internal/rotationdoc", "rotation"}},
	"rotation/hashivault":           {exports: 2, own: []string{"credential", "internal/rotationdoc", "rotation"}, modules: vaultModules},
	"dialguard":                     {exports: 6, own: []string{"internal/azurename", "internal/leaf"}},
	"client":                        {exports: 15, own: slices.Concat([]string{"dialguard", "middleware"}, belowMiddleware), modules: clientModules},
	"client/clienttest":             {exports: 32, own: []string{"internal/hidden"}},
	"internal/azurename":            {},
	"internal/awssdk":               {own: []string{"credential", "internal/leaf", "internal/metadata", "internal/smallfile"}, modules: awsModules},
	"internal/awssecret":            {own: []string{"credential", "internal/document"}},
	"internal/azurecred":            {own: []string{"credential", "internal/azurename", "internal/leaf", "internal/metadata", "internal/platform", "internal/smallfile"}, modules: azureIdentityModules},
	"internal/boundary":             {},
	"internal/chaos":                {},
	"internal/document":             {own: []string{"credential"}},
	"internal/hidden":               {},
	"internal/keyproof":             {own: []string{"credential", "rotation"}},
	"internal/leaf":                 {},
	"internal/metadata":             {own: []string{"internal/leaf", "internal/platform"}},
	"internal/platform":             {own: []string{"internal/smallfile"}},
	"internal/redact":               {},
	"internal/redact/redacttest":    {},
	"internal/rotationdoc":          {own: []string{"credential", "rotation"}},
	"internal/sent":                 {own: []string{"credential", "internal/redact"}},
	"internal/smallfile":            {},
	"internal/splice":               {},
	"internal/sse":                  {},
	"internal/testing/awstest":      {},
	"internal/testing/azuretest":    {},
	"internal/testing/openaitest":   {},
	"internal/testing/rotationtest": {own: []string{"credential", "rotation"}},
	"internal/usage":                {own: []string{"internal/sse"}},
	"internal/wire":                 {own: []string{"internal/sse"}},
	"internal/wraperr":              {},

	"internal/platform/platformtest": {own: []string{"internal/platform"}},
}

// A listed is a package as go list tells it.
type listed struct {
	ImportPath, Name string
	Standard         bool
	Module           *struct{ Path string }
	Imports, Deps    []string
}

// dir is the package's folder from the root.
func (p listed) dir() string {
	if p.ImportPath == modulePath {
		return "."
	}
	return strings.TrimPrefix(p.ImportPath, modulePath+"/")
}

func (p listed) ours() bool { return p.Module != nil && p.Module.Path == modulePath }

// goList returns all that the root module links, by import path.
func goList(t *testing.T) map[string]listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Name,Standard,Module,Imports,Deps", "./...")
	cmd.Dir = load(t).root
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, stderr.String())
	}
	all := map[string]listed{}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		all[p.ImportPath] = p
	}
}

// libraries calls f for each package of the module but the programs among the
// examples, which may link anything.
func libraries(t *testing.T, f func(t *testing.T, p listed, all map[string]listed)) {
	t.Helper()
	all := goList(t)
	for _, p := range all {
		if p.ours() && p.Name != "main" {
			t.Run(p.dir(), func(t *testing.T) { f(t, p, all) })
		}
	}
}

func matches(pattern, module string) bool {
	if base, ok := strings.CutSuffix(pattern, "/..."); ok {
		return module == base || strings.HasPrefix(module, base+"/")
	}
	return module == pattern
}

// P9: a program links only the SDKs of the sources that it imports.
func TestEachPackageLinksOnlyItsOwnModules(t *testing.T) {
	libraries(t, func(t *testing.T, p listed, all map[string]listed) {
		want, ok := bounds[p.dir()]
		if !ok {
			t.Fatalf("no entry for this package in bounds: say what it may link, import and export")
		}
		var links []string
		for _, dep := range p.Deps {
			if d := all[dep]; d.Module != nil && !d.ours() {
				links = append(links, d.Module.Path)
			}
		}
		slices.Sort(links)
		links = slices.Compact(links)
		for _, m := range links {
			if !slices.ContainsFunc(want.modules, func(pattern string) bool { return matches(pattern, m) }) {
				t.Errorf("links %s, which bounds does not allow", m)
			}
		}
		for _, pattern := range want.modules {
			if !slices.ContainsFunc(links, func(m string) bool { return matches(pattern, m) }) {
				t.Errorf("does not link %s any more: drop it from bounds", pattern)
			}
		}
	})
}

func TestImportsRunOneWay(t *testing.T) {
	libraries(t, func(t *testing.T, p listed, all map[string]listed) {
		for _, dep := range p.Deps {
			if d := all[dep]; d.ours() && !mayImport(p.dir(), d.dir()) {
				t.Errorf("imports %s, which bounds does not allow", d.dir())
			}
		}
	})
}

// mayImport reports whether bounds lets a package import another one, by itself
// or through one that it may import.
func mayImport(dir, dep string) bool {
	return slices.ContainsFunc(bounds[dir].own, func(own string) bool { return own == dep || mayImport(own, dep) })
}

func TestNoPackageLinksWhatIsNotForLibraries(t *testing.T) {
	// Linked by nobody, at any depth, unless the package is for tests.
	deep := map[string]string{
		"github.com/openai/openai-go/v3": "its root package links 16 MB; option is enough",
		"go.opentelemetry.io/otel/sdk":   "the program chooses the SDK",
		"testing":                        "it registers flags in the program",
		"net/http/pprof":                 "it registers handlers in the program",
	}
	// Not imported by us; an SDK or the standard library may need it.
	direct := map[string]string{
		"C":      "it needs a C compiler",
		"unsafe": "nothing here needs it",
		"log":    "a library prints nothing",
		"expvar": "it publishes the command line",
	}
	libraries(t, func(t *testing.T, p listed, _ map[string]listed) {
		if strings.HasSuffix(p.dir(), "test") {
			return
		}
		for _, dep := range p.Deps {
			if p.dir() == "rotation/openaiadmin" && dep == "github.com/openai/openai-go/v3" {
				continue // its admin services are there, and readers of keys do not link it
			}
			if why := deep[dep]; why != "" {
				t.Errorf("links %s: %s", dep, why)
			}
			if strings.HasPrefix(dep, "go.opentelemetry.io/otel/sdk/") {
				t.Errorf("links %s: %s", dep, deep["go.opentelemetry.io/otel/sdk"])
			}
		}
		for _, imp := range p.Imports {
			if why := direct[imp]; why != "" {
				t.Errorf("imports %s: %s", imp, why)
			}
		}
	})
}
