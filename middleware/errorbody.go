package middleware

import (
	"bufio"
	"compress/gzip"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey/credential"
)

// DefaultMaxErrorBody is how many bytes of the body of an answer with status
// 400 or more reach the caller, after decompression: 64 KiB. What is longer is
// cut there; error objects of OpenAI and Azure OpenAI are below 2 KiB.
const DefaultMaxErrorBody = 64 << 10

const (
	// readErrorTime bounds the reading of an error body. After it the caller
	// gets what has come.
	readErrorTime = 5 * time.Second
	// A body that nobody wants is read so far and for so long, because HTTP/1
	// can use its connection again only at the end of the body.
	drainBytes = 256 << 10
	drainTime  = 250 * time.Millisecond
)

// An errorBody is the body of an error answer: capped in size and time, with
// the secret that was sent replaced. It is lazy: a body that nobody reads, as
// that of a 429 which is tried again, costs no copy.
type errorBody struct {
	src     func() io.ReadCloser // a func, so that no printer by reflection walks into net/http's buffers
	secret  credential.Secret
	gzipped bool

	loading   atomic.Bool
	closed    atomic.Bool
	srcClosed atomic.Bool

	// Owned by the reader.
	loaded bool
	exact  bool // the length in the response is right
	head   []byte
	err    error // after head; io.EOF also where it was cut
	read   int
}

// wrapErrorBody puts an errorBody into resp, unless it has one, and returns
// it. The length of the body is unknown from then on, until it is peeked at:
// replacing the secret changes it. A gzip body, which net/http leaves alone if
// the caller asked for it, is decompressed. Other encodings stay, and a secret
// inside of them is not found; nobody gets one without asking for it.
func wrapErrorBody(resp *http.Response, secret credential.Secret) *errorBody {
	if b, ok := resp.Body.(*errorBody); ok {
		return b
	}
	body := resp.Body
	if body == nil {
		body = http.NoBody
	}
	b := &errorBody{src: func() io.ReadCloser { return body }, secret: secret}
	resp.Body = b
	if body == http.NoBody || resp.Request != nil && resp.Request.Method == http.MethodHead {
		// The headers describe a body that is not there: they stay.
		b.loaded, b.exact, b.err = true, true, io.EOF
		b.loading.Store(true)
		return b
	}
	if !resp.Uncompressed && isGzip(resp.Header.Get("Content-Encoding")) {
		b.gzipped = true
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
	b := wrapErrorBody(resp, credential.Secret{})
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

// peek returns what Read will return. The bytes belong to b.
func (b *errorBody) peek() []byte {
	if !b.loaded && !b.closed.Load() {
		b.load()
	}
	return b.head
}

// Read reads the capped body.
func (b *errorBody) Read(p []byte) (int, error) {
	if b.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	b.peek()
	if b.read == len(b.head) {
		return 0, b.err
	}
	n := copy(p, b.head[b.read:])
	b.read += n
	return n, nil
}

// Close closes the body. It ends a Read on another goroutine.
func (b *errorBody) Close() error {
	if b.closed.Swap(true) {
		return nil
	}
	if b.loading.CompareAndSwap(false, true) {
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

// load reads the body into head and closes the source.
func (b *errorBody) load() {
	b.loaded, b.err = true, io.EOF
	if !b.loading.CompareAndSwap(false, true) {
		return // closed meanwhile
	}
	timedOut := new(atomic.Bool)
	stop := time.AfterFunc(readErrorTime, func() {
		timedOut.Store(true)
		b.closeSource()
	})
	raw, cut, err := b.readHead()
	stop.Stop()
	if err == nil {
		b.drain()
	}
	b.closeSource()
	if err != nil && !timedOut.Load() {
		b.err = err
	}
	b.head = redactBody(raw, b.secret, cut || err != nil)
}

// readHead reads up to the cap, after decompression. A body that says gzip
// and is not is read as it is.
func (b *errorBody) readHead() (head []byte, cut bool, err error) {
	r := io.Reader(b.src())
	if b.gzipped {
		buffered := bufio.NewReader(r)
		r = buffered
		if magic, _ := buffered.Peek(2); string(magic) == "\x1f\x8b" {
			if r, err = gzip.NewReader(buffered); err != nil {
				return nil, false, err
			}
		}
	}
	head = make([]byte, 0, 1024)
	for {
		n, err := r.Read(head[len(head):cap(head)])
		head = head[:len(head)+n]
		if len(head) > DefaultMaxErrorBody {
			return head[:DefaultMaxErrorBody], true, nil
		}
		switch {
		case err == io.EOF:
			return head, false, nil
		case err != nil:
			return head, false, err
		case b.srcClosed.Load():
			return head, true, nil
		case len(head) == cap(head):
			head = append(make([]byte, 0, grow(cap(head))), head...)
		}
	}
}

// grow returns the next size of a buffer. The last one holds a byte more than
// the cap, to tell a full body from a longer one.
func grow(n int) int {
	if n *= 4; n < DefaultMaxErrorBody {
		return n
	}
	return DefaultMaxErrorBody + 1
}

// redactBody replaces the secret in body, and after a cut drops the end that
// is the beginning of the secret.
func redactBody(body []byte, s credential.Secret, cut bool) []byte {
	secret := s.Reveal()
	if secret == "" {
		return body
	}
	text := string(body)
	clean := redact(text, secret, cut)
	if len(clean) == len(text) && clean == text {
		return body
	}
	return []byte(clean)
}
