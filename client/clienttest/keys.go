package clienttest

import (
	"maps"
	"net/http"
	"strings"
)

// Accept adds keys to those that the service accepts. An empty key is never
// accepted.
func (s *Service) Accept(keys ...string) {
	s.editKeys(func(m map[string]struct{}) {
		for _, k := range keys {
			if k != "" {
				m[k] = struct{}{}
			}
		}
	})
}

// Revoke removes keys from those that the service accepts. A request whose key
// was checked before is answered.
func (s *Service) Revoke(keys ...string) {
	s.editKeys(func(m map[string]struct{}) {
		for _, k := range keys {
			delete(m, k)
		}
	})
}

// Rotate makes next the only key that the service accepts, in one step. For a
// rotation with an overlap, call Accept, and Revoke later.
func (s *Service) Rotate(next string) {
	s.editKeys(func(m map[string]struct{}) {
		clear(m)
		if next != "" {
			m[next] = struct{}{}
		}
	})
}

// editKeys replaces the map, so that the check of a key takes no lock.
func (s *Service) editKeys(edit func(map[string]struct{})) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := map[string]struct{}{}
	if old := s.keys.Load(); old != nil {
		m = maps.Clone(*old)
	}
	edit(m)
	s.keys.Store(&m)
}

func (s *Service) accepts(key string) bool {
	m := s.keys.Load()
	if m == nil {
		return false
	}
	_, ok := (*m)[key]
	return ok
}

// bearer returns the token of an Authorization header (RFC 6750, section 2.1).
func bearer(h http.Header) string {
	scheme, token, ok := strings.Cut(h.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimLeft(token, " ")
}

// key returns the credential that the flavor reads from the request.
func (c *call) key() string {
	switch c.flavor {
	case APIM:
		return c.r.Header.Get("Ocp-Apim-Subscription-Key")
	case AzureOpenAI:
		if k := c.r.Header.Get("Api-Key"); k != "" {
			return k
		}
	}
	return bearer(c.r.Header)
}

// authorized checks the key, or answers as the real service does without one
// that it accepts.
func (c *call) authorized() bool {
	key := c.key()
	if key != "" && c.accepts(key) {
		return true
	}
	c.unauthorized.Add(1)
	kind := InvalidKey
	switch {
	case c.flavor == APIM && key == "":
		kind = APIMMissingKey
	case c.flavor == APIM:
		kind = APIMInvalidKey
	case c.flavor == AzureOpenAI && c.r.Header.Get("Api-Key") != "":
		kind = AzureInvalidKey
	case c.flavor == AzureOpenAI:
		kind = AzureTokenExpired
	case key == "":
		kind = MissingKey
	}
	status, header, body := ErrorBody(kind)
	if kind == InvalidKey {
		body = invalidKeyBody(mask(key))
	}
	c.setHeader("application/json")
	for name, values := range header {
		if name != "X-Request-Id" {
			c.w.Header()[name] = values
		}
	}
	c.w.WriteHeader(status)
	c.w.Write([]byte(body))
	return false
}

// mask shows of a key what the real service shows: its prefix and the last four
// characters. Of a short key nothing is shown: that would be most of it.
func mask(key string) string {
	const stars = "***"
	if len(key) < 16 {
		return stars
	}
	for _, prefix := range [...]string{"sk-proj-", "sk-svcacct-", "sk-admin-", "sk-"} {
		if strings.HasPrefix(key, prefix) {
			return prefix + stars + key[len(key)-4:]
		}
	}
	return key[:3] + stars + key[len(key)-4:]
}
