package execcommand

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/credential"
)

const group = "client.authentication.k8s.io/"

// parse puts what the command printed into v. Whether plain text can be a key
// is checked by the Cache.
func parse(out []byte, v *credential.Value) error {
	text := bytes.TrimSpace(out)
	switch {
	case len(text) == 0:
		return errors.New("it printed nothing")
	case text[0] != '{':
		v.Secret = credential.NewSecret(string(out))
		return nil
	}
	var doc struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Status     struct {
			Token      string     `json:"token"`
			Expiration *time.Time `json:"expirationTimestamp"` // RFC 3339
		} `json:"status"`
	}
	// The decoder's own errors quote what they do not like.
	if json.Unmarshal(text, &doc) != nil {
		return errors.New("it starts like JSON, but is not an ExecCredential")
	}
	switch {
	case doc.Kind != "ExecCredential":
		return errors.New("it is JSON, but its kind is not ExecCredential")
	case !strings.HasPrefix(doc.APIVersion, group):
		return errors.New("it is an ExecCredential, but its apiVersion is not one of " + group)
	case doc.Status.Token == "":
		return errors.New("it is an ExecCredential without status.token")
	}
	v.Secret, v.Scheme = credential.NewSecret(doc.Status.Token), credential.BearerToken
	if doc.Status.Expiration != nil {
		v.Expires = *doc.Status.Expiration
	}
	return nil
}
