package telemetry

import (
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/latchkey-go/latchkey/internal/azurename"
)

const (
	// maxNames is how many names of one kind are told apart.
	maxNames = 100
	// maxName is the longest name that is exported, in bytes.
	maxName = 100
	// maxEntries bounds each table. It is the number of attribute sets that the
	// SDK keeps for one instrument by default.
	maxEntries = 2000

	otherName = "other"
)

// A table keeps what was made once for a key. What is beyond its bound is made
// anew each time.
type table[K comparable, V any] struct {
	mu sync.RWMutex
	m  map[K]*V
}

func (t *table[K, V]) get(k K) *V {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.m[k]
}

func (t *table[K, V]) put(k K, v V) *V {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.m == nil {
		t.m = map[K]*V{}
	}
	if kept := t.m[k]; kept != nil {
		return kept
	}
	if len(t.m) < maxEntries {
		t.m[k] = &v
	}
	return &v
}

// names are those that come from requests, answers and configuration. Each kind
// has a bound of its own, so that no name of a model takes the room of an endpoint.
type names struct {
	models, deployments, endpoints, limits, sources, reasons nameSet
}

// A nameSet lets the first maxNames names pass.
type nameSet struct {
	mu sync.RWMutex
	m  map[string]string
}

// model returns the name if it may be that of a model or a deployment, and is among
// the first, and otherName if not.
func (s *nameSet) model(name string) string { return s.check(name, modelName) }

// bytes is model without an allocation for a name that is known.
func (s *nameSet) bytes(name []byte) string {
	s.mu.RLock()
	known := s.m[string(name)]
	s.mu.RUnlock()
	if known != "" {
		return known
	}
	return s.model(string(name))
}

// text is the same for names that the program gives.
func (s *nameSet) text(name string) string { return s.check(name, printable) }

func (s *nameSet) check(name string, valid func(string) bool) string {
	if name == "" {
		return ""
	}
	s.mu.RLock()
	known := s.m[name]
	full := len(s.m) >= maxNames
	s.mu.RUnlock()
	if known != "" {
		return known
	}
	if full || !valid(name) {
		return otherName
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.m == nil:
		s.m = map[string]string{}
	case len(s.m) >= maxNames && s.m[name] == "":
		return otherName
	}
	name = strings.Clone(name)
	s.m[name] = name
	return name
}

// modelName reports whether a name may be that of a model: "gpt-4o",
// "ft:gpt-4o:org::id" or "meta/llama@1", for example.
func modelName(name string) bool {
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("._:/@+-", c) >= 0:
		default:
			return false
		}
	}
	return name != "" && len(name) <= maxName
}

func printable(name string) bool {
	for _, c := range []byte(name) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return name != "" && len(name) <= maxName
}

// A server is where a request goes, and who is there.
type server struct {
	address, provider string
	port              int
}

type serverKey struct {
	host  string
	plain bool // http, not https
}

// servers knows the hosts that requests went to. Beyond maxNames they are
// otherName.
type servers struct {
	mu sync.RWMutex
	m  map[serverKey]*server
}

func (s *servers) get(host string, plain bool) *server {
	k := serverKey{host, plain}
	s.mu.RLock()
	known := s.m[k]
	s.mu.RUnlock()
	if known != nil {
		return known
	}
	made := newServer(host, plain)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = map[serverKey]*server{}
	}
	if known = s.m[k]; known != nil {
		return known
	}
	if len(s.m) >= maxNames || !printable(host) {
		made.address, made.port = otherName, 0
		return made
	}
	s.m[k] = made
	return made
}

func newServer(host string, plain bool) *server {
	u := url.URL{Host: host}
	s := &server{address: strings.ToLower(u.Hostname()), provider: providerOpenAI, port: 443}
	if plain {
		s.port = 80
	}
	if n, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		s.port = int(n)
	}
	switch _, azure := azurename.OfInference(host); {
	case azure:
		s.provider = providerAzure
	case strings.HasPrefix(s.address, "bedrock") && net.ParseIP(s.address) == nil &&
		(strings.HasSuffix(s.address, ".amazonaws.com") || strings.HasSuffix(s.address, ".amazonaws.com.cn") || strings.HasSuffix(s.address, ".api.aws")):
		s.provider = providerBedrock
	}
	return s
}
