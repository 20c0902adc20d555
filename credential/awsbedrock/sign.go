package awsbedrock

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

const (
	host    = "bedrock.amazonaws.com"
	service = "bedrock"
	prefix  = "bedrock-api-key-"
	version = "&Version=1" // of the format; it is not signed
	// step is what the time of signing is rounded down to, so that the same
	// credentials give the same token for a while: a Cache that reads again after
	// a rejection sees that there is no other one.
	step = time.Minute
)

// sign returns the token for a region, and when it ends.
func sign(ctx context.Context, keys aws.Credentials, region string, now time.Time, lifetime time.Duration) (token string, end time.Time, err error) {
	at := now.UTC().Truncate(step)
	query := url.Values{"Action": {"CallWithBearerToken"}, "X-Amz-Expires": {strconv.Itoa(int(lifetime / time.Second))}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+host+"/?"+query.Encode(), nil)
	if err != nil {
		return "", time.Time{}, err //nolint:wrapcheck // cannot happen
	}
	empty := sha256.Sum256(nil)
	signed, _, err := v4.NewSigner().PresignHTTP(ctx, keys, req, hex.EncodeToString(empty[:]), service, region, at)
	if err != nil {
		return "", time.Time{}, err //nolint:wrapcheck // Retrieve does
	}
	u, err := url.Parse(signed)
	if err != nil {
		return "", time.Time{}, errors.New("malformed")
	}
	// The signer puts the signature last, and the generator of AWS in order.
	text := host + "/?" + strings.ReplaceAll(u.Query().Encode(), "+", "%20") + version
	end = at.Add(lifetime.Truncate(time.Second))
	if keys.CanExpire && keys.Expires.Before(end) {
		end = keys.Expires
	}
	return prefix + base64.StdEncoding.EncodeToString([]byte(text)), end, nil
}
