package middleware

import (
	"bufio"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/hidden"
)

// DefaultMaxErrorBody is how many bytes of the body of an answer with status
// 400 or more reach the caller, after decompression: 64 KiB. What is longer is
// cut there; error objects of OpenAI and Azure OpenAI are below 2 KiB.
const DefaultMaxErrorBody = 64 << 10

const (
	// readErrorTime bounds the reading of an error body. After it the caller
	// gets what has come.
	readErrorTime = 5 * time.Second
	// mostPeekTime bounds the look of a layer into an error body. It is less
	// where the caller's deadline is near.
	mostPeekTime = time.Second
	// smallError is the size up to which a body is looked at for a code.
	smallError = 2 << 10
	// A body that nobody wants is read so far and for so long, because HTTP/1
	// can use its connection again only at the end of the body.
	drainBytes = 256 << 10
	drainTime  = 250 * time.Millisecond
)

// An errorBody is the body of an error answer: capped in size and time, without
// the secrets that were sent. It is lazy: a body that nobody reads, as
// that of a 429 which is tried again, costs no copy.
type errorBody struct {
	src     hidden.Value[io.ReadCloser] // it leads to net/http's buffers
	secrets []credential.Secret
	gzip    bool  // to be decompressed
	length  int64 // as sent; -1 if unknown

	sending   atomic.Pointer[sending] // nil without Auth
	patience  time.Duration           // of a peek; 0 is readErrorTime
	busy      atomic.Bool             // someone reads src, or nobody need any more
	closed    atomic.Bool
	srcClosed atomic.Bool

	// Owned by the reader.
	decode func([]byte) (int, error)
	head   []byte // what has come; once ended, what Read returns
	ended  bool
	empty  bool  // there is no body
	exact  bool  // the length in the response is right
	err    error // after head; io.EOF also where it was cut
	read   int
}

// wrapErrorBody puts an errorBody into resp, unless it has one, and returns
// it. The length of the body is unknown from then on, until it is peeked at:
// taking the secrets out changes it. A gzip body, which net/http leaves alone if
// the caller asked for it, is decompressed. Other encodings stay, and a secret
// inside of them is not found; nobody gets one without asking for it.
func wrapErrorBody(resp *http.Response, secrets ...credential.Secret) *errorBody {
	if b, ok := resp.Body.(*errorBody); ok {
		return b
	}
	body := resp.Body
	if body == nil {
		body = http.NoBody
	}
	b := &errorBody{src: hidden.Of(body), secrets: secrets, length: resp.ContentLength, err: io.EOF}
	resp.Body = b
	if body == http.NoBody || resp.Request != nil && resp.Request.Method == http.MethodHead {
		// The headers describe a body that is not there: they stay.
		b.ended, b.exact, b.empty = true, true, true
		b.busy.Store(true)
		return b
	}
	if !resp.Uncompressed && isGzip(resp.Header.Get("Content-Encoding")) {
		b.gzip = true
		resp.Header.Del("Content-Encoding")
		resp.Uncompressed = true
	}
	resp.Header.Del("Content-Length")
	resp.ContentLength, resp.TransferEncoding = -1, nil
	return b
}

func isGzip(encoding string) bool {
	return strings.EqualFold(encoding, "gzip") || strings.EqualFold(encoding, "x-gzip")
}

// peekError returns the body of an error answer without consuming it, and
// makes the length in resp exact. It wraps a body that is not an errorBody.
func peekError(resp *http.Response) []byte {
	b := wrapErrorBody(resp)
	b.patience = peekTime(resp)
	head := b.peek()
	if b.exact {
		return head
	}
	b.exact = true
	resp.ContentLength = int64(len(head))
	if resp.Header != nil {
		resp.Header.Set("Content-Length", strconv.Itoa(len(head)))
	}
	return head
}

// peekSmall is peekError for a body that may be thrown away: of a body that is
// too long for an error object it copies smallError bytes at most, and returns
// nil.
func peekSmall(resp *http.Response) []byte {
	if b, ok := resp.Body.(*errorBody); !ok && resp.ContentLength > smallError || ok && b.length > smallError {
		return nil
	}
	b := wrapErrorBody(resp)
	b.patience = peekTime(resp)
	if b.fill(smallError); !b.ended {
		return nil
	}
	return peekError(resp)
}

// peekTime leaves most of the caller's time to what comes after the look.
func peekTime(resp *http.Response) time.Duration {
	if resp.Request != nil {
		if deadline, ok := resp.Request.Context().Deadline(); ok {
			return max(time.Millisecond, min(mostPeekTime, time.Until(deadline)/4))
		}
	}
	return mostPeekTime
}

// peek returns what Read will return. The bytes belong to b.
func (b *errorBody) peek() []byte {
	b.fill(DefaultMaxErrorBody)
	return b.head
}

// Read reads the capped body.
func (b *errorBody) Read(p []byte) (int, error) {
	if b.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	b.fill(DefaultMaxErrorBody)
	n, err := copy(p, b.head[b.read:]), error(nil)
	if b.read += n; n == 0 && b.read == len(b.head) {
		err = b.err
	}
	if s := b.sending.Load(); s != nil {
		err = s.read(p[:n], err)
	}
	return n, err
}

// Close closes the body. It ends a Read on another goroutine.
func (b *errorBody) Close() error {
	if b.closed.Swap(true) {
		return nil
	}
	if s := b.sending.Load(); s != nil {
		defer s.end(nil)
	}
	if b.busy.CompareAndSwap(false, true) {
		b.drain()
	}
	b.closeSource()
	return nil
}

func (b *errorBody) closeSource() {
	if b.srcClosed.CompareAndSwap(false, true) {
		_ = b.src().Close()
	}
}

// drain reads what little is left, so that the connection is used again.
func (b *errorBody) drain() {
	stop := time.AfterFunc(drainTime, b.closeSource)
	defer stop.Stop()
	_, _ = io.CopyN(io.Discard, b.src(), drainBytes)
}

// fill reads until head is longer than limit or the body has ended; then it
// closes the source.
func (b *errorBody) fill(limit int) {
	if b.ended || !b.busy.CompareAndSwap(false, true) {
		return
	}
	var timedOut atomic.Bool
	patience := b.patience
	if patience == 0 {
		patience = readErrorTime
	}
	stop := time.AfterFunc(patience, func() {
		timedOut.Store(true)
		b.closeSource()
	})
	err := b.readTo(limit)
	stop.Stop()
	cut, whole := len(b.head) > DefaultMaxErrorBody, errors.Is(err, io.EOF)
	if err == nil && !cut {
		b.busy.Store(false)
		return
	}
	b.ended = true
	if cut {
		b.head = b.head[:DefaultMaxErrorBody]
	} else if !whole && !timedOut.Load() {
		b.err = err
	}
	if cut || whole {
		b.drain() // also at the end: HTTP/1 wants to see it
	}
	b.closeSource()
	b.head = redactBody(b.head, b.secrets, cut || !whole)
}

// readTo appends to head until it is longer than limit; it returns io.EOF at
// the end of the body.
func (b *errorBody) readTo(limit int) error {
	if b.decode == nil {
		if err := b.open(); err != nil {
			return err
		}
		b.head = make([]byte, 0, smallError/2)
	}
	for len(b.head) <= limit {
		if len(b.head) == cap(b.head) {
			b.head = append(make([]byte, 0, grow(cap(b.head))), b.head...)
		}
		n, err := b.decode(b.head[len(b.head):cap(b.head)])
		b.head = b.head[:len(b.head)+n]
		if err != nil {
			return err
		}
		if b.srcClosed.Load() {
			return http.ErrBodyReadAfterClose // by the timer or by Close, whatever Read says
		}
	}
	return nil
}

// open sets decode. A body that says gzip and is not is read as it is.
func (b *errorBody) open() error {
	b.decode = b.src().Read
	if !b.gzip {
		return nil
	}
	buffered := bufio.NewReader(b.src())
	b.decode = buffered.Read
	if magic, _ := buffered.Peek(2); string(magic) != "\x1f\x8b" {
		return nil
	}
	z, err := gzip.NewReader(buffered)
	if err == nil {
		b.decode = z.Read
	}
	return err
}

// grow returns the next size of a buffer: a byte more than the bounds, to tell
// a full body from a longer one.
func grow(n int) int {
	switch n {
	case smallError / 2:
		return smallError + 1
	case smallError + 1:
		return 16 << 10
	default:
		return DefaultMaxErrorBody + 1
	}
}

// redactBody takes the secrets out of body, and after a cut an end that is the
// beginning of one. The cap holds for what comes out, too: a server that
// guesses a short secret could make much of little.
func redactBody(body []byte, secrets []credential.Secret, cut bool) []byte {
	text := string(body)
	clean := redactCut(text, cut, secrets)
	if clean == text {
		return body
	}
	return []byte(clean[:min(len(clean), DefaultMaxErrorBody)])
}
