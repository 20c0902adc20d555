package openaiworkload

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/latchkey-go/latchkey/credential"
)

const awsTokenFile = "AWS_WEB_IDENTITY_TOKEN_FILE" //nolint:gosec // the name of a variable

// newSubject returns what gets the subject token.
func newSubject(o *Options) func(context.Context) (credential.Secret, error) {
	get := o.Token
	switch o.From {
	case "kubernetes":
		path := o.TokenFile
		get = func(ctx context.Context) (credential.Secret, error) { return fileToken(ctx, path) }
	case "aws":
		path := o.TokenFile
		get = func(ctx context.Context) (credential.Secret, error) { return awsToken(ctx, path) }
	case "azure", "azure-imds", "gcp":
		get = newMetadata(o)
	}
	return func(ctx context.Context) (credential.Secret, error) {
		token, err := get(ctx)
		if err != nil {
			return credential.Secret{}, subjectFault(err)
		}
		clean, err := checkJWT(token)
		if err != nil {
			return credential.Secret{}, &fault{op: "check the subject token", err: err, hint: "name what holds the workload's token, and nothing else"}
		}
		return clean, nil
	}
}

// subjectFault makes a fault of an error that a file or a func gave.
func subjectFault(err error) error {
	f := (*fault)(nil)
	if errors.As(err, &f) {
		return f
	}
	f = &fault{op: "get the subject token", err: err, transient: !errors.Is(err, credential.ErrUnavailable)}
	if se := (*credential.SourceError)(nil); errors.As(err, &se) {
		f.transient = se.Transient && f.transient
	}
	return f
}

// fileToken leaves it to credential.File what may be read.
func fileToken(ctx context.Context, path string) (credential.Secret, error) {
	v, err := credential.File(path).Retrieve(ctx)
	if err != nil {
		return credential.Secret{}, err
	}
	return v.Secret, nil
}

func awsToken(ctx context.Context, path string) (credential.Secret, error) {
	if path == "" {
		path = os.Getenv(awsTokenFile)
	}
	if path == "" {
		return credential.Secret{}, missing(awsTokenFile+" is unset or empty",
			"give the pod's service account a projected token, or call sts:GetWebIdentityToken in Token")
	}
	return fileToken(ctx, path)
}

// missing says that From does not apply here.
func missing(what, hint string) error {
	return &fault{op: "get the subject token", err: fmt.Errorf("%w: %s", credential.ErrUnavailable, what), hint: hint}
}

// checkJWT returns the token without the white space around it, if it has the
// form of a signed JWT (RFC 7515, section 7.1). What else turns up in its
// place, an error page or another file, is nobody else's to read.
func checkJWT(token credential.Secret) (credential.Secret, error) {
	text := strings.TrimSpace(token.Reveal())
	switch {
	case text == "":
		return credential.Secret{}, errors.New("it is empty")
	case len(text) > maxBody:
		return credential.Secret{}, fmt.Errorf("it has %d bytes, at most %d are sent", len(text), maxBody)
	}
	parts := strings.Split(text, ".")
	notJWT := errors.New("it is not a signed JWT")
	if len(parts) != 3 || strings.ContainsAny(text, "\r\n") { // which base64 skips
		return credential.Secret{}, notJWT
	}
	var header map[string]any
	for i, part := range parts {
		b, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil || len(b) == 0 || i == 0 && json.Unmarshal(b, &header) != nil {
			return credential.Secret{}, notJWT
		}
	}
	if alg, _ := header["alg"].(string); alg == "" || strings.EqualFold(alg, "none") {
		return credential.Secret{}, notJWT
	}
	if len(text) == len(token.Reveal()) {
		return token, nil
	}
	return credential.NewSecret(text), nil
}
