package middleware

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/hidden"
	scrub "github.com/latchkey-go/latchkey/internal/redact"
)

// sentSecrets are the credentials that a send has carried, the credential itself
// and the key of a gateway, and those of the sends before it in the same call:
// a server may have kept them. The zero Secret is none. Whatever the server
// echoes is shown without them.
type sentSecrets []credential.Secret

// A sentRoom is where the sentSecrets of a first send are kept.
type sentRoom [2]credential.Secret

// with adds those of secrets that s does not have.
func (s *sentSecrets) with(secrets sentSecrets) {
	for _, secret := range secrets {
		if !slices.ContainsFunc(*s, secret.Equal) {
			*s = append(*s, secret)
		}
	}
}

func (s *sentSecrets) text(text string) string { return redactCut(text, false, *s) }

// header takes the secrets out of the values of h; a name that holds one is
// dropped with its values. It allocates nothing where there are none.
func (s *sentSecrets) header(h http.Header) { redactHeader(h, *s...) }

// response takes the secrets out of what of an answer callers print beside its
// body: the reason phrase, the header, and the trailer as far as it has come.
// The trailer is complete at the end of the body: call header for it again then.
func (s *sentSecrets) response(resp *http.Response) {
	resp.Status = s.text(resp.Status)
	s.header(resp.Header)
	s.header(resp.Trailer)
}

// err takes the secrets out of the text of an error: net/http quotes a malformed
// status line in it. Such an error keeps what it Is and whether it is a timeout,
// but not what it wraps.
func (s *sentSecrets) err(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	clean := s.text(text)
	if clean == text {
		return err
	}
	return &cleanError{text: clean, cause: hidden.Of(err)}
}

type cleanError struct {
	text  string
	cause hidden.Value[error]
}

func (e *cleanError) Error() string        { return e.text }
func (e *cleanError) Is(target error) bool { return errors.Is(e.cause(), target) }

// Timeout reports whether the error is a timeout, as net.Error does.
func (e *cleanError) Timeout() bool {
	timeout := (interface{ Timeout() bool })(nil)
	return errors.As(e.cause(), &timeout) && timeout.Timeout()
}

// redactHeader takes the secrets out of the values of h; a name that holds one,
// or the beginning of one, is dropped with its values.
func redactHeader(h http.Header, secrets ...credential.Secret) {
	least := shortest(secrets)
	if least == 0 {
		return
	}
	for name, values := range h {
		// No form of a secret is shorter than it is, and most headers are.
		if len(name) >= least {
			if clean := redactCut(name, false, secrets); clean != name {
				delete(h, name)
				continue
			}
		}
		for i, v := range values {
			if len(v) >= least {
				if clean := redactCut(v, false, secrets); clean != v {
					values[i], v = clean, clean
				}
			}
			if len(name)+len(":")+len(v) >= least && straddles(name, v, secrets) {
				delete(h, name)
				break
			}
		}
	}
}

// straddles reports whether a line of a header holds a secret that has a colon,
// or a form of one that does, as 73:6b:2d. The colon ends the name of the header,
// and no half is the secret.
func straddles(name, value string, secrets []credential.Secret) bool {
	const colonOfPair = len("0x6b:")
	colon := strings.IndexByte(value[:min(len(value), colonOfPair)], ':') >= 0
	for _, s := range secrets {
		colon = colon || strings.IndexByte(s.Reveal(), ':') >= 0
	}
	if !colon {
		return false
	}
	line := name + ":" + value
	return redactCut(line, false, secrets) != line
}

// shortest returns the length of the shortest secret, or 0 if there is none.
func shortest(secrets []credential.Secret) int {
	least := 0
	for _, s := range secrets {
		if n := len(s.Reveal()); n > 0 && (least == 0 || n < least) {
			least = n
		}
	}
	return least
}

// redactCut takes the secrets out of text. With cut, text is the beginning of a
// longer one, and an end that could be the beginning of a secret is taken out,
// too.
func redactCut(text string, cut bool, secrets []credential.Secret) string {
	var room [4]string
	plain := room[:0]
	for _, s := range secrets {
		if secret := s.Reveal(); secret != "" {
			plain = append(plain, secret)
		}
	}
	return scrub.Text(text, cut, plain...)
}

// credentialsIn returns the credentials in the header of a request that is
// about to be sent, for a layer that does not know where they came from.
func credentialsIn(h http.Header) (found []credential.Secret) {
	for name, values := range h {
		if !namesCredential(name) {
			continue
		}
		for _, v := range values {
			v = strings.TrimSpace(v)
			if secret := v[strings.LastIndexByte(v, ' ')+1:]; secret != "" {
				found = append(found, credential.NewSecret(secret))
			}
		}
	}
	return found
}

// namesCredential reports whether a header of that name carries a credential.
func namesCredential(name string) bool {
	for _, part := range [...]string{"auth", "key", "token", "secret"} {
		for i := 0; i+len(part) <= len(name); i++ {
			if strings.EqualFold(name[i:i+len(part)], part) {
				return !strings.EqualFold(name, "Idempotency-Key")
			}
		}
	}
	return false
}
