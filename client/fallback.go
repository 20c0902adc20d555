package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/splice"
	"github.com/latchkey-go/latchkey/internal/wraperr"
	"github.com/latchkey-go/latchkey/middleware"
)

// fallbacks resolves the endpoints behind the first. What the environment says
// is the first one's.
func (cfg *Config) fallbacks() ([]*target, error) {
	all := make([]*target, 0, len(cfg.Fallbacks))
	for i := range cfg.Fallbacks {
		t, err := cfg.Fallbacks[i].resolveFallback(cfg.Cache)
		if err != nil {
			return nil, wraperr.New(fmt.Sprintf("client: Fallbacks[%d]: %s", i, strings.TrimPrefix(err.Error(), "client: ")), err)
		}
		all = append(all, t)
	}
	return all, nil
}

func (p *Endpoint) resolveFallback(opts *credential.CacheOptions) (*target, error) {
	switch {
	case p.BaseURL == "":
		return nil, errors.New("the BaseURL is empty; a fallback needs one, for the environment names the first endpoint")
	case p.Source == nil:
		return nil, errors.New("the Source is nil; a fallback needs a credential of its own")
	}
	if _, ready := p.Source.(credential.Provider); ready {
		opts = nil // they are of another Cache
	}
	return p.resolve(opts, true)
}

// routes makes the endpoints into those of middleware.Failover.
func (cfg *Config) routes(first *target, others []*target) []middleware.Route {
	list := cfg.endpoints()
	routes := make([]middleware.Route, 0, 1+len(others))
	named := map[string]int{}
	for i, t := range append([]*target{first}, others...) {
		e := list[i]
		r := middleware.Route{
			Name: e.Name, Priority: e.Priority, Weight: e.Weight, Provisioned: e.Provisioned,
			Layers: cfg.held(t.rewrite, cfg.usage(), t.auth),
		}
		if r.Name == "" {
			r.Name = t.base.host()
		}
		if named[r.Name]++; named[r.Name] > 1 { // another key behind the same address, for example
			r.Name += "#" + strconv.Itoa(named[r.Name])
		}
		if r.Priority == 0 {
			r.Priority = i + 1
		}
		if i > 0 || len(e.Models) > 0 {
			m := mover{from: first.base, to: t.base, models: e.Models, same: i == 0}
			r.Layers = append([]middleware.Middleware{m.layer}, r.Layers...)
		}
		routes = append(routes, r)
	}
	return routes
}

// A mover makes a request to the first endpoint into one to another.
type mover struct {
	from, to endpoint
	models   map[string]string
	same     bool // it is the first: only the models change
}

func (m mover) layer(next http.RoundTripper) http.RoundTripper {
	return &moveLayer{mover: m, next: next.RoundTrip}
}

type moveLayer struct {
	mover
	next roundTrip
}

func (l *moveLayer) RoundTrip(req *http.Request) (*http.Response, error) {
	out, err := l.move(req)
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	return l.next(out)
}

func (l *moveLayer) move(req *http.Request) (*http.Request, error) {
	out := new(http.Request)
	*out = *req
	if !l.same {
		u, ok := l.address(req.URL)
		if !ok {
			return req, nil // not below the base URL: Auth refuses it
		}
		out.URL, out.Host = u, ""
		out.Header = make(http.Header, len(req.Header)+2)
		for name, values := range req.Header {
			// The account at one endpoint is none at another.
			if name != "Openai-Organization" && name != "Openai-Project" {
				out.Header[name] = values
			}
		}
	}
	if len(l.models) == 0 {
		return out, nil
	}
	return out, l.rename(out)
}

// address returns where the request goes at the other endpoint.
func (l *moveLayer) address(from *url.URL) (*url.URL, bool) {
	if from == nil || !strings.EqualFold(from.Scheme+"://"+from.Host, l.from.origin) {
		return nil, false
	}
	rest, ok := strings.CutPrefix(from.EscapedPath(), l.from.path)
	if !ok {
		return nil, false
	}
	if after, ok := strings.CutPrefix(rest, "deployments/"); ok { // of the dated API
		if _, after, ok = strings.Cut(after, "/"); ok {
			rest = after
		}
	}
	to, err := url.Parse(l.to.origin + l.to.path + rest)
	if err != nil {
		return nil, false
	}
	to.RawQuery = l.query(from.RawQuery)
	return to, true
}

// query returns the query without what belongs to the first endpoint, and with
// what belongs to the other.
func (l *moveLayer) query(raw string) string {
	own := "&" + l.from.query + "&"
	kept := make([]string, 0, 4)
	if l.to.query != "" {
		kept = append(kept, l.to.query)
	}
	for part := range strings.SplitSeq(raw, "&") {
		if part != "" && !strings.Contains(own, "&"+part+"&") && !strings.HasPrefix(part, "api-version=") {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, "&")
}

// rename puts the endpoint's own name of the model into the body.
func (l *moveLayer) rename(req *http.Request) error {
	name, err := modelOf(req)
	if err != nil {
		if errors.Is(err, errNotTwice) {
			return fmt.Errorf("client: Models of %s: %w", l.to.host(), err)
		}
		return nil // no model to rename
	}
	own, ok := l.models[name]
	if !ok {
		return nil
	}
	at, err := findModel(req)
	if err != nil {
		return fmt.Errorf("client: Models of %s: %w", l.to.host(), err)
	}
	if at.quoted {
		quoted, err := json.Marshal(own)
		if err != nil {
			return fmt.Errorf("client: Models of %s: %w", l.to.host(), err)
		}
		own = string(quoted)
	}
	splice.Request(req, at.begin, at.end, own)
	return nil
}

// A place is where the model stands in a body, in bytes.
type place struct {
	begin, end int64
	quoted     bool // with its quotes, in JSON
}

// findModel looks for the model in a copy of the body.
func findModel(req *http.Request) (place, error) {
	body, err := req.GetBody()
	if err != nil {
		return place{}, errNotTwice
	}
	defer func() { _ = body.Close() }() // a copy
	mediaType, params, _ := mime.ParseMediaType(req.Header.Get("Content-Type"))
	if mediaType == "multipart/form-data" {
		return formPlace(body, params["boundary"])
	}
	return jsonPlace(json.NewDecoder(body))
}

// jsonPlace is jsonModel for the place of the value.
func jsonPlace(d *json.Decoder) (place, error) {
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return place{}, errMalformed
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return place{}, errMalformed
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return place{}, errMalformed
		}
		if name == "model" {
			end := d.InputOffset()
			return place{begin: end - int64(len(value)), end: end, quoted: true}, nil
		}
	}
	return place{}, errMalformed
}

// formPlace looks for the part of a form that formModel has read. It goes from
// part to part: a file may hold what looks like one, or be called model.
func formPlace(body io.Reader, boundary string) (place, error) {
	data, err := io.ReadAll(body)
	if err != nil {
		return place{}, errNotTwice
	}
	delimiter, blank := []byte("\r\n--"+boundary), []byte("\r\n\r\n")
	for begin := 0; ; {
		head := next(data, begin, blank)
		if head < 0 {
			return place{}, errMalformed
		}
		value := head + len(blank)
		end := next(data, value, delimiter)
		if end < 0 {
			return place{}, errMalformed
		}
		if partName(data[begin:head]) == "model" {
			return place{begin: int64(value), end: int64(end)}, nil
		}
		begin = end
	}
}

// next returns where what stands in data, from begin on; -1 is nowhere.
func next(data []byte, begin int, what []byte) int {
	if i := bytes.Index(data[begin:], what); i >= 0 {
		return begin + i
	}
	return -1
}

// partName returns the name of the part of a form that has these lines ahead of
// its value.
func partName(lines []byte) string {
	for line := range bytes.SplitSeq(lines, []byte("\r\n")) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if !strings.EqualFold(string(name), "Content-Disposition") {
			continue
		}
		if _, params, err := mime.ParseMediaType(string(value)); err == nil {
			return params["name"]
		}
	}
	return ""
}
