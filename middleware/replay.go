package middleware

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
)

// MaxReplayBody is the size in bytes up to which [Replay] keeps a body.
const MaxReplayBody = 1 << 20

// Replay returns the outermost layer. It makes the body of a request
// rewindable, so that the layers below may send it more than once: a body
// without GetBody and of at most [MaxReplayBody] bytes is read before the
// first send. A longer one is passed on and sent once. An error while reading
// it is returned; if the request's context ends meanwhile, the body is closed
// and the cause of that returned.
//
// It also puts the caller's own request back as resp.Request, and marks
// answers of status 400 and above with "x-should-retry: false": an SDK above
// that knows this header (the official OpenAI ones do) does not retry what was
// retried here.
func Replay() Middleware {
	return func(next http.RoundTripper) http.RoundTripper {
		return &replay{next: next.RoundTrip}
	}
}

type replay struct {
	next func(*http.Request) (*http.Response, error)
}

func (l *replay) RoundTrip(req *http.Request) (*http.Response, error) {
	out := req
	if req.Body != nil && req.Body != http.NoBody && req.GetBody == nil && req.ContentLength <= MaxReplayBody {
		var err error
		if out, err = rewindable(req); err != nil {
			return nil, err
		}
	}
	resp, err := l.next(out)
	if err != nil {
		return nil, err
	}
	resp.Request = req
	if resp.StatusCode >= 400 {
		if resp.Header == nil {
			resp.Header = http.Header{}
		}
		resp.Header.Set("X-Should-Retry", "false")
	}
	return resp, nil
}

// rewindable returns a copy of req whose body is kept, if it is small enough.
func rewindable(req *http.Request) (*http.Request, error) {
	head, err := readHead(req.Context(), req.Body)
	if err != nil {
		_ = req.Body.Close()
		return nil, fmt.Errorf("middleware: read the request's body: %w", err)
	}
	out := new(http.Request)
	*out = *req
	if len(head) > MaxReplayBody {
		out.Body = &joined{Reader: io.MultiReader(bytes.NewReader(head), req.Body), Closer: req.Body}
		return out, nil
	}
	_ = req.Body.Close() // it is read to its end
	if out.ContentLength <= 0 {
		out.ContentLength = int64(len(head)) // net/http checks one that was declared
	}
	if len(head) == 0 {
		out.Body = http.NoBody
		return out, nil
	}
	out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(head)), nil }
	out.Body, err = out.GetBody()
	return out, err
}

type joined struct {
	io.Reader
	io.Closer
}

// readHead reads one byte more than may be kept. The read has a goroutine of
// its own, because a body may block for longer than ctx; the caller's Close
// ends it.
func readHead(ctx context.Context, body io.Reader) ([]byte, error) {
	type result struct {
		head []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		r := result{err: io.ErrUnexpectedEOF} // if the body ends its goroutine
		defer func() {
			if p := recover(); p != nil {
				r = result{err: fmt.Errorf("it panicked with a %T", p)}
			}
			done <- r
		}()
		r.head, r.err = io.ReadAll(io.LimitReader(body, MaxReplayBody+1))
	}()
	select {
	case r := <-done:
		return r.head, r.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
