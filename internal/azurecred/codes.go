package azurecred

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

const hintDNS = "check the name, and the DNS of the network: behind a private endpoint its zone has to be linked to the virtual network"

// entraCode explains a number of Microsoft Entra.
// https://learn.microsoft.com/entra/identity-platform/reference-error-codes
func entraCode(code int, scopes []string) (what, hint string, transient bool) {
	say := func(what string) string { return fmt.Sprintf("AADSTS%d: %s", code, what) }
	scope := strings.Join(scopes, " ")
	switch code {
	case 7000215:
		return say("the client secret is wrong"), "set AZURE_CLIENT_SECRET to the secret's value, not to its id", false
	case 7000222:
		return say("the client secret has expired"), "make a new one in the app registration and set AZURE_CLIENT_SECRET", false
	case 700027, 1000502:
		return say("the client certificate has expired, or is not the one that is registered"), "add a valid one to the app registration and to AZURE_CLIENT_CERTIFICATE_PATH", false
	case 700016, 7000229:
		return say("the tenant has no such application"), "check AZURE_CLIENT_ID, and that AZURE_TENANT_ID is the tenant of the application", false
	case 90002, 900023, 50128:
		return say("there is no such tenant"), "check AZURE_TENANT_ID and AZURE_AUTHORITY_HOST", false
	case 50020, 50178, 90072:
		return say("the account belongs to another tenant"), "log in to the tenant of the resource, or set AZURE_TENANT_ID", false
	case 500011, 500014, 70011, 1002012, 28002:
		return say(fmt.Sprintf("the tenant knows no resource of the scope %q", scope)), "check the scope and the cloud: https://cognitiveservices.azure.com/.default in the public one", false
	case 70021, 700211, 700212, 700213, 700223:
		return say("no federated credential of the application fits this token"), "compare issuer, subject and audience of the federated credential with the service account", false
	case 700024:
		return say("the assertion is not within its time"), "check the clock, and that the federated token file is renewed", false
	case 50076, 50079, 50158, 53003, 530003:
		return say("conditional access asks for another sign-in"), "", false
	case 70043, 700082, 50173, 50132, 50133, 65001:
		return say("the sign-in has expired, was revoked or lacks consent"), "", false
	case 50196, 90033, 90055, 90006, 50053:
		return say("the authority is busy or throttles"), "it is tried again", true
	}
	return fmt.Sprintf("AADSTS%d", code), fmt.Sprintf("see https://login.microsoftonline.com/error?code=%d", code), false
}

// Network explains why no answer came from host. The texts of net/http stay
// out: they hold URLs.
func Network(err error, host string) (cause, hint string) {
	if host == "" {
		host = "the host"
	}
	dns, verify := (*net.DNSError)(nil), (*tls.CertificateVerificationError)(nil)
	authority, name, invalid := x509.UnknownAuthorityError{}, x509.HostnameError{}, x509.CertificateInvalidError{}
	timeout := (net.Error)(nil)
	switch {
	case errors.As(err, &dns):
		return fmt.Sprintf("DNS: %s cannot be resolved", host), hintDNS
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		what := "has expired, or is not valid yet"
		if invalid.Cert != nil {
			what = fmt.Sprintf("is valid from %s to %s, and here it is %s", stamp(invalid.Cert.NotBefore), stamp(invalid.Cert.NotAfter), stamp(now()))
		}
		return fmt.Sprintf("TLS: the certificate of %s %s", host, what), "renew it, or set the clock here"
	case errors.As(err, &authority):
		return fmt.Sprintf("TLS: the certificate of %s is signed by an unknown authority", host),
			"a proxy that opens TLS needs its authority in the system's store or in SSL_CERT_FILE"
	case errors.As(err, &name):
		return fmt.Sprintf("TLS: the certificate that was shown is not for %s", host), "check the name, its DNS and proxies on the way"
	case errors.As(err, &invalid), errors.As(err, &verify):
		return fmt.Sprintf("TLS: the certificate of %s is not valid", host), "check the clock and proxies on the way"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Sprintf("%s did not answer in time", host), "check the route, firewalls and proxies to it"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, http.ErrUseLastResponse):
		return fmt.Sprintf("%s closed the connection without an answer", host), "try again; check proxies on the way"
	}
	return fmt.Sprintf("no connection to %s", host), "check that it is up and that the network lets this process reach it"
}

func isNetwork(err error) bool {
	op, dns, verify, netErr := (*net.OpError)(nil), (*net.DNSError)(nil), (*tls.CertificateVerificationError)(nil), (net.Error)(nil)
	return errors.As(err, &op) || errors.As(err, &dns) || errors.As(err, &verify) || errors.As(err, &netErr)
}

func now() time.Time { return time.Now() }

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
