package openaiworkload_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/openaiworkload"
	"github.com/latchkey-go/latchkey/internal/platform"
	"github.com/latchkey-go/latchkey/internal/platform/platformtest"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// metadata answers like a platform's service, to the right question only.
func metadata(t *testing.T, want string, header, value, body string, answer ...string) http.RoundTripper {
	return memory(func(r *http.Request) (*http.Response, error) {
		if r.Method != "GET" || r.URL.String() != want || r.Header.Get(header) != value {
			t.Errorf("asked %s %s", r.Method, r.URL)
			return response(400, ""), nil
		}
		return response(200, body, answer...), nil
	})
}

func TestTheSubjectTokenComesFromThePlatform(t *testing.T) {
	const entra = `{"access_token":"%","expires_on":"1","resource":"api://openai","token_type":"Bearer"}`
	azure := strings.Replace(entra, "%", jwt(1), 1)
	for name, c := range map[string]func(t *testing.T, o *openaiworkload.Options){
		"openaiworkload": func(_ *testing.T, o *openaiworkload.Options) { o.Token = token(1) },
		"openaiworkload:kubernetes": func(t *testing.T, o *openaiworkload.Options) {
			o.From, o.TokenFile = "kubernetes", write(t, jwt(1)+"\n")
		},
		"openaiworkload:aws": func(t *testing.T, o *openaiworkload.Options) {
			o.From = "aws"
			t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", write(t, jwt(1)))
		},
		"openaiworkload:aws ": func(t *testing.T, o *openaiworkload.Options) {
			o.From, o.TokenFile = "aws", write(t, jwt(1))
			t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", write(t, jwt(2)))
		},
		"openaiworkload:azure": func(t *testing.T, o *openaiworkload.Options) {
			o.From, o.Audience = "azure", "api://openai"
			app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.RequestURI() != "/msi/token?api-version=2019-08-01&resource=api%3A%2F%2Fopenai" || r.Header.Get("X-Identity-Header") != "CANARY-header" {
					t.Errorf("App Service was asked %s", r.URL.RequestURI())
				}
				_, _ = io.WriteString(w, azure)
			}))
			t.Cleanup(app.Close)
			t.Setenv("IDENTITY_ENDPOINT", app.URL+"/msi/token")
			t.Setenv("IDENTITY_HEADER", "CANARY-header")
		},
		"openaiworkload:azure-imds": func(t *testing.T, o *openaiworkload.Options) {
			o.From, o.Audience, o.ManagedIdentityID = "azure-imds", "api://openai", "m1"
			o.Transport = both(o.Transport, metadata(t, "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&client_id=m1&resource=api%3A%2F%2Fopenai",
				"Metadata", "true", azure))
		},
		"openaiworkload:gcp": func(t *testing.T, o *openaiworkload.Options) {
			o.From = "gcp"
			o.Transport = both(o.Transport, metadata(t, "http://169.254.169.254/computeMetadata/v1/instance/service-accounts/default/identity?audience=https%3A%2F%2Fapi.openai.com%2Fv1",
				"Metadata-Flavor", "Google", jwt(1)+"\n", "Metadata-Flavor", "Google"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			clearEnv(t)
			i := newIssuer(t, grants("sk-CANARY-1", ""))
			o := openaiworkload.Options{IdentityProviderID: "idp_1", ServiceAccountID: "sa_1", Transport: i.transport}
			c(t, &o)
			src := newSource(t, o)
			v, err := src.Retrieve(background)
			if err != nil {
				t.Fatal(err)
			}
			if name = strings.TrimSpace(name); v.Source != name || src.String() != name {
				t.Errorf("its name is %q, want %q", v.Source, name)
			}
			r := i.seen()[0].params
			if r["subject_token"] != jwt(1) {
				t.Error("another subject token was exchanged")
			}
			if id := strings.HasSuffix(r["subject_token_type"].(string), ":id_token"); id != (o.From == "gcp") {
				t.Errorf("its type is %v", r["subject_token_type"])
			}
		})
	}
}

func TestATokenFileIsReadForEachExchange(t *testing.T) {
	i := newIssuer(t, grants("sk-CANARY-1", ""))
	o := options(i.transport)
	o.Token, o.From, o.TokenFile = nil, "kubernetes", write(t, jwt(1))
	src := newSource(t, o)
	for n := 1; n <= 2; n++ {
		if err := os.WriteFile(o.TokenFile, []byte(jwt(n)), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := src.Retrieve(background); err != nil {
			t.Fatal(err)
		}
		if i.seen()[0].params["subject_token"] != jwt(n) {
			t.Errorf("exchange %d had another token than the file", n)
		}
	}
}

// untouched fails the test when anything is sent.
func untouched(t *testing.T) memory {
	return func(r *http.Request) (*http.Response, error) {
		t.Errorf("something was sent to %s", r.URL.Host)
		return nil, errors.New("unreachable")
	}
}

func TestWhereTheIdentityIsNotAChainGoesOnWithoutANetwork(t *testing.T) {
	for name, c := range map[string]struct {
		from string
		env  []string
		part string
	}{
		"no token file":          {"kubernetes", nil, "no such file"},
		"no variable":            {"aws", nil, "AWS_WEB_IDENTITY_TOKEN_FILE is unset"},
		"no file behind it":      {"aws", []string{"AWS_WEB_IDENTITY_TOKEN_FILE", "no-such-file"}, "no such file"},
		"no App Service":         {"azure", nil, "IDENTITY_ENDPOINT and IDENTITY_HEADER are unset"},
		"no header":              {"azure", []string{"IDENTITY_ENDPOINT", "http://localhost/msi"}, "IDENTITY_HEADER is not"},
		"no endpoint":            {"azure", []string{"IDENTITY_HEADER", "CANARY"}, "IDENTITY_ENDPOINT is not"},
		"Service Fabric":         {"azure", []string{"IDENTITY_ENDPOINT", "https://localhost/", "IDENTITY_HEADER", "CANARY", "IDENTITY_SERVER_THUMBPRINT", "1"}, "Service Fabric"},
		"imds on Lambda":         {"azure-imds", []string{"AWS_LAMBDA_FUNCTION_NAME", "f"}, "AWS_LAMBDA_FUNCTION_NAME is set"},
		"imds on ECS":            {"azure-imds", []string{"ECS_CONTAINER_METADATA_URI_V4", "u"}, "another platform"},
		"imds on Cloud Run":      {"azure-imds", []string{"K_SERVICE", "s"}, "K_SERVICE is set"},
		"imds on App Service":    {"azure-imds", []string{"IDENTITY_ENDPOINT", "http://localhost/", "IDENTITY_HEADER", "CANARY"}, `"azure"`},
		"Google's on Lambda":     {"gcp", []string{"AWS_EXECUTION_ENV", "AWS_Lambda_go"}, "AWS_EXECUTION_ENV is set"},
		"Google's on a Function": {"gcp", []string{"IDENTITY_ENDPOINT", "http://localhost/"}, "IDENTITY_ENDPOINT is set"},
	} {
		t.Run(name, func(t *testing.T) {
			clearEnv(t)
			for i := 0; i < len(c.env); i += 2 {
				t.Setenv(c.env[i], c.env[i+1])
			}
			o := openaiworkload.Options{IdentityProviderID: "idp_1", ServiceAccountID: "sa_1", From: c.from,
				Transport: untouched(t)}
			switch c.from {
			case "kubernetes":
				o.TokenFile = filepath.Join(t.TempDir(), "none")
			case "azure", "azure-imds":
				o.Audience = "api://openai"
			}
			_, err := newSource(t, o).Retrieve(background)
			wantFault(t, err, false, c.part)
			if !errors.Is(err, credential.ErrUnavailable) {
				t.Errorf("%v: a chain would stop here", err)
			}
		})
	}
}

func TestWhatIsNoSubjectTokenGoesNowhere(t *testing.T) {
	down := &credential.SourceError{Source: "sts", Op: "call", Err: errors.New("503"), Transient: true}
	denied := &credential.SourceError{Source: "sts", Op: "call", Err: errors.New("403")}
	parts := strings.Split(jwt(1), ".")
	for name, c := range map[string]struct {
		text      string
		err       error
		transient bool
	}{
		"empty":              {text: " \n"},
		"an API key":         {text: "sk-CANARY-1"},
		"a page":             {text: "<html>CANARY.CANARY.CANARY</html>"},
		"two parts":          {text: parts[0] + "." + parts[1]},
		"five parts":         {text: jwt(1) + ".CANARY.CANARY"},
		"no signature":       {text: parts[0] + "." + parts[1] + "."},
		"a header of no use": {text: "CANARY.CANARY.CANARY"},
		"not signed":         {text: "eyJhbGciOiJub25lIn0.CANARYCANARY.CANARYCANARY"}, // {"alg":"none"}
		"a line break":       {text: parts[0] + "." + parts[1] + ".CANARY\nCANARY"},
		"too large":          {text: parts[0] + "." + strings.Repeat("CANARY00", 8200) + ".CANARY"},
		"an outage":          {err: down, transient: true},
		"a refusal":          {err: denied},
		"an error of a kind": {err: errors.New("x"), transient: true},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(untouched(t))
			o.Token = func(context.Context) (credential.Secret, error) { return credential.NewSecret(c.text), c.err }
			_, err := newSource(t, o).Retrieve(background)
			wantFault(t, err, c.transient, "the subject token")
			if c.err != nil && !errors.Is(err, c.err) {
				t.Errorf("%v: does not wrap the error of Token", err)
			}
		})
	}
}

func TestAnAnswerThatIsNotTheMetadataServicesIsNoToken(t *testing.T) {
	big := strings.Repeat("CANARY", 11<<10)
	flavor := []string{"Metadata-Flavor", "Google"}
	for name, c := range map[string]struct {
		from      string
		resp      *http.Response
		transient bool
		part      string
	}{
		"another cloud's service": {"gcp", response(200, jwt(1)), true, "Metadata-Flavor"},
		"a page":                  {"gcp", response(200, "<html>CANARY", flavor...), false, "JWT"},
		"no service account":      {"gcp", response(404, "CANARY", flavor...), false, "attach a service account"},
		"a redirect":              {"gcp", response(302, "", "Location", "http://198.51.100.1/CANARY"), true, "redirect"},
		"huge":                    {"gcp", response(200, big, flavor...), true, "65536"},
		"throttled":               {"gcp", response(429, ""), true, "429"},
		"no JSON":                 {"azure-imds", response(200, "<html>CANARY"), true, "not one of the platform"},
		"no token":                {"azure-imds", response(200, `{"access_token":""}`), true, "access_token"},
		"a number":                {"azure-imds", response(200, `{"access_token":1}`), true, "access_token"},
		"not a JWT":               {"azure-imds", response(200, `{"access_token":"sk-CANARY-1"}`), false, "JWT"},
		"another type":            {"azure-imds", response(200, `{"access_token":"`+jwt(1)+`","token_type":"pop"}`), true, "not one of"},
		"no identity":             {"azure-imds", response(400, `{"error":"CANARY"}`), false, "assign the managed identity"},
		"being updated":           {"azure-imds", response(410, ""), true, "updated"},
		"broken":                  {"azure-imds", response(500, "CANARY"), true, "500"},
	} {
		t.Run(name, func(t *testing.T) {
			clearEnv(t)
			asked := 0
			o := openaiworkload.Options{IdentityProviderID: "idp_1", ServiceAccountID: "sa_1", From: c.from}
			if c.from != "gcp" {
				o.Audience = "api://openai"
			}
			o.Transport = memory(func(*http.Request) (*http.Response, error) {
				asked++
				return c.resp, nil
			})
			ctx := background
			if name == "a redirect" { // where nothing is known it speaks against a service
				ctx = platform.On(t.Context(), platformtest.Machine(t, "google"))
			}
			_, err := newSource(t, o).Retrieve(ctx)
			wantFault(t, err, c.transient, c.part)
			if asked != 1 || errors.Is(err, credential.ErrUnavailable) {
				t.Errorf("asked %d times, then: %v", asked, err)
			}
		})
	}
}

func TestTheIdentityHeaderStaysOnThisMachine(t *testing.T) {
	for endpoint, near := range map[string]bool{
		"http://127.0.0.1:41/msi": true, "http://localhost:42356/msi": true, "http://169.254.129.3:8081/msi": true,
		"http://10.0.0.4/msi": true, "http://[::1]:80/msi": true, "https://identity.example/msi": true,
		"http://198.51.100.1/msi": false, "http://identity.example/msi": false, "http://localhost.example/msi": false,
		"ftp://localhost/msi": false, "http://u:p@localhost/msi": false, "localhost/msi": false, "http://%zz": false,
	} {
		clearEnv(t)
		t.Setenv("IDENTITY_ENDPOINT", endpoint)
		t.Setenv("IDENTITY_HEADER", "CANARY-header")
		asked := false
		o := openaiworkload.Options{IdentityProviderID: "idp_1", ServiceAccountID: "sa_1", From: "azure", Audience: "api://openai"}
		o.Transport = memory(func(*http.Request) (*http.Response, error) {
			asked = true
			return response(403, ""), nil
		})
		_, err := newSource(t, o).Retrieve(background)
		wantFault(t, err, false)
		if asked != near || errors.Is(err, credential.ErrUnavailable) {
			t.Errorf("%s was asked: %v, want %v; %v", endpoint, asked, near, err)
		}
	}
}
