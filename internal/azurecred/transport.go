package azurecred

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"

	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

const (
	// maxAnswer bounds what is read of an answer; a token has some KiB.
	maxAnswer   = 1 << 20
	dialTimeout = 10 * time.Second
)

// transporters returns one for managed identities and one for the authority.
// The endpoints of managed identities are on the machine itself: a proxy from
// the environment must not see their tokens.
func transporters(own policy.Transporter) (mi, web policy.Transporter) {
	if own != nil {
		return &watched{own.Do}, &watched{own.Do}
	}
	return &watched{NewClient(nil).Do}, &watched{NewClient(http.ProxyFromEnvironment).Do}
}

// NewClient returns a client for the SDKs. It follows no redirect, which would
// carry credentials away. It keeps no idle connection: tokens are read about
// once an hour, and a process that was frozen in between would use a dead one.
func NewClient(proxy func(*http.Request) (*url.URL, error)) *http.Client {
	dialer := &net.Dialer{Timeout: dialTimeout}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:               proxy,
			DialContext:         dialer.DialContext,
			TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: dialTimeout,
			ForceAttemptHTTP2:   true,
			DisableKeepAlives:   true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Watch returns t with its answers capped, and seen by [Detached].
func Watch(t policy.Transporter) policy.Transporter { return &watched{t.Do} }

// A watched transporter caps answers and notes how requests end: the SDK makes
// text of errors on their way up.
type watched struct {
	do func(*http.Request) (*http.Response, error)
}

func (w *watched) Do(req *http.Request) (*http.Response, error) {
	resp, err := w.do(req)
	seen, _ := req.Context().Value(seenKey{}).(*Seen)
	if err != nil {
		seen.note(&Seen{Err: err, Host: req.URL.Hostname()})
		return nil, err //nolint:wrapcheck // azcore looks at it
	}
	if resp.StatusCode < 300 {
		resp.Body = &capped{io.LimitReader(resp.Body, maxAnswer), resp.Body}
		return resp, nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	_ = resp.Body.Close()
	if err != nil {
		seen.note(&Seen{Err: err, Host: req.URL.Hostname()})
		return nil, err //nolint:wrapcheck // azcore looks at it
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	note := read(resp.StatusCode, body)
	note.Host = req.URL.Hostname()
	seen.note(note)
	return resp, nil
}

type capped struct {
	io.Reader
	io.Closer
}

// Seen is how the last request of a call ended.
type Seen struct {
	// Err is the transport's; nil if an answer came.
	Err error
	// Host was asked.
	Host string
	// Status is the answer's.
	Status int
	// Code and Inner are codes of the answer's body: "invalid_client",
	// "Forbidden" and "ForbiddenByRbac".
	Code, Inner string
	// AADSTS and AKV are numbers of Entra and Key Vault in its text: 7000215,
	// 10022. They are 0 if there is none.
	AADSTS, AKV int

	mu sync.Mutex
}

type seenKey struct{}

func (s *Seen) watch(ctx context.Context) context.Context {
	return context.WithValue(ctx, seenKey{}, s)
}

func (s *Seen) note(n *Seen) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Err, s.Host, s.Status = n.Err, n.Host, n.Status
	s.Code, s.Inner, s.AADSTS, s.AKV = n.Code, n.Inner, n.AADSTS, n.AKV
}

// read takes out of an error's body what can be shown: codes and numbers.
// Texts stay out, because services quote in them what they were sent.
func read(status int, body []byte) *Seen {
	s := &Seen{Status: status}
	var doc struct {
		Error       json.RawMessage `json:"error"`
		Code        any             `json:"code"`
		Message     string          `json:"message"`
		Description string          `json:"error_description"`
		Codes       []int           `json:"error_codes"`
	}
	if json.Unmarshal(body, &doc) != nil {
		return s
	}
	var nested struct {
		Code, Message string
		InnerError    struct{ Code string }
	}
	if json.Unmarshal(doc.Error, &s.Code) != nil && json.Unmarshal(doc.Error, &nested) == nil {
		s.Code, s.Inner = nested.Code, nested.InnerError.Code
	}
	text := doc.Description + " " + doc.Message + " " + nested.Message
	s.AADSTS, s.AKV = number(text, "AADSTS"), number(text, "AKV")
	if len(doc.Codes) > 0 {
		s.AADSTS = doc.Codes[0]
	}
	s.Code, s.Inner = word(s.Code), word(s.Inner)
	return s
}

// number returns the digits after prefix in text.
func number(text, prefix string) int {
	n := 0
	for rest := text; n == 0; {
		_, after, ok := strings.Cut(rest, prefix)
		if !ok {
			return 0
		}
		for i := 0; i < len(after) && i < 9 && after[i] >= '0' && after[i] <= '9'; i++ {
			n = n*10 + int(after[i]-'0')
		}
		rest = after
	}
	return n
}

// word returns s if it is an identifier as services have them, else nothing.
func word(s string) string {
	if len(s) > 40 {
		return ""
	}
	for i := range len(s) {
		if c := s[i]; !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '.') {
			return ""
		}
	}
	return s
}
