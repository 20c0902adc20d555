package client

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// An endpoint is a base URL that is fit to have paths put behind it.
type endpoint struct {
	origin string // scheme://host[:port]
	path   string // escaped; begins and ends with a slash
	query  string
}

func (e endpoint) String() string {
	if e.query == "" {
		return e.origin + e.path
	}
	return e.origin + e.path + "?" + e.query
}

// parseBaseURL does not quote s in its errors: it may hold a password. What an
// origin may be is checked once, by middleware.Auth.
func parseBaseURL(s string) (endpoint, error) {
	u, err := url.Parse(strings.TrimSpace(s))
	switch {
	case err != nil:
		return endpoint{}, errors.New("client: base URL: not a URL; want https://host[:port]/path/")
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Opaque != "":
		return endpoint{}, errors.New("client: base URL: want https://host[:port]/path/")
	case u.User != nil:
		return endpoint{}, errors.New("client: base URL: holds user information; give the key to Source")
	case u.Fragment != "":
		return endpoint{}, errors.New("client: base URL: holds a fragment; remove it")
	}
	path := u.EscapedPath()
	if err := checkPath(path); err != nil {
		return endpoint{}, fmt.Errorf("client: base URL: %w", err)
	}
	if !strings.HasSuffix(path, "/") {
		path += "/"
	}
	return endpoint{origin: u.Scheme + "://" + u.Host, path: path, query: u.RawQuery}, nil
}

// join puts a relative path, which may have a query, behind the base URL.
func (e endpoint) join(path string) (string, error) {
	rel, err := url.Parse(strings.TrimPrefix(path, "/"))
	switch {
	case err != nil:
		return "", errors.New("client: path: not a relative URL; want for example chat/completions")
	case rel.Scheme != "" || rel.Host != "" || rel.User != nil || rel.Opaque != "" || rel.Fragment != "":
		return "", errors.New("client: path: want one below the base URL, for example chat/completions")
	case rel.Path == "" || rel.Path[0] == '/':
		return "", errors.New("client: path: is empty or begins with two slashes; want for example chat/completions")
	}
	if err := checkPath(rel.EscapedPath()); err != nil {
		return "", fmt.Errorf("client: path: %w", err)
	}
	query := e.query
	if rel.RawQuery != "" {
		if query != "" {
			query += "&"
		}
		query += rel.RawQuery
	}
	if query != "" {
		query = "?" + query
	}
	return e.origin + e.path + rel.EscapedPath() + query, nil
}

// checkPath refuses what a server or a proxy may take for another path: an id
// from outside must not lead out of the API.
func checkPath(escaped string) error {
	plain, err := url.PathUnescape(escaped)
	if err != nil {
		return errors.New("malformed escape; use url.PathEscape")
	}
	for i := range len(plain) {
		if c := plain[i]; c < ' ' || c == 0x7f || c == '\\' {
			return errors.New("holds a control character or a backslash; use url.PathEscape for ids, and no others")
		}
	}
	for segment := range strings.SplitSeq(plain, "/") {
		if segment == "." || segment == ".." {
			return errors.New("holds a dot segment")
		}
	}
	return nil
}
