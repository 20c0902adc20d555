package client

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/latchkey-go/latchkey/internal/azurename"
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

// shown is the endpoint as it may be printed: without what could be a key in
// its path, and without the values of its query.
func (e endpoint) shown() string {
	text := e.origin + azurename.Shown(e.path)
	mark := byte('?')
	for part := range strings.SplitSeq(e.query, "&") {
		if name, _, _ := strings.Cut(part, "="); name != "" {
			text += string(mark) + name + "=..."
			mark = '&'
		}
	}
	return text
}

func (e endpoint) host() string {
	_, host, _ := strings.Cut(e.origin, "://")
	return host
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

// checkPath refuses what a server or a proxy may take for another path.
func checkPath(escaped string) error { return azurename.CheckPath(escaped) }
