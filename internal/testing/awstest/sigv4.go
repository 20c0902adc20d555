package awstest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"time"
)

// An Identity is what requests have to be signed with.
type Identity struct{ AccessKeyID, SecretAccessKey, SessionToken string }

// Caller is the Identity that a new service admits.
func Caller() Identity {
	return Identity{"AKIACANARY0000000001", "CANARY/secret/access/key/0000000000000001", "CANARY-session-token"}
}

// Env returns the environment variables of id, and those that a Lambda
// function has for region.
func (id Identity) Env(region string) map[string]string {
	return map[string]string{
		"AWS_REGION":            region,
		"AWS_ACCESS_KEY_ID":     id.AccessKeyID,
		"AWS_SECRET_ACCESS_KEY": id.SecretAccessKey,
		"AWS_SESSION_TOKEN":     id.SessionToken,
	}
}

// maxSkew is how far off the date of a signature may be.
const maxSkew = 5 * time.Minute

// verify recomputes the signature of r (AWS Signature Version 4,
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html).
func verify(id Identity, region, service string, r *http.Request, body []byte) error {
	fields := map[string]string{}
	rest, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return &refusal{http.StatusBadRequest, "MissingAuthenticationTokenException", "Missing Authentication Token"}
	}
	for _, field := range strings.Split(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		fields[name] = value
	}
	date := r.Header.Get("X-Amz-Date")
	scope := strings.Split(fields["Credential"], "/")
	if len(scope) != 5 || len(date) != 16 || scope[1] != date[:8] || scope[3] != service || scope[4] != "aws4_request" {
		return &refusal{http.StatusBadRequest, "IncompleteSignature", "Credential or date malformed"}
	}
	if scope[0] != id.AccessKeyID || r.Header.Get("X-Amz-Security-Token") != id.SessionToken {
		return &refusal{http.StatusBadRequest, "UnrecognizedClientException", "The security token included in the request is invalid."}
	}
	if region != "" && scope[2] != region {
		return &refusal{http.StatusBadRequest, "InvalidSignatureException", "Credential should be scoped to a valid region."}
	}
	at, err := time.Parse("20060102T150405Z", date)
	if skew := time.Since(at); err != nil || skew > maxSkew || skew < -maxSkew {
		return &refusal{http.StatusBadRequest, "InvalidSignatureException", "Signature expired"}
	}
	canonical, err := canonicalRequest(r, body, strings.Split(fields["SignedHeaders"], ";"))
	if err != nil {
		return err
	}
	text := strings.Join([]string{"AWS4-HMAC-SHA256", date, strings.Join(scope[1:], "/"), hash(canonical)}, "\n")
	if !hmac.Equal([]byte(hex.EncodeToString(sign(signingKey(id, scope[1:]), text))), []byte(fields["Signature"])) {
		return &refusal{http.StatusBadRequest, "InvalidSignatureException", "The request signature we calculated does not match the signature you provided."}
	}
	return nil
}

func canonicalRequest(r *http.Request, body []byte, signed []string) (string, error) {
	if !sort.StringsAreSorted(signed) {
		return "", &refusal{http.StatusBadRequest, "IncompleteSignature", "SignedHeaders are not sorted"}
	}
	var headers strings.Builder
	has := map[string]bool{}
	for _, name := range signed {
		has[name] = true
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			if value = r.Host; value == "" {
				value = r.URL.Host
			}
		case "content-length":
			value = strconv.FormatInt(r.ContentLength, 10)
		}
		fmt.Fprintf(&headers, "%s:%s\n", name, strings.Join(strings.Fields(value), " "))
	}
	for _, name := range []string{"host", "x-amz-date", "x-amz-target", "x-amz-security-token"} {
		if !has[name] && (name == "host" || r.Header.Get(name) != "") {
			return "", &refusal{http.StatusBadRequest, "IncompleteSignature", name + " is not signed"}
		}
	}
	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	query := strings.ReplaceAll(r.URL.Query().Encode(), "+", "%20")
	return strings.Join([]string{r.Method, path, query, headers.String(), strings.Join(signed, ";"), hash(string(body))}, "\n"), nil
}

// signingKey is the key for a date, a region, a service and "aws4_request".
func signingKey(id Identity, scope []string) []byte {
	key := []byte("AWS4" + id.SecretAccessKey)
	for _, part := range scope {
		key = sign(key, part)
	}
	return key
}

func sign(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
