package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"

	"github.com/latchkey-go/latchkey/internal/wraperr"
)

const maxModel = 256

// An azureRewrite makes requests of the OpenAI API into requests of Azure OpenAI.
type azureRewrite struct {
	azure
	base endpoint
}

// rewrite returns the request in the form of the dated API. A request that is
// not below the base URL is left to Auth, which refuses it.
func (l *azureRewrite) rewrite(req *http.Request) (*http.Request, error) {
	if l.version == "" || req.URL == nil {
		return req, nil
	}
	rest, ok := strings.CutPrefix(req.URL.EscapedPath(), l.base.path)
	if !ok {
		return req, nil
	}
	u := *req.URL
	if !strings.Contains("&"+u.RawQuery, "&api-version=") {
		u.RawQuery = strings.TrimPrefix(u.RawQuery+"&api-version="+url.QueryEscape(l.version), "&")
	}
	if l.dated {
		if err := l.place(&u, rest, req); err != nil {
			return nil, err
		}
	}
	out := new(http.Request)
	*out = *req
	out.URL = &u
	return out, nil
}

// place puts the deployment where the dated API wants it. What these routes
// are: https://learn.microsoft.com/azure/ai-foundry/openai/reference
func (l *azureRewrite) place(u *url.URL, rest string, req *http.Request) error {
	switch rest {
	case "chat/completions", "completions", "embeddings", "audio/speech", "images/generations",
		"audio/transcriptions", "audio/translations", "images/edits":
	case "realtime":
		return l.placeRealtime(u)
	default:
		return nil
	}
	name := l.deployment
	if name == "" {
		var err error
		if name, err = modelOf(req); err != nil {
			return wraperr.New(fmt.Sprintf("client: no Azure deployment for %s: %v; set Config.Deployment", rest, err), err)
		}
		if strings.Contains(name, "/") || checkPath(url.PathEscape(name)) != nil {
			return fmt.Errorf("client: no Azure deployment for %s: the model is no name of one; pass the deployment's name as the model, or set Config.Deployment", rest)
		}
	}
	path := l.base.path + "deployments/" + url.PathEscape(name) + "/" + rest
	plain, err := url.PathUnescape(path)
	if err != nil {
		return fmt.Errorf("client: the path of deployment %q is malformed", name)
	}
	u.Path, u.RawPath = plain, path
	return nil
}

// placeRealtime: a WebSocket has no body, and the deployment is in the query.
func (l *azureRewrite) placeRealtime(u *url.URL) error {
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return errors.New("client: realtime: malformed query")
	}
	if name := first(l.deployment, q.Get("model")); name != "" && !q.Has("deployment") {
		q.Del("model")
		q.Set("deployment", name)
		u.RawQuery = q.Encode()
	}
	return nil
}

// modelOf reads the model out of a copy of the body. A body that comes slowly
// is left when the request's context ends.
func modelOf(req *http.Request) (string, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return "", errors.New("the request has no body to name a model")
	}
	if req.GetBody == nil {
		return "", errNotTwice
	}
	body, err := req.GetBody()
	if err != nil {
		return "", errNotTwice
	}
	type result struct {
		name string
		err  error
	}
	found := make(chan result, 1)
	read := func() {
		name, err := modelIn(body, req.Header.Get("Content-Type"))
		_ = body.Close() // a copy
		found <- result{name, err}
	}
	if req.Context().Done() == nil {
		read()
	} else {
		go read() // it ends with the body, which the caller's layers close
	}
	select {
	case r := <-found:
		return r.name, r.err
	case <-req.Context().Done():
		return "", wraperr.Context(req.Context(), context.Cause(req.Context()))
	}
}

var errNotTwice = errors.New("the body cannot be read twice to find its model")

func modelIn(body io.Reader, contentType string) (name string, err error) {
	r := &failing{r: body}
	mediaType, params, _ := mime.ParseMediaType(contentType)
	if mediaType == "multipart/form-data" {
		name, err = formModel(multipart.NewReader(r, params["boundary"]))
	} else {
		name, err = jsonModel(json.NewDecoder(r))
	}
	switch {
	case r.err != nil && err != nil:
		return "", errNotTwice
	case err != nil:
		return "", err
	case name == "":
		return "", errors.New("the body names no model")
	}
	return name, nil
}

// A failing reader remembers that it failed.
type failing struct {
	r   io.Reader
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && err != io.EOF {
		f.err = err
	}
	return n, err //nolint:wrapcheck // io.EOF has to stay bare
}

var errMalformed = errors.New("the body is malformed, or names no model")

// formModel looks through all parts: an SDK may write the model after the file.
func formModel(form *multipart.Reader) (string, error) {
	for {
		part, err := form.NextRawPart()
		switch {
		case errors.Is(err, io.EOF):
			return "", nil
		case err != nil:
			return "", errMalformed
		case part.FormName() == "model":
			name, err := io.ReadAll(io.LimitReader(part, maxModel+1))
			if err != nil || len(name) > maxModel {
				return "", errMalformed
			}
			return string(name), nil
		}
	}
}

// jsonModel reads the object up to the member, without keeping the others.
func jsonModel(d *json.Decoder) (string, error) {
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return "", errMalformed
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return "", errMalformed
		}
		if name != "model" {
			if d.Decode(&ignored{}) != nil {
				return "", errMalformed
			}
			continue
		}
		model := ""
		if d.Decode(&model) != nil || len(model) > maxModel {
			return "", errMalformed
		}
		return model, nil
	}
	return "", nil
}

type ignored struct{}

// UnmarshalJSON drops the value.
func (*ignored) UnmarshalJSON([]byte) error { return nil }
