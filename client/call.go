package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/latchkey-go/latchkey/internal/wire"
)

// MaxResponseBody is the size in bytes of the largest answer that
// [Client.Post] reads, and of the largest event of a [Client.Stream], after
// decompression.
const MaxResponseBody = 64 << 20

// A Response is what an answer says beside its body.
type Response struct {
	// StatusCode is the HTTP status.
	StatusCode int
	// RequestID is the service's name for the call; empty if it gave none.
	RequestID string
	// RateLimit is how much of the quota is left.
	RateLimit RateLimit
	// Header is the whole header.
	Header http.Header
}

// RateLimit holds the x-ratelimit headers. OpenAI and Azure OpenAI send them
// as advice; a number that was not sent, or is not one, is -1.
type RateLimit struct {
	// LimitRequests and RemainingRequests count requests.
	LimitRequests, RemainingRequests int
	// LimitTokens and RemainingTokens count tokens.
	LimitTokens, RemainingTokens int
	// ResetRequests and ResetTokens are the times until the quota is full
	// again; zero if not sent.
	ResetRequests, ResetTokens time.Duration
}

// Post sends in as JSON to path, relative to the base URL, and decodes the
// answer into out. A nil in sends no body; a nil out discards the answer; a
// json.RawMessage passes as it is, either way.
//
// An answer with a status other than 2xx is an [*Error]. Other errors come
// from encoding in, from the credential (see package credential), from the
// network (see http.Client.Do), from ctx, or from an answer that is no JSON or
// larger than [MaxResponseBody]; they never hold a body. The Response is not
// nil if an answer arrived.
func (c *Client) Post(ctx context.Context, path string, in, out any) (*Response, error) {
	resp, err := c.send(ctx, path, in, "application/json")
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // nothing to do about it
	res := newResponse(resp)
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return res, newError(resp)
	}
	return res, decode(resp, out)
}

func (c *Client) send(ctx context.Context, path string, in any, accept string) (*http.Response, error) {
	target, err := c.base.join(path)
	if err != nil {
		return nil, err
	}
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("client: encode the request: %w", err)
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, body)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	req.Header = http.Header{
		"Accept":       {accept},
		"Content-Type": {"application/json"},
		"User-Agent":   {"latchkey"},
	}
	return c.HTTPClient().Do(req) //nolint:wrapcheck // a *url.Error says it all
}

func decode(resp *http.Response, out any) error {
	body := &limited{r: resp.Body, left: MaxResponseBody}
	if out == nil {
		if _, err := io.Copy(io.Discard, body); err != nil {
			return fmt.Errorf("client: read the answer: %w", err)
		}
		return nil
	}
	data, err := readAll(body, resp.ContentLength)
	if err != nil {
		return fmt.Errorf("client: read the answer: %w", err)
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("client: decode the answer (%d bytes of %s): %w", len(data), mediaType(resp.Header), quiet(err))
	}
	return nil
}

// readAll takes the server's word for the size only as far as it is cheap.
func readAll(r io.Reader, size int64) ([]byte, error) {
	var buf bytes.Buffer
	if size > 0 {
		buf.Grow(int(min(size, 1<<20)) + bytes.MinRead)
	}
	_, err := buf.ReadFrom(r)
	return buf.Bytes(), err
}

// quiet keeps an error of encoding/json to the position and the Go type: a
// syntax error quotes a byte of the body, and a number's error all of it.
func quiet(err error) error {
	switch e := err.(type) { //nolint:errorlint // Unmarshal returns them bare
	case *json.SyntaxError:
		return fmt.Errorf("malformed JSON at byte %d", e.Offset)
	case *json.UnmarshalTypeError:
		return fmt.Errorf("at byte %d: does not fit the Go type %s of field %q", e.Offset, e.Type, e.Field)
	}
	return err
}

// A limited reader fails, rather than ends, past the limit.
type limited struct {
	r    io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		var one [1]byte
		if n, err := io.ReadFull(l.r, one[:]); n == 0 {
			return 0, err //nolint:wrapcheck // io.EOF has to stay bare
		}
		return 0, fmt.Errorf("it is larger than %d bytes", MaxResponseBody)
	}
	if int64(len(p)) > l.left {
		p = p[:l.left]
	}
	n, err := l.r.Read(p)
	l.left -= int64(n)
	return n, err //nolint:wrapcheck // io.EOF has to stay bare
}

func newResponse(resp *http.Response) *Response {
	h := resp.Header
	return &Response{
		StatusCode: resp.StatusCode,
		RequestID:  wire.RequestID(h),
		RateLimit: RateLimit{
			LimitRequests:     number(h, "X-Ratelimit-Limit-Requests"),
			RemainingRequests: number(h, "X-Ratelimit-Remaining-Requests"),
			LimitTokens:       number(h, "X-Ratelimit-Limit-Tokens"),
			RemainingTokens:   number(h, "X-Ratelimit-Remaining-Tokens"),
			ResetRequests:     span(h, "X-Ratelimit-Reset-Requests"),
			ResetTokens:       span(h, "X-Ratelimit-Reset-Tokens"),
		},
		Header: h,
	}
}

func number(h http.Header, name string) int {
	vv := h[name]
	if len(vv) == 0 {
		return -1
	}
	n, err := strconv.Atoi(vv[0])
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// span reads OpenAI's form, 6m0s, and Azure's, whole seconds.
func span(h http.Header, name string) time.Duration {
	vv := h[name]
	if len(vv) == 0 {
		return 0
	}
	d, err := time.ParseDuration(vv[0])
	if err != nil {
		n := min(number(h, name), 366*24*60*60)
		d = time.Duration(n) * time.Second
	}
	return max(0, d)
}
