package middleware

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
)

// maxModelName is the longest name of a model that is kept, in bytes.
const maxModelName = 64

// A requestScan reads "model" and "stream" out of a JSON object while it is
// sent. It looks at the members of the outermost object only, keeps a fixed
// amount, and gives up at what is no JSON object.
type requestScan struct {
	body  io.ReadCloser
	names *modelNames

	state   scanState
	depth   int
	escaped bool // the next byte of a string is escaped
	inKey   bool // the string under way names a member
	value   byte // 'm' where the value of "model" is next, 's' that of "stream"
	kept    [maxModelName]byte
	length  int // of the string under way; above maxModelName if it does not matter

	// The results are read while the body may still be under way.
	model  atomic.Pointer[string]
	stream atomic.Bool
}

type scanState uint8

const (
	scanStart   scanState = iota // before the first brace
	scanBetween                  // outside of strings
	scanKept                     // in a string that may matter
	scanSkipped                  // in a string that does not
	scanDone
)

// scanned puts the scan around the body of req and returns the request with it.
func (s *sending) scanned(req *http.Request, scan *requestScan, o *observer) *http.Request {
	if req.Body == nil || req.Body == http.NoBody || !strings.HasPrefix(first(req.Header, "Content-Type"), "application/json") {
		return req
	}
	out := req
	if req != s.req { // a layer above has made a copy of its own
		copied := *req
		out = &copied
	}
	scan.body, scan.names = req.Body, &o.models
	out.Body = scan
	return out
}

func (c *requestScan) Read(p []byte) (int, error) {
	n, err := c.body.Read(p)
	c.scan(p[:n])
	return n, err
}

func (c *requestScan) Close() error { return c.body.Close() }

// into puts what was found into s.
func (c *requestScan) into(s *Send) {
	s.Stream = c.stream.Load()
	if m := c.model.Load(); m != nil {
		s.Model = *m
	} else {
		s.Model = deploymentOf(s.Path)
	}
}

func (c *requestScan) scan(p []byte) {
	for len(p) > 0 && c.state != scanDone {
		switch c.state {
		case scanKept:
			p = c.keep(p)
		case scanSkipped:
			p = c.skip(p)
		default:
			c.between(p[0])
			p = p[1:]
		}
	}
}

// between takes a byte outside of strings.
func (c *requestScan) between(b byte) {
	switch {
	case b == ' ' || b == '\t' || b == '\n' || b == '\r':
	case c.state == scanStart && b != '{':
		c.state = scanDone
	case b == '{' || b == '[':
		c.state = scanBetween
		c.inKey = c.depth == 0
		c.value = 0
		c.depth++
	case b == '}' || b == ']':
		if c.depth--; c.depth <= 0 {
			c.state = scanDone
		}
	case b == '"':
		c.state, c.length = scanSkipped, 0
		if c.depth == 1 && (c.inKey || c.value == 'm') {
			c.state = scanKept
		}
	case b == ',':
		c.inKey, c.value = c.depth == 1, 0
	case b == 't' && c.depth == 1 && c.value == 's':
		c.stream.Store(true)
		c.value = 0
	}
}

// keep takes a string that may matter. One with an escape in it does not.
func (c *requestScan) keep(p []byte) []byte {
	end := bytes.IndexAny(p, `"\`)
	part := p
	if end >= 0 {
		part = p[:end]
	}
	if c.length < len(c.kept) {
		copy(c.kept[c.length:], part)
	}
	c.length += len(part)
	switch {
	case end < 0:
		return nil
	case p[end] == '\\':
		c.length = len(c.kept) + 1
		c.state = scanSkipped
		return p[end:]
	}
	c.endString()
	return p[end+1:]
}

// skip takes a string that does not matter. IndexByte is much faster than a
// loop over the bytes of a prompt.
func (c *requestScan) skip(p []byte) []byte {
	if c.escaped {
		c.escaped = false
		return p[1:]
	}
	quote := bytes.IndexByte(p, '"')
	part := p
	if quote >= 0 {
		part = p[:quote]
	}
	if slash := bytes.IndexByte(part, '\\'); slash >= 0 {
		c.escaped = true
		return p[slash+1:]
	}
	if quote < 0 {
		return nil
	}
	c.endString()
	return p[quote+1:]
}

// endString takes the string as it is complete.
func (c *requestScan) endString() {
	whole := c.length <= len(c.kept) && c.state == scanKept
	c.state = scanBetween
	text := c.kept[:min(c.length, len(c.kept))]
	switch {
	case c.inKey:
		c.inKey = false
		switch {
		case whole && string(text) == "model":
			c.value = 'm'
		case whole && string(text) == "stream":
			c.value = 's'
		}
	case c.value == 'm':
		c.value = 0
		if whole && c.length > 0 {
			c.model.Store(c.names.intern(text))
		}
	}
}

// modelNames keeps the names of models, so that a call that names one of them
// allocates nothing for it.
type modelNames struct {
	known atomic.Pointer[map[string]*string]
}

const maxModelNames = 64

func (n *modelNames) intern(name []byte) *string {
	known := n.known.Load()
	if known != nil {
		if s, ok := (*known)[string(name)]; ok {
			return s
		}
	}
	text := string(name)
	if known == nil || len(*known) < maxModelNames {
		next := map[string]*string{text: &text}
		if known != nil {
			for k, v := range *known {
				next[k] = v
			}
		}
		n.known.CompareAndSwap(known, &next) // who comes second is kept the next time
	}
	return &text
}

// deploymentOf returns the deployment that Azure's dated API has in its path.
func deploymentOf(path string) string {
	_, rest, _ := strings.Cut(path, "/deployments/")
	name, _, _ := strings.Cut(rest, "/")
	if len(name) > maxModelName {
		return ""
	}
	return name
}

// modelOf returns the model of a request, reading a second copy of its body
// where there is one.
func modelOf(req *http.Request) string {
	if req.GetBody == nil || keepsBody(req.Context()) || !strings.HasPrefix(first(req.Header, "Content-Type"), "application/json") {
		return pathModel(req.URL)
	}
	body, err := req.GetBody()
	if err != nil {
		return pathModel(req.URL)
	}
	defer closeReader(body)
	c := requestScan{names: &modelNames{}}
	buf := make([]byte, 4<<10)
	for c.state != scanDone && c.model.Load() == nil {
		n, err := body.Read(buf)
		c.scan(buf[:n])
		if err != nil {
			break
		}
	}
	if m := c.model.Load(); m != nil {
		return *m
	}
	return pathModel(req.URL)
}

func pathModel(u *url.URL) string {
	if u == nil {
		return ""
	}
	return deploymentOf(u.Path)
}
