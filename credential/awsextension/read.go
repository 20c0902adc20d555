package awsextension

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/awssecret"
	"github.com/latchkey-go/latchkey/internal/hidden"
	"github.com/latchkey-go/latchkey/internal/smallfile"
)

const (
	// maxError is the most that is looked at of an error.
	maxError = 4 << 10
	maxToken = 8 << 10
	// firstWait doubles to maxWait between tries while the extension is not
	// ready.
	firstWait   = 20 * time.Millisecond
	maxWait     = 250 * time.Millisecond
	tokenHeader = "X-Aws-Parameters-Secrets-Token"
)

type reader struct {
	id, tokenFile string
	parameter     bool
	do            func(*http.Request) (*http.Response, error)
	seen          atomic.Int64 // the latest version of a parameter that was read
}

// An attempt is one read, for its errors.
type attempt struct {
	id        string
	parameter bool
	query     awssecret.Query
}

func (a *attempt) fail(err error, hint string) *credential.SourceError {
	op := fmt.Sprintf("read %q", a.id)
	switch {
	case a.query.Pin != "":
		op += fmt.Sprintf(" version %q", a.query.Pin)
	case a.query.Stage != "":
		op += fmt.Sprintf(" stage %q", a.query.Stage)
	}
	return &credential.SourceError{Source: name, Op: op, Err: err, Hint: hint}
}

func (a *attempt) passing(err error, hint string) *credential.SourceError {
	e := a.fail(err, hint)
	e.Transient = true
	return e
}

// errNotReady marks an answer after which the same request is worth a try.
var errNotReady = errors.New("the extension is not ready to serve")

const layer = "add the layer of the AWS Parameters and Secrets Lambda Extension to the function, or start the AWS Secrets Manager Agent"

// read gets one version.
func (r *reader) read(ctx context.Context, q awssecret.Query) (awssecret.Version, error) {
	if r.parameter {
		return r.readParameter(ctx, q)
	}
	return r.patiently(ctx, q)
}

// patiently gets one version, and waits for an extension that is still starting.
func (r *reader) patiently(ctx context.Context, q awssecret.Query) (awssecret.Version, error) {
	a := &attempt{id: r.id, parameter: r.parameter, query: q}
	wait := firstWait
	var starting error // which says more than that time is up
	for {
		v, err := r.once(ctx, a)
		switch {
		case errors.Is(err, errNotReady):
			starting = err
		case starting != nil && ctx.Err() != nil:
			return v, starting
		default:
			return v, err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return v, starting
		}
		wait = min(2*wait, maxWait)
	}
}

func (r *reader) once(ctx context.Context, a *attempt) (awssecret.Version, error) {
	req, err := r.request(ctx, a)
	if err != nil {
		return awssecret.Version{}, err
	}
	resp, err := r.do(req)
	if err != nil {
		return awssecret.Version{}, a.unreachable(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }() // read to what matters
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxError)) // as far as it goes
		return awssecret.Version{}, a.refused(resp.StatusCode, string(text))
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return awssecret.Version{}, a.unreachable(ctx, err)
	}
	if a.parameter {
		return a.parameterValue(body)
	}
	return a.version(body)
}

// request follows the documents of both: see the package comment.
func (r *reader) request(ctx context.Context, a *attempt) (*http.Request, error) {
	port, err := port()
	if err != nil {
		return nil, a.fail(err, "set PARAMETERS_SECRETS_EXTENSION_HTTP_PORT to a port number, or unset it")
	}
	token, err := r.token(a)
	if err != nil {
		return nil, err
	}
	target := "http://localhost:" + port + "/secretsmanager/get?" + a.secretQuery().Encode()
	if a.parameter {
		target = "http://localhost:" + port + "/systemsmanager/parameters/get?" + a.parameterQuery().Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, a.fail(errors.New("the request could not be made"), "")
	}
	req.Header.Set(tokenHeader, token)
	return req, nil
}

func (a *attempt) secretQuery() url.Values {
	q := url.Values{"secretId": {a.id}}
	if a.query.Stage != "" {
		q.Set("versionStage", a.query.Stage)
	}
	if a.query.Pin != "" {
		q.Set("versionId", a.query.Pin)
	}
	if a.query.Fresh {
		q.Set("refreshNow", "true")
	}
	return q
}

func port() (string, error) {
	text := os.Getenv("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT")
	if text == "" {
		return strconv.Itoa(DefaultPort), nil
	}
	if n, err := strconv.ParseUint(text, 10, 16); err != nil || n == 0 {
		return "", errors.New("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT is not a port")
	}
	return text, nil
}

func (r *reader) token(a *attempt) (string, error) {
	file := r.tokenFile
	if file == "" {
		for _, variable := range [...]string{"AWS_TOKEN", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN"} {
			text := os.Getenv(variable)
			if path, ok := strings.CutPrefix(text, "file://"); ok {
				file = path
			} else if text != "" {
				return checked(a, text, "the token in "+variable)
			}
			if file != "" {
				break
			}
		}
	}
	if file == "" {
		file = DefaultTokenFile
	}
	in, err := smallfile.Read(file, maxToken)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", a.fail(fmt.Errorf("%w: there is no token for the extension or the agent: AWS_SESSION_TOKEN is unset and there is no file %q", credential.ErrUnavailable, file), layer)
	case err != nil:
		return "", a.fail(fmt.Errorf("the token file %q: %w", file, err), "let the process read it: add its user to the agent's group")
	}
	return checked(a, strings.TrimSpace(string(in.Text)), fmt.Sprintf("the token in %q", file))
}

// checked admits what can stand in a header.
func checked(a *attempt, token, what string) (string, error) {
	bad := strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' })
	if token == "" || len(token) > maxToken || bad {
		return "", a.fail(errors.New(what+" is empty or malformed"), "")
	}
	return token, nil
}

// version decodes GetSecretValue's answer.
func (a *attempt) version(body []byte) (awssecret.Version, error) {
	var out struct {
		VersionID    string  `json:"VersionId"`
		SecretString *string `json:"SecretString"`
		SecretBinary []byte  `json:"SecretBinary"`
	}
	if err := json.Unmarshal(body, &out); err != nil {
		return awssecret.Version{}, a.passing(errors.New("the answer (status 200) is not one of the extension"), "is another program listening there?")
	}
	v := awssecret.Version{ID: out.VersionID}
	switch {
	case out.SecretString != nil:
		text := *out.SecretString
		v.Text = hidden.Of(text)
	case out.SecretBinary != nil:
		text := string(out.SecretBinary)
		v.Text = hidden.Of(text)
	default:
		return awssecret.Version{}, a.fail(errors.New("the answer (status 200) has neither text nor bytes"), "put a value into the secret")
	}
	return v, nil
}
