package middleware

import (
	"net/http"

	"github.com/latchkey-go/latchkey/credential"
)

// RedactResponse takes the secrets out of what of an answer callers print
// beside its body, and then out of the trailer.
func RedactResponse(resp *http.Response, secrets [2]credential.Secret) {
	s := sentSecrets(secrets[:])
	s.response(resp)
}

// RedactError takes the secrets out of an error.
func RedactError(err error, secrets [2]credential.Secret) error {
	s := sentSecrets(secrets[:])
	return s.err(err)
}

// WrapErrorBody puts the body of a refusal into resp.
func WrapErrorBody(resp *http.Response, secrets ...credential.Secret) {
	wrapErrorBody(resp, secrets...)
}
