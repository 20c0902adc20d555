package middleware

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/latchkey-go/latchkey/internal/azurename"
)

// ErrOrigin says that a request was about to leave the origin that its
// credential was configured for, for example by a redirect. Nothing was sent
// and no credential was fetched.
var ErrOrigin = errors.New("middleware: request is not for the credential's origin")

// An origin is a scheme, a host and a port (RFC 6454, section 4), lower case.
type origin struct {
	scheme, host, port string
	written            string // host and port as configured
	plain              bool   // http to another machine, by the operator's word
}

func (o origin) String() string { return o.scheme + "://" + o.hostport() }

func (o origin) hostport() string {
	if strings.Contains(o.host, ":") {
		return "[" + o.host + "]:" + o.port
	}
	return o.host + ":" + o.port
}

// parseOrigin reads "https://host[:port]". Without plainHTTP, http is allowed to
// a loopback address only: anything else would show the credential to the
// network.
func parseOrigin(s string, plainHTTP bool) (origin, error) {
	u, err := url.Parse(s)
	if err != nil {
		return origin{}, errors.New("middleware: origin: not a URL; want https://host[:port]")
	}
	switch {
	case u.User != nil:
		return origin{}, errors.New("middleware: origin: holds user information; remove it")
	case u.Opaque != "" || u.Host == "":
		return origin{}, errors.New("middleware: origin: want https://host[:port]")
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return origin{}, fmt.Errorf("middleware: origin of %q: holds a path, a query or a fragment; want https://host[:port]", u.Host)
	}
	o, ok := originOf(u)
	if !ok {
		return origin{}, errors.New("middleware: origin: want https, an ASCII host (punycode for other names) and a port from 1 to 65535")
	}
	o.plain = o.scheme == "http" && !loopback(o.host)
	if o.plain && !plainHTTP {
		return origin{}, fmt.Errorf("middleware: origin: plain http to %s shows the credential to the network; use https, or set PlainHTTP for a network that is safe by itself", o.host)
	}
	o.written = u.Host
	return o, nil
}

func originOf(u *url.URL) (origin, bool) {
	o := origin{scheme: u.Scheme, host: lowerASCII(u.Hostname()), port: u.Port()}
	if o.port == "" {
		switch o.scheme {
		case "https":
			o.port = "443"
		case "http":
			o.port = "80"
		}
	}
	return o, (o.scheme == "https" || o.scheme == "http") && azurename.PlainHost(o.host) && plainPort(o.port)
}

func plainPort(p string) bool {
	n := 0
	for i := range len(p) {
		if p[i] < '0' || p[i] > '9' || n > 65535 {
			return false
		}
		n = n*10 + int(p[i]-'0')
	}
	return n >= 1 && n <= 65535 && p[0] != '0'
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// lowerASCII leaves other letters alone: strings.ToLower would map U+212A, the
// Kelvin sign, to k.
func lowerASCII(s string) string {
	for i := range len(s) {
		if c := s[i]; c >= 'A' && c <= 'Z' {
			b := []byte(s)
			for j, c := range b {
				if c >= 'A' && c <= 'Z' {
					b[j] = c + 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

// check refuses a request that would carry the credential elsewhere. It is an
// allow-list: whatever is not plainly the configured origin is refused.
func (o origin) check(req *http.Request) error {
	u := req.URL
	if u == nil {
		return fmt.Errorf("%w: it has no URL", ErrOrigin)
	}
	got, ok := o, u.Scheme == o.scheme && u.Host == o.written // the usual case, without parsing it again
	if !ok {
		got, ok = originOf(u)
		got.written, got.plain = o.written, o.plain
	}
	switch {
	case !ok || u.Opaque != "":
		return fmt.Errorf("%w: its URL is not a plain http(s) URL; want %s", ErrOrigin, o)
	case got != o:
		return fmt.Errorf("%w: it goes to %s, the credential is for %s", ErrOrigin, got, o)
	case u.User != nil:
		return fmt.Errorf("%w: its URL holds user information", ErrOrigin)
	case req.Method == http.MethodConnect:
		return fmt.Errorf("%w: CONNECT asks for another target than the URL", ErrOrigin)
	case o.plain && req.Response != nil:
		return fmt.Errorf("%w: it follows a redirect over plain http, which anybody on the way can answer with", ErrOrigin)
	case req.Host != "" && req.Host != u.Host && !o.sameHost(req.Host):
		return fmt.Errorf("%w: its Host header names another host than its URL", ErrOrigin)
	}
	return nil
}

func (o origin) sameHost(hostport string) bool {
	got, ok := originOf(&url.URL{Scheme: o.scheme, Host: hostport})
	got.written, got.plain = o.written, o.plain
	return ok && got == o
}
