package credential_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"strings"
	"testing"
	texttemplate "text/template"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
)

// A position is where a program may keep a value.
func positions[T any](x T) map[string]any {
	type nested struct {
		Outer struct{ inner []map[string]struct{ x *T } }
	}
	deep := nested{}
	deep.Outer.inner = []map[string]struct{ x *T }{{"k": {&x}}}
	return map[string]any{
		"value":                       x,
		"pointer":                     &x,
		"exported field":              struct{ X T }{x},
		"unexported field":            struct{ x T }{x},
		"exported pointer":            struct{ X *T }{&x},
		"unexported pointer":          struct{ x *T }{&x},
		"exported interface":          struct{ X any }{x},
		"unexported interface":        struct{ x any }{x},
		"pointer to unexported field": &struct{ x T }{x},
		"slice":                       []T{x},
		"array":                       [1]T{x},
		"slice of any":                []any{x, &x},
		"map value":                   map[string]T{"k": x},
		"map of any":                  map[any]any{"k": x},
		"func":                        func() T { return x },
		"nested":                      deep,
		"unexported embedding":        struct{ hidden[T] }{hidden[T]{x}},
	}
}

type hidden[T any] struct{ v T }

// sinks are the ways out of a program.
var sinks = map[string]func(any) string{
	"Sprint":   func(x any) string { return fmt.Sprint(x) },
	"Sprintln": func(x any) string { return fmt.Sprintln(x) },
	"Errorf":   func(x any) string { return fmt.Errorf("failed: %v", x).Error() },
	"Join":     func(x any) string { return errors.Join(fmt.Errorf("%+v", x), errors.New("other")).Error() },
	"panic": func(x any) (text string) {
		defer func() { text = fmt.Sprintf("panic: %v [recovered] %#v", recover(), x) }()
		panic(x)
	},
	"json": func(x any) string { b, err := json.Marshal(x); return fmt.Sprint(string(b), err) },
	"json indent": func(x any) string {
		b, err := json.MarshalIndent(map[string]any{"x": x}, "", " ")
		return fmt.Sprint(string(b), err)
	},
	"xml": func(x any) string { b, err := xml.Marshal(x); return fmt.Sprint(string(b), err) },
	"gob": func(x any) string {
		var b bytes.Buffer
		err := gob.NewEncoder(&b).Encode(x)
		return fmt.Sprint(b.String(), err)
	},
	"text/template": func(x any) string {
		var b strings.Builder
		err := texttemplate.Must(texttemplate.New("").Parse(`{{.}} {{printf "%+v %s %q" . . .}}`)).Execute(&b, x)
		return fmt.Sprint(b.String(), err)
	},
	"html/template": func(x any) string {
		var b strings.Builder
		err := template.Must(template.New("").Parse(`<a title="{{.}}">{{.}}</a><script>x = {{.}}</script>`)).Execute(&b, x)
		return fmt.Sprint(b.String(), err)
	},
	"slog text": func(x any) string {
		var b strings.Builder
		logTo(slog.NewTextHandler(&b, nil), x)
		return b.String()
	},
	"slog JSON": func(x any) string {
		var b strings.Builder
		logTo(slog.NewJSONHandler(&b, nil), x)
		return b.String()
	},
}

func logTo(h slog.Handler, x any) {
	slog.New(h).With("with", x).WithGroup("g").Info(fmt.Sprintf("%v", x), "x", x, slog.Group("in", "x", x), slog.Any("list", []any{x}))
}

// allSinks are the sinks, and each verb of fmt.
func allSinks() map[string]func(any) string {
	all := maps.Clone(sinks)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%T", "%c", "%U", "%t", "%e", "%p", "%5.1v", "%!"} {
		all[verb] = func(x any) string { return fmt.Sprintf(verb, x) }
	}
	return all
}

// shows reports whether text holds the canary, plain or in a usual encoding.
func shows(text string) bool {
	const canary = "CANARY"
	spaced := make([]string, len(canary))
	for i := range canary {
		spaced[i] = fmt.Sprint(canary[i])
	}
	lower := strings.ToLower(text)
	return strings.Contains(text, canary) || strings.Contains(lower, hex.EncodeToString([]byte(canary))) ||
		strings.Contains(lower, "43 41 4e 41 52 59") || strings.Contains(text, strings.Join(spaced, " ")) ||
		strings.Contains(text, strings.Join(spaced, ",")) || strings.Contains(text, "Q0FOQVJZ")
}

func checkSinks[T any](t *testing.T, what string, x T) (n int) {
	t.Helper()
	for position, p := range positions(x) {
		for sink, print := range allSinks() {
			n++
			if shows(print(p)) {
				t.Errorf("%s shows the secret of a %s in the position %s", sink, what, position)
			}
		}
	}
	return n
}

// Promise P6, as far as this package goes: every exported type, in every
// position, through every sink.
func TestNothingPrintsASecret(t *testing.T) {
	secret := credential.NewSecret(key(1))
	store := credentialtest.NewStore(key(1))
	static := credential.Static(secret, credential.APIKey)
	log := &log{}
	chain := newChain(t, static, credential.Standby(store, static))
	cache := newCache(t, chain, &credential.CacheOptions{Grace: -1, OnEvent: log.add})
	value := retrieve(t, cache, 1)
	cache.Accept(value)
	_, err := cache.Replace(background, reject(value))
	wantErr(t, err, credential.ErrRejected)
	_, bad := newCache(t, credential.Static(credential.NewSecret("CANARY CANARY"), 0), nil).Retrieve(background)
	_, none := newChain(t, credential.Static(credential.Secret{}, 0), credential.Env("LATCHKEY_TEST_UNSET")).Retrieve(background)
	down := newCache(t, credential.SourceFunc(func(context.Context) (credential.Value, error) { panic(key(1)) }), nil)
	_, panicked := down.Retrieve(background)
	source := (*credential.SourceError)(nil)
	if !errors.As(bad, &source) {
		t.Fatalf("got %T", bad)
	}

	n := 0
	n += checkSinks(t, "Secret", secret)
	n += checkSinks(t, "Value", value)
	n += checkSinks(t, "Rejection", reject(value))
	n += checkSinks(t, "Event", log.events)
	n += checkSinks(t, "Scheme", value.Scheme)
	n += checkSinks(t, "Source", static)
	n += checkSinks(t, "Chain", chain)
	n += checkSinks(t, "pair", credential.Standby(static, store))
	n += checkSinks(t, "Cache", cache)
	n += checkSinks(t, "failed Cache", down)
	n += checkSinks(t, "CacheOptions", credential.CacheOptions{OnEvent: log.add})
	tenants := newTenants(t, func(context.Context, string) (credential.Source, error) { return chain, nil }, nil)
	owned, err2 := tenants.Retrieve(as("acme"))
	if err2 != nil {
		t.Fatal(err2)
	}
	_, closed := newTenants(t, func(context.Context, string) (credential.Source, error) { panic(key(1)) }, nil).Retrieve(as("acme"))
	n += checkSinks(t, "Tenants", tenants)
	n += checkSinks(t, "a tenant's Value", owned)
	n += checkSinks(t, "a tenant's error", closed)
	n += checkSinks(t, "TenantsOptions", credential.TenantsOptions{Cache: credential.CacheOptions{OnEvent: log.add}})
	n += checkSinks(t, "a context", as("acme"))
	n += checkSinks(t, "SourceFunc", credential.SourceFunc(static.Retrieve))
	n += checkSinks(t, "SourceError", source)
	n += checkSinks(t, "SourceError by value", *source)
	n += checkSinks(t, "ChainError", none)
	n += checkSinks(t, "ErrRejected", err)
	n += checkSinks(t, "panic", panicked)
	n += checkSinks(t, "Store", store)
	n += checkSinks(t, "RenewingStore", store.Renewing(nil))
	n += checkSinks(t, "Harness", credentialtest.Harness{Source: static})
	n += checkSinks(t, "map key", map[any]string{chain: "", cache: "", static: "", log: ""})
	n += checkSinks(t, "by-value source in a cache", winner(t))
	t.Logf("%d checks", n)
}

// A source that is a plain struct with the key in a string: what a user of
// this package may write. The cache must not print what it refers to.
type plain struct{ text string }

func (p plain) String() string { return "plain" }
func (p plain) Retrieve(context.Context) (credential.Value, error) {
	return credential.Value{Secret: credential.NewSecret(p.text)}, nil
}

func winner(t *testing.T) *credential.Cache {
	cache := newCache(t, newChain(t, plain{key(1)}), nil)
	retrieve(t, cache, 1)
	return cache
}

func TestRedactionSaysSo(t *testing.T) {
	v := apiKey(1)
	v.Expires = time.Time{}
	b, err := json.Marshal(v)
	if err != nil || !strings.Contains(string(b), `"Secret":"[redacted]"`) || !strings.Contains(string(b), `"Version":"v1"`) {
		t.Error("the JSON of a Value is not redacted, or not useful")
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if s := fmt.Sprintf(verb, v.Secret); s != "[redacted]" {
			t.Errorf("%s gives %d bytes", verb, len(s))
		}
	}
	if s := v.Secret.String() + v.Secret.GoString() + v.Secret.LogValue().String(); s != "[redacted][redacted][redacted]" {
		t.Error("a method is not redacted")
	}
}

// The runtime prints the value of a panic by itself.
func TestUncaughtPanicDoesNotPrintASecret(t *testing.T) {
	const which = "LATCHKEY_TEST_PANIC"
	cache := newCache(t, credential.Static(credential.NewSecret(key(1)), credential.APIKey), nil)
	v := retrieve(t, cache, 1)
	values := map[string]any{
		"secret": v.Secret, "value": v, "pointer": &v, "cache": cache, "rejection": reject(v),
		"error": &credential.SourceError{Source: "store", Err: fmt.Errorf("%v %+v", v, v.Secret)},
	}
	if p, ok := values[os.Getenv(which)]; ok {
		panic(p)
	}
	for name := range values {
		cmd := exec.Command(os.Args[0], "-test.run=^TestUncaughtPanicDoesNotPrintASecret$")
		cmd.Env = append(os.Environ(), which+"="+name, "GOTRACEBACK=system")
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "panic: ") {
			t.Errorf("%s: the process did not panic", name)
		}
		if shows(string(out)) {
			t.Errorf("%s: the panic shows the secret", name)
		}
	}
}
