package middleware

import (
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/latchkey-go/latchkey/internal/hidden"
	"github.com/latchkey-go/latchkey/internal/wraperr"
)

// MaxReplayBody is the size in bytes up to which [Replay] keeps a body.
const MaxReplayBody = 1 << 20

// Replay returns the outermost layer of this package. It lets the layers below
// send a request more than once though its body cannot be had again (GetBody):
// it keeps what is read of the body, up to [MaxReplayBody] bytes, while the
// body is sent. Nothing is read ahead, so a body that is written slowly, after
// an answer of 100 Continue or while the answer comes, goes out as it comes. A
// request whose body was longer is sent once.
//
// A call begins here: the sends of all layers below are counted together, as
// [Send] shows them. resp.Request is the caller's own request. The round
// tripper has net/http's old CancelRequest.
func Replay() Middleware {
	return func(next http.RoundTripper) http.RoundTripper {
		return &replay{next: next.RoundTrip, calls: hidden.Of(&callList{})}
	}
}

type replay struct {
	next  roundTrip
	calls hidden.Value[*callList]
}

func (l *replay) RoundTrip(req *http.Request) (*http.Response, error) {
	out, c := beginNew(req)
	l.calls().add(c, req)
	if req.Body != nil && req.Body != http.NoBody && req.GetBody == nil && req.ContentLength <= MaxReplayBody {
		kept := newKeptBody(req.Body)
		defer kept.release()
		out.Body, out.GetBody, c.kept = kept.reader(), kept.again, true
	}
	resp, err := l.next(out)
	c.canceler.roundTripped(c, err == nil)
	if err != nil {
		return nil, err
	}
	resp.Request = req
	return resp, nil
}

// CancelRequest ends the call of req, which has to be the very request that
// RoundTrip got, as the deprecated method of [http.Transport] does.
func (l *replay) CancelRequest(req *http.Request) { l.calls().cancel(req) }

// A keptBody is a body that is kept while it is read. Its readers share one
// copy: a second one gets what the first has read, and then goes on reading.
type keptBody struct {
	mu       sync.Mutex
	src      io.ReadCloser
	kept     []byte
	total    int   // bytes that were read
	dropped  bool  // kept is given up: there was more than MaxReplayBody
	err      error // of the source, io.EOF included
	reading  chan struct{}
	open     int  // readers
	released bool // the call is over: there will be no other reader
	closed   bool // the source is
}

var errTooLongToReplay = errors.New("middleware: the body is too long to be sent again")

func newKeptBody(src io.ReadCloser) *keptBody { return &keptBody{src: src} }

// again is the GetBody of the request.
func (b *keptBody) again() (io.ReadCloser, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dropped || b.closed {
		return nil, errTooLongToReplay
	}
	b.open++
	return &keptReader{b: b, gone: make(chan struct{})}, nil
}

func (b *keptBody) reader() io.ReadCloser {
	r, _ := b.again() // cannot fail yet
	return r
}

// release says that the call is over. The source is closed with its last
// reader: net/http may go on sending after the answer's header has come.
func (b *keptBody) release() {
	b.mu.Lock()
	b.released = true
	b.mu.Unlock()
	b.closeUnused()
}

func (b *keptBody) closeUnused() {
	b.mu.Lock()
	unused := b.released && b.open == 0 && !b.closed
	b.closed = b.closed || unused
	b.mu.Unlock()
	if unused {
		_ = b.src.Close()
	}
}

// next returns bytes at offset off. If there are none yet and another reader is
// reading, it returns a channel that is closed when that read ends. Otherwise
// the caller reads.
func (b *keptBody) next(off int, p []byte) (n int, wait <-chan struct{}, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case off < len(b.kept):
		return copy(p, b.kept[off:]), nil, nil
	case off < b.total:
		return 0, nil, errTooLongToReplay
	case b.err != nil:
		return 0, nil, b.err
	case b.reading != nil:
		return 0, b.reading, nil
	}
	b.reading = make(chan struct{})
	return 0, nil, nil
}

// read reads from the source and keeps what comes. It does not read more than
// can be kept while another reader needs it, too.
func (b *keptBody) read(p []byte) (int, error) {
	b.mu.Lock()
	if b.open > 1 && !b.dropped {
		p = p[:min(len(p), MaxReplayBody-len(b.kept))]
	}
	b.mu.Unlock()
	n, err := 0, errTooLongToReplay
	if len(p) > 0 {
		if n, err = b.src.Read(p); err != nil && err != io.EOF {
			err = &requestBodyError{err}
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.dropped {
		if len(b.kept)+n > MaxReplayBody || b.released && b.open <= 1 {
			b.dropped, b.kept = true, nil
		} else {
			b.kept = append(b.kept, p[:n]...)
		}
	}
	b.total += n
	if len(p) > 0 {
		b.err = err
	}
	close(b.reading)
	b.reading = nil
	return n, err
}

// A requestBodyError is the error of the caller's own body. Its type tells Retry
// that it is none of the connection.
type requestBodyError struct{ error }

func (e *requestBodyError) Unwrap() error { return e.error }

// Timeout reports whether the body says that it is one.
func (e *requestBodyError) Timeout() bool { return wraperr.IsTimeout(e.error) }

// A keptReader is one send's reader of the body.
type keptReader struct {
	b    *keptBody
	off  int
	once sync.Once
	gone chan struct{} // closed by Close
}

func (r *keptReader) Read(p []byte) (int, error) {
	for {
		select {
		case <-r.gone:
			return 0, http.ErrBodyReadAfterClose
		default:
		}
		if len(p) == 0 {
			return 0, nil
		}
		n, wait, err := r.b.next(r.off, p)
		switch {
		case n > 0:
			r.off += n
			return n, nil
		case err != nil:
			return 0, err
		case wait == nil:
			n, err = r.b.read(p)
			r.off += n
			return n, err
		}
		select {
		case <-wait:
		case <-r.gone:
		}
	}
}

func (r *keptReader) Close() error {
	r.once.Do(func() {
		close(r.gone)
		r.b.mu.Lock()
		r.b.open--
		r.b.mu.Unlock()
		r.b.closeUnused()
	})
	return nil
}
