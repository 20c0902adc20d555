package azuretest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// An Authority is Microsoft Entra: it issues tokens to applications.
// https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
type Authority struct {
	Tokens
	// URL is the value of AZURE_AUTHORITY_HOST.
	URL string

	server *httptest.Server
	cert   *Certificate
	secret string
}

// NewAuthority starts an authority that knows one application with that client
// secret; an empty one stands for applications with certificates or federated
// credentials, which are not verified.
func NewAuthority(t testing.TB, secret, token string) *Authority {
	t.Helper()
	return newAuthority(t, secret, token, time.Now().Add(time.Hour))
}

// NewExpiredAuthority is an authority whose TLS certificate has expired.
func NewExpiredAuthority(t testing.TB) *Authority {
	t.Helper()
	return newAuthority(t, "", "", time.Now().Add(-time.Hour))
}

func newAuthority(t testing.TB, secret, token string, end time.Time) *Authority {
	a := &Authority{secret: secret, cert: NewCertificate(t, end, "localhost")}
	a.SetToken(token)
	a.server = serveTLS(t, a.cert, a.serve)
	a.URL = a.server.URL
	return a
}

// Client returns a client that trusts the authority.
func (a *Authority) Client() *http.Client {
	return pinned(a.cert, a.server.Listener.Addr().String())
}

func (a *Authority) serve(w http.ResponseWriter, r *http.Request) {
	tenant, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch rest {
	case "v2.0/.well-known/openid-configuration":
		base := a.URL + "/" + tenant
		writeJSON(w, http.StatusOK, map[string]string{
			"issuer": base + "/v2.0", "authorization_endpoint": base + "/oauth2/v2.0/authorize", "token_endpoint": base + "/oauth2/v2.0/token",
		})
	case "oauth2/v2.0/token":
		// The whole request first: azcore takes a body back for the next try while
		// net/http may still be sending it.
		if r.ParseForm() != nil {
			http.Error(w, "{}", http.StatusBadRequest)
			return
		}
		if a.handled(w, r) {
			return
		}
		if a.secret != "" && r.PostForm.Get("client_secret") != a.secret {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, Entra(7000215, r.PostForm.Get("client_secret")))
			return
		}
		a.issue(w, r.PostForm, false)
	default:
		http.NotFound(w, r)
	}
}
