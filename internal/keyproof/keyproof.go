// Package keyproof asks a service whether it accepts a key, for the issuers of package
// rotation.
package keyproof

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/rotation"
)

// Ask sends a request that carries secret and costs nothing. A 2xx or a 429 proves the
// key. The error is [rotation.ErrNotAccepted] for a 401, forbidden for a 403, which may
// be nil, and says what the answer was otherwise. It never holds the key.
func Ask(send func(*http.Request) (*http.Response, error), req *http.Request, secret credential.Secret, forbidden error) error {
	resp, err := send(req)
	if err != nil {
		if strings.Contains(err.Error(), secret.Reveal()) {
			return errors.New("the request failed, with the key in its error")
		}
		return err
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection is used again
	_ = resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		return rotation.ErrNotAccepted
	case resp.StatusCode == http.StatusForbidden:
		return forbidden
	case resp.StatusCode < 300, resp.StatusCode == http.StatusTooManyRequests:
		return nil
	}
	return fmt.Errorf("the service answers %d", resp.StatusCode)
}
