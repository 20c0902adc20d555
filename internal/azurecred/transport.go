package azurecred

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/latchkey-go/latchkey/internal/leaf"
)

// transporters returns one for managed identities and one for the authority.
// The endpoints of managed identities are on the machine itself or beside it: a
// proxy from the environment must not see their tokens.
func transporters(own http.RoundTripper) (mi, web policy.Transporter) {
	return watch(leaf.HTTP{Transport: own, Plain: leaf.Nearby, NoProxy: true}), Transporter(own)
}

// Transporter returns the HTTP client for an Azure service, whose requests
// go by own if that is not nil. How they end is seen by [Detached].
func Transporter(own http.RoundTripper) policy.Transporter { return watch(leaf.HTTP{Transport: own}) }

func watch(h leaf.HTTP) policy.Transporter { return &watched{h.Client().Do} }

// A watched transporter notes how requests end: the SDK makes text of errors on
// their way up.
type watched struct {
	do func(*http.Request) (*http.Response, error)
}

func (w *watched) Do(req *http.Request) (*http.Response, error) {
	seen, _ := req.Context().Value(seenKey{}).(*Seen)
	seen.asking(req.URL.Hostname())
	resp, err := w.do(req)
	if err != nil {
		seen.note(&Seen{Err: err, Host: req.URL.Hostname()})
		return nil, err //nolint:wrapcheck // azcore looks at it
	}
	if resp.StatusCode < 300 {
		seen.good(resp.StatusCode, req.URL.Hostname())
		return resp, nil
	}
	body, err := io.ReadAll(resp.Body)
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
	// Good is the status of the last answer below 300, and From its host.
	Good int
	From string

	mu sync.Mutex
}

type seenKey struct{}

func (s *Seen) watch(ctx context.Context) context.Context {
	return context.WithValue(ctx, seenKey{}, s)
}

// good notes an answer that may not come from Azure all the same.
func (s *Seen) good(status int, host string) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Good, s.From = status, host
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

// asking notes whom the first request goes to. What came of a request stays
// until there is more to tell of the next.
func (s *Seen) asking(host string) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Host == "" {
		s.Host = host
	}
}

// last returns a copy of s, which a request that still runs may change.
func (s *Seen) last() *Seen {
	last := &Seen{}
	if s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		last.note(s)
	}
	return last
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
