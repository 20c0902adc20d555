package openaiworkload

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/leaf"
)

const (
	tokenURL  = "https://auth.openai.com/oauth/token" //nolint:gosec // an address
	grantType = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeJWT   = "urn:ietf:params:oauth:token-type:jwt"
	typeID    = "urn:ietf:params:oauth:token-type:id_token"

	exchangeOp = "exchange the subject token at auth.openai.com"
)

// A grant is an access token and how long it is good for.
type grant struct {
	token credential.Secret
	life  time.Duration
}

// newExchange returns the exchange of RFC 8693, with the two parameters of OpenAI.
func newExchange(o *Options) func(context.Context, credential.Secret) (grant, error) {
	client := webClient(o)
	subjectType := typeJWT
	if o.IDToken || o.From == "gcp" {
		subjectType = typeID
	}
	params := map[string]string{
		"grant_type":           grantType,
		"subject_token_type":   subjectType,
		"identity_provider_id": o.IdentityProviderID,
		"service_account_id":   o.ServiceAccountID,
	}
	if o.ClientID != "" {
		params["client_id"] = o.ClientID
	}
	return func(ctx context.Context, subject credential.Secret) (grant, error) {
		ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
		defer cancel()
		body, err := requestBody(params, subject)
		if err != nil {
			return grant{}, &fault{op: exchangeOp, err: errors.New("the request cannot be written")}
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, tokenURL, bytes.NewReader(body))
		if err != nil {
			return grant{}, &fault{op: exchangeOp, err: errors.New("the request cannot be made")}
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json")
		a, err := do(client, req, exchangeOp)
		if err != nil {
			return grant{}, err
		}
		if a.status != http.StatusOK {
			return grant{}, refusal(a)
		}
		return parseGrant(a.body)
	}
}

func requestBody(params map[string]string, subject credential.Secret) ([]byte, error) {
	all := map[string]string{"subject_token": subject.Reveal()}
	for k, v := range params {
		all[k] = v
	}
	return json.Marshal(all)
}

// parseGrant reads a successful answer (RFC 8693, section 2.2.1).
func parseGrant(body []byte) (grant, error) {
	malformed := func(what string) (grant, error) {
		return grant{}, &fault{op: exchangeOp, err: errors.New("the answer (HTTP status 200) is malformed: " + what),
			hint: "a proxy or captive portal may have answered in the issuer's place", transient: true}
	}
	var doc map[string]json.RawMessage
	if json.Unmarshal(body, &doc) != nil || doc == nil {
		return malformed("it is not a JSON object")
	}
	var token, tokenType string
	if raw, ok := doc["token_type"]; ok && json.Unmarshal(raw, &tokenType) != nil {
		return malformed("token_type is not a string")
	}
	// Another type would not go into Authorization as ours does (RFC 6749,
	// section 7.1). The field itself is required, but the SDKs of OpenAI do not insist.
	if tokenType != "" && !strings.EqualFold(tokenType, "bearer") {
		return malformed("token_type is not Bearer")
	}
	if json.Unmarshal(doc["access_token"], &token) != nil || token == "" {
		return malformed("access_token is not a string with a token")
	}
	life := defaultLife
	if raw, ok := doc["expires_in"]; ok && string(raw) != "null" {
		var seconds int64
		if json.Unmarshal(raw, &seconds) != nil {
			return malformed("expires_in is not a whole number of seconds")
		}
		if seconds <= 0 {
			return malformed("expires_in is not in the future")
		}
		life = time.Duration(min(seconds, int64(maxLife/time.Second))) * time.Second
	}
	return grant{token: credential.NewSecret(token), life: life}, nil
}

// refusal explains an answer that has no token, in words of our own.
func refusal(a answer) error {
	f := &fault{op: exchangeOp, err: fmt.Errorf("HTTP status %d", a.status), transient: leaf.Passing(a.status)}
	code := oauthCode(a.body)
	if code != "" {
		f.err = fmt.Errorf("HTTP status %d, %s", a.status, code)
	}
	switch code {
	case "temporarily_unavailable", "server_error":
		f.transient = true
	case "invalid_grant", "invalid_subject_token", "invalid_target":
		f.hint = "check the subject token's issuer, audience and expiry against the Workload Identity Provider"
	case "access_denied", "unauthorized_client":
		f.hint = "map this workload to the service account in OpenAI's settings"
	case "invalid_client", "invalid_request":
		f.hint = "check IdentityProviderID, ServiceAccountID and ClientID"
	}
	switch {
	case f.hint != "":
	case f.transient:
		f.hint = "it is tried again; see OpenAI's status page"
	default:
		f.hint = "check the Workload Identity Provider, the service account and its mapping in OpenAI's settings"
	}
	return f
}

// oauthCode returns the error code of an OAuth refusal if it is one of RFC
// 6749 (sections 4.1.2.1 and 5.2), RFC 8693 (section 2.2.2) or the SDKs of OpenAI.
// Anything else could be an echo of the subject token.
func oauthCode(body []byte) string {
	var doc struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(body, &doc) != nil {
		return ""
	}
	switch doc.Error {
	case "invalid_request", "invalid_client", "invalid_grant", "invalid_scope", "invalid_target",
		"invalid_subject_token", "unauthorized_client", "unsupported_grant_type", "access_denied",
		"temporarily_unavailable", "server_error":
		return doc.Error
	}
	return ""
}
