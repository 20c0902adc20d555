package awstest

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Bedrock is an OpenAI-compatible endpoint of Amazon Bedrock that takes
// short-term API keys: it recomputes their signature. Its methods are safe for
// concurrent use.
type Bedrock struct {
	// Region is the region that keys have to be for. Set it before use.
	Region string

	mu      sync.Mutex
	known   []Identity
	served  int
	refused int
}

// NewBedrock returns one in eu-west-1 that admits keys of these identities.
func NewBedrock(known ...Identity) *Bedrock { return &Bedrock{Region: "eu-west-1", known: known} }

// Admit replaces the identities, as when credentials are revoked.
func (b *Bedrock) Admit(known ...Identity) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known = known
}

// Served returns how many requests had a good key, and how many had not.
func (b *Bedrock) Served() (good, bad int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.served, b.refused
}

// ServeHTTP answers a chat completion.
func (b *Bedrock) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	_, err := b.Check(token, time.Now())
	b.mu.Lock()
	if err == nil {
		b.served++
	} else {
		b.refused++
	}
	b.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.Header().Set("X-Amzn-Errortype", "UnrecognizedClientException")
		w.WriteHeader(http.StatusForbidden)
		_ = json.NewEncoder(w).Encode(map[string]string{"message": err.Error()})
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"id": "c", "object": "chat.completion", "model": "m", "choices": []any{
		map[string]any{"index": 0, "finish_reason": "stop", "message": map[string]string{"role": "assistant", "content": "Hello!"}}}})
}

// Check recomputes the signature of a key and returns whose it is. Its errors do
// not quote the key.
func (b *Bedrock) Check(token string, now time.Time) (Identity, error) {
	encoded, ok := strings.CutPrefix(token, "bedrock-api-key-")
	text, err := base64.StdEncoding.DecodeString(encoded)
	signed, versioned := strings.CutSuffix(string(text), "&Version=1")
	at, query, parted := strings.Cut(signed, "?")
	q, queryErr := url.ParseQuery(query)
	if !ok || err != nil || !versioned || !parted || queryErr != nil || at != "bedrock.amazonaws.com/" || q.Get("Action") != "CallWithBearerToken" {
		return Identity{}, errors.New("this is not a short-term API key of Amazon Bedrock")
	}
	scope := strings.Split(q.Get("X-Amz-Credential"), "/")
	date := q.Get("X-Amz-Date")
	begin, dateErr := time.Parse("20060102T150405Z", date)
	life, lifeErr := strconv.Atoi(q.Get("X-Amz-Expires"))
	switch {
	case len(scope) != 5 || dateErr != nil || lifeErr != nil || life < 1 || life > 43200,
		scope[1] != date[:8] || scope[3] != "bedrock" || scope[4] != "aws4_request",
		q.Get("X-Amz-Algorithm") != "AWS4-HMAC-SHA256" || q.Get("X-Amz-SignedHeaders") != "host":
		return Identity{}, errors.New("the parameters of the signature are malformed")
	case scope[2] != b.Region:
		return Identity{}, errors.New("the key is for another region")
	case now.Before(begin.Add(-maxSkew)) || !now.Before(begin.Add(time.Duration(life)*time.Second)):
		return Identity{}, errors.New("the key has expired, or is not good yet")
	}
	b.mu.Lock()
	i := slices.IndexFunc(b.known, func(id Identity) bool {
		return id.AccessKeyID == scope[0] && id.SessionToken == q.Get("X-Amz-Security-Token")
	})
	var id Identity
	if i >= 0 {
		id = b.known[i]
	}
	b.mu.Unlock()
	if i < 0 {
		//lint:ignore ST1005 as AWS says it
		return Identity{}, errors.New("The security token included in the request is invalid") //nolint:staticcheck // as AWS says it
	}
	want := q.Get("X-Amz-Signature")
	q.Del("X-Amz-Signature")
	canonical := strings.Join([]string{"POST", "/", strings.ReplaceAll(q.Encode(), "+", "%20"), "host:bedrock.amazonaws.com\n", "host", hash("")}, "\n")
	toSign := strings.Join([]string{"AWS4-HMAC-SHA256", date, strings.Join(scope[1:], "/"), hash(canonical)}, "\n")
	if got := hex.EncodeToString(sign(signingKey(id, scope[1:]), toSign)); !hmac.Equal([]byte(got), []byte(want)) {
		return Identity{}, errors.New("the signature does not match")
	}
	return id, nil
}
