package middleware

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/latchkey-go/latchkey/internal/usage"
)

// maxModelName is the longest name of a deployment that is taken for a model, in bytes:
// as long as that of a model that package usage reads.
const maxModelName = 64

// A requestScan reads "model" and "stream" out of a JSON object while it is sent.
type requestScan struct {
	body  io.ReadCloser
	names *modelNames
	json  usage.HeadScan

	// The results are read while the body may still be under way.
	model  atomic.Pointer[string]
	stream atomic.Bool
}

// Model takes the model.
func (c *requestScan) Model(name []byte) { c.model.Store(c.names.intern(name)) }

// Streamed takes that a stream is asked for.
func (c *requestScan) Streamed() { c.stream.Store(true) }

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
	c.json.Write(p[:n], c)
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
		n.known.CompareAndSwap(known, &next) // the one that loses is kept the next time
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
	for !c.json.Over() && c.model.Load() == nil {
		n, err := body.Read(buf)
		c.json.Write(buf[:n], &c)
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
