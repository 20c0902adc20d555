package middleware

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/latchkey-go/latchkey/internal/hidden"
	"github.com/latchkey-go/latchkey/internal/splice"
	"github.com/latchkey-go/latchkey/internal/sse"
)

const (
	includeUsage = `"include_usage":true`
	// firstWithUsage is the first dated version of Azure OpenAI that takes
	// stream_options. https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle
	firstWithUsage = "2024-09-01"
	// maxHeldEvent bounds what of an event is held back, in bytes.
	maxHeldEvent = 64 << 10
)

// IncludeUsage returns a layer that makes streams of completions report their
// [Usage]: it puts stream_options with include_usage into requests that ask for a
// stream on a path that ends with /completions, and takes the chunk with the
// usage, which has no choices, out of the answer again. A request that says itself
// whether it wants the usage is left as it is, and so is its answer. Responses
// always report their usage.
//
// Nothing is changed where the api-version in the query is a date before
// 2024-09-01, because Azure refuses stream_options there, and in requests whose body
// is not JSON or cannot be read twice (GetBody).
//
// The layer belongs above [Auth] and below what rewrites the URL.
func IncludeUsage() Middleware {
	return func(next http.RoundTripper) http.RoundTripper {
		return &usageLayer{belowOf(next)}
	}
}

type usageLayer struct{ below }

func (l *usageLayer) RoundTrip(req *http.Request) (*http.Response, error) {
	if !mayIncludeUsage(req) {
		return l.next(req)
	}
	at, ok := findStreamOptions(req)
	if !ok {
		return l.next(req)
	}
	out := *req
	splice.Request(&out, at.begin, at.end, at.text)
	resp, err := l.next(&out)
	if err != nil {
		return nil, err
	}
	resp.Request = req
	if mayHoldStream(req, resp) && eventStream(resp.Header) {
		resp.Body = newUsageDropper(resp.Body)
		resp.ContentLength = -1
		resp.Header.Del("Content-Length")
	}
	return resp, nil
}

func mayIncludeUsage(req *http.Request) bool {
	return req.Method == http.MethodPost && req.URL != nil && strings.HasSuffix(req.URL.Path, "/completions") &&
		strings.HasPrefix(first(req.Header, "Content-Type"), "application/json") && first(req.Header, "Content-Encoding") == "" &&
		req.Body != nil && req.GetBody != nil && !keepsBody(req.Context()) && takesStreamOptions(req.URL.RawQuery)
}

// takesStreamOptions reports whether the api-version is none of the old ones.
func takesStreamOptions(query string) bool {
	_, version, dated := strings.Cut("&"+query, "&api-version=")
	return !dated || version == "" || version[0] < '0' || version[0] > '9' || version >= firstWithUsage
}

// An insertion is text in place of a part of a body.
type insertion struct {
	begin, end int64
	text       string
}

// findStreamOptions reads a copy of the body. It is not ok if the request does not
// ask for a stream, or says itself what it wants to know of the usage.
func findStreamOptions(req *http.Request) (at insertion, ok bool) {
	body, err := req.GetBody()
	if err != nil {
		return at, false
	}
	defer closeReader(body)
	d := json.NewDecoder(body)
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return at, false
	}
	at = insertion{begin: d.InputOffset(), end: d.InputOffset(), text: `"stream_options":{` + includeUsage + `},`}
	asked := false
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return at, false
		}
		value := kept{keep: name == "stream" || name == "stream_options"}
		if d.Decode(&value) != nil {
			return at, false
		}
		switch name {
		case "stream":
			asked = string(value.text) == "true"
		case "stream_options":
			if at, ok = merged(value.text, d.InputOffset()); !ok {
				return at, false
			}
		}
	}
	return at, asked
}

// merged adds include_usage to the options of a request that end at end.
func merged(options []byte, end int64) (insertion, bool) {
	at := insertion{begin: end - int64(len(options)), end: end, text: "{" + includeUsage + "}"}
	var has map[string]json.RawMessage
	if json.Unmarshal(options, &has) != nil {
		return at, false
	}
	if _, told := has["include_usage"]; told {
		return at, false
	}
	if len(has) > 0 { // else they are null or {}
		at.end, at.text = at.begin+1, "{"+includeUsage+","
	}
	return at, true
}

// A kept value is dropped unless it is to be kept.
type kept struct {
	keep bool
	text []byte
}

// UnmarshalJSON takes the value.
func (k *kept) UnmarshalJSON(text []byte) error {
	if k.keep {
		k.text = bytes.Clone(text)
	}
	return nil
}

// A usageDropper takes the chunk with the usage out of a stream. Everything else
// passes as it comes, event by event.
type usageDropper struct {
	body   hidden.Value[io.ReadCloser]
	parser sse.Parser
	chunk  []byte
	out    []byte // to be read, from off on
	off    int
	event  []byte // as far as it has come
	long   bool   // the event is too long to be held
	err    error  // of the body
}

func newUsageDropper(body io.ReadCloser) *usageDropper {
	return &usageDropper{body: hidden.Of(body), parser: sse.NewParser(maxHeldEvent, 0), chunk: make([]byte, 8<<10)}
}

// Read returns what comes of the stream.
func (d *usageDropper) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for d.off == len(d.out) && d.err == nil {
		d.out, d.off = d.out[:0], 0
		n, err := d.body().Read(d.chunk)
		if n == 0 && err == nil {
			return 0, nil
		}
		d.take(d.chunk[:n])
		if d.err = err; err != nil {
			d.out = append(d.out, d.event...)
			d.event = nil
		}
	}
	n := copy(p, d.out[d.off:])
	if d.off += n; d.off < len(d.out) {
		return n, nil
	}
	return n, d.err
}

func (d *usageDropper) take(p []byte) {
	for len(p) > 0 {
		n, ended := d.parser.Feed(p)
		d.event = append(d.event, p[:n]...)
		p = p[n:]
		if ended && !d.long && d.isUsage() {
			d.event = d.event[:beforeData(d.event)]
		}
		d.long = !ended && (d.long || len(d.event) > maxHeldEvent)
		if ended || d.long || d.comment() {
			d.out = append(d.out, d.event...)
			d.event = d.event[:0]
		}
	}
}

// beforeData returns the length of the comments in front of an event.
func beforeData(event []byte) int {
	data := max(0, bytes.Index(event, []byte("data")))
	if blank := bytes.LastIndex(event[:data], []byte("\n\n")); blank >= 0 {
		return blank + len("\n\n")
	}
	return 0
}

// comment reports whether what has come are comments, with which servers keep a
// connection open, or the end of the last line of the event before.
func (d *usageDropper) comment() bool {
	return d.parser.Lines() == 0 && (string(d.event) == "\n" || bytes.HasSuffix(d.event, []byte("\n\n")) || bytes.HasSuffix(d.event, []byte("\r\n\r\n")))
}

// isUsage reports whether the event is the one that was asked for.
func (d *usageDropper) isUsage() bool {
	data, whole := d.parser.Data()
	if !whole || !mayHoldUsage(data) {
		return false
	}
	var chunk struct {
		Choices []json.RawMessage `json:"choices"`
		Usage   json.RawMessage   `json:"usage"`
	}
	return json.Unmarshal(data, &chunk) == nil && len(chunk.Choices) == 0 && len(chunk.Usage) > 0 && chunk.Usage[0] == '{'
}

// mayHoldUsage reports whether a member called usage is an object. It is null in the
// other chunks of a stream that was asked for it, and these are not parsed.
func mayHoldUsage(data []byte) bool {
	for {
		_, rest, found := bytes.Cut(data, []byte(`"usage"`))
		if !found {
			return false
		}
		value, member := bytes.CutPrefix(bytes.TrimLeft(rest, " \t\r\n"), []byte(":"))
		if member && bytes.HasPrefix(bytes.TrimLeft(value, " \t\r\n"), []byte("{")) {
			return true
		}
		data = rest
	}
}

// Close closes the stream.
func (d *usageDropper) Close() error { return d.body().Close() } //nolint:wrapcheck // as the transport says it
