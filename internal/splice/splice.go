// Package splice replaces a part of the body of a request while it is sent.
package splice

import (
	"io"
	"net/http"
	"strings"
)

// Request puts text in place of the bytes from begin to end of the body of req,
// which must have a GetBody. It changes req.
func Request(req *http.Request, begin, end int64, text string) {
	again := req.GetBody
	req.Body = body(req.Body, begin, end, text)
	req.GetBody = func() (io.ReadCloser, error) {
		b, err := again()
		if err != nil {
			return nil, err
		}
		return body(b, begin, end, text), nil
	}
	if req.ContentLength > 0 {
		req.ContentLength += int64(len(text)) - (end - begin)
	}
}

func body(b io.ReadCloser, begin, end int64, text string) io.ReadCloser {
	return &spliced{Reader: io.MultiReader(
		io.LimitReader(b, begin),
		strings.NewReader(text),
		&skipping{r: b, left: end - begin},
	), body: b}
}

type spliced struct {
	io.Reader
	body io.Closer
}

func (b *spliced) Close() error { return b.body.Close() } //nolint:wrapcheck // as the body says it

// A skipping reader leaves the first bytes out.
type skipping struct {
	r    io.Reader
	left int64
}

func (s *skipping) Read(p []byte) (int, error) {
	if s.left > 0 {
		n, err := io.CopyN(io.Discard, s.r, s.left)
		if s.left -= n; err != nil {
			return 0, err //nolint:wrapcheck // io.EOF has to stay bare
		}
	}
	return s.r.Read(p) //nolint:wrapcheck // io.EOF has to stay bare
}
