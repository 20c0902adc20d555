package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/latchkey-go/latchkey/internal/sent"
	"github.com/latchkey-go/latchkey/internal/wire"
	"github.com/latchkey-go/latchkey/middleware"
)

// MaxResponseBody is the size in bytes of the largest answer that [Client.Do] and
// [Client.Post] read, after decompression.
const MaxResponseBody = 64 << 20

// A Response is what an answer says beside its body.
type Response struct {
	// StatusCode is the HTTP status.
	StatusCode int
	// RequestID is the service's name for the call; empty if it gave none.
	RequestID string
	// RateLimit is how much of the quota is left.
	RateLimit middleware.RateLimit
	// Header is the whole header.
	Header http.Header
}

// Post is [Client.Do] with POST.
func (c *Client) Post(ctx context.Context, path string, in, out any) (*Response, error) {
	return c.Do(ctx, http.MethodPost, path, in, out)
}

// Do sends in as JSON to path, relative to the base URL, and decodes the
// answer into out. A nil in sends no body; a nil out discards the answer; a
// json.RawMessage passes as it is, either way. An empty method is GET.
//
// An answer with a status other than 2xx is an [*Error]. Other errors come
// from encoding in, from the credential (see package credential), from the
// network (see http.Client.Do), from ctx, or from an answer that is no JSON or
// larger than [MaxResponseBody]; they never hold a body. The Response is not
// nil if an answer arrived.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) (*Response, error) {
	ctx, secrets := sent.With(ctx)
	resp, err := c.send(ctx, method, path, in, "application/json")
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // nothing to do about it
	res := newResponse(resp)
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return res, newError(resp)
	}
	return res, decode(resp, out, secrets)
}

func (c *Client) send(ctx context.Context, method, path string, in any, accept string) (*http.Response, error) {
	if c.transport == nil {
		return nil, errZeroClient
	}
	target, err := c.base.join(path)
	if err != nil {
		return nil, err
	}
	header := http.Header{"Accept": {accept}, "User-Agent": {"latchkey"}}
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("client: encode the request: %w", err)
		}
		body = bytes.NewReader(data)
		header["Content-Type"] = []string{"application/json"}
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	req.Header = header
	return c.HTTPClient().Do(req) //nolint:wrapcheck // a *url.Error says it all
}

func decode(resp *http.Response, out any, secrets *sent.Credentials) error {
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
	if e := onlyError(resp, data, secrets); e != nil {
		return e
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("client: decode the answer (%d bytes of %s): %w", len(data), mediaType(resp.Header), decodeError(err))
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
		RateLimit:  middleware.RateLimit(wire.ParseRateLimit(h)),
		Header:     h,
	}
}
