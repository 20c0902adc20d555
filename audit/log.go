package audit

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/hidden"
	"github.com/latchkey-go/latchkey/middleware"
)

const (
	defaultQueue    = 10_000
	defaultEvery    = 1000
	defaultInterval = time.Minute
)

// Options configure a [Log].
type Options struct {
	// Writer gets the lines, each with one Write: a [File], or any other writer.
	// A line that fails is lost, and counted. It is required.
	Writer io.Writer
	// Process names the process in each line; empty is the host's name and the
	// process id.
	Process string
	// SigningKey supplies the private key for checkpoints: an Ed25519 key (RFC
	// 8032) as PKCS #8 in base64, which is the line between BEGIN and END of a PEM
	// "PRIVATE KEY", or its seed of 32 bytes in base64. All of the PEM has white
	// space, which sources do not supply. New reads the key once. Without one,
	// whoever can write the file can replace all of it.
	SigningKey credential.Source
	// FingerprintKey supplies the key for [Fingerprint]; New reads it once. Nil is
	// no fingerprints.
	FingerprintKey credential.Source
	// Every is how many lines may come before the next checkpoint; 0 is 1000.
	Every int
	// Interval is how much time may pass before a line is followed by a checkpoint;
	// 0 is a minute.
	Interval time.Duration
	// Queue is how many records may wait to be written; 0 is 10,000.
	Queue int
	// OnError is told of a line that could not be written. It is called on the
	// goroutine that writes. Nil is nobody.
	OnError func(error)
}

// A Log writes the records. It is safe for concurrent use. One goroutine writes,
// until Close.
type Log struct {
	writer   hidden.Value[io.Writer]
	process  string
	sign     hidden.Value[ed25519.PrivateKey] // nil for none
	keyID    string
	prints   fingerprints
	every    int64
	interval time.Duration
	onError  func(error)

	queue   chan record
	dropped atomic.Int64 // since the last line that said so
	mu      sync.RWMutex // of closed: no record comes after the end
	closed  bool
	flush   chan chan struct{}
	done    chan struct{}
	err     error // of the last lines; after done

	chain
}

// A chain is where the next line is put. The goroutine that writes owns it.
type chain struct {
	n        int64
	prev     string
	unsigned int64
}

// New reads the keys and begins a Log: its first line says so. If Writer is a
// [File] that has lines, the new ones are chained to them. New fails if Writer is
// nil, a key cannot be read or is not one, or the file's last line cannot be read.
func New(ctx context.Context, opts *Options) (*Log, error) {
	if opts == nil || opts.Writer == nil {
		return nil, errors.New("audit: no Writer; give a File, or any io.Writer")
	}
	if opts.Every < 0 || opts.Interval < 0 || opts.Queue < 0 {
		return nil, errors.New("audit: Every, Interval and Queue must not be negative")
	}
	w := opts.Writer
	l := &Log{
		writer: hidden.Of(w), process: cut(opts.Process), every: int64(opts.Every), interval: opts.Interval, onError: opts.OnError,
		flush: make(chan chan struct{}), done: make(chan struct{}), chain: chain{prev: noHash},
	}
	if l.process == "" {
		host, _ := os.Hostname()
		l.process = cut(fmt.Sprintf("%s:%d", host, os.Getpid()))
	}
	if l.every == 0 {
		l.every = defaultEvery
	}
	if l.interval == 0 {
		l.interval = defaultInterval
	}
	size := opts.Queue
	if size == 0 {
		size = defaultQueue
	}
	l.queue = make(chan record, size)
	l.prints.known = map[identity]string{}
	if err := l.readKeys(ctx, opts); err != nil {
		return nil, err
	}
	if f, ok := w.(*File); ok {
		n, prev, err := f.last()
		if err != nil {
			return nil, err
		}
		l.n, l.prev = n, prev
	}
	_ = l.append(line{Time: stamp(time.Now()), Kind: kindStart}) // as in take
	go l.write()
	return l, nil
}

func (l *Log) readKeys(ctx context.Context, opts *Options) error {
	if opts.FingerprintKey != nil {
		v, err := opts.FingerprintKey.Retrieve(ctx)
		if err != nil {
			return fmt.Errorf("audit: FingerprintKey: %w", err)
		}
		if len(v.Secret.Reveal()) < 16 {
			return errors.New("audit: FingerprintKey is shorter than 16 bytes; use 32 random ones")
		}
		key := []byte(v.Secret.Reveal())
		l.prints.key = hidden.Of(key)
	}
	if opts.SigningKey == nil {
		return nil
	}
	v, err := opts.SigningKey.Retrieve(ctx)
	if err != nil {
		return fmt.Errorf("audit: SigningKey: %w", err)
	}
	key, err := parsePrivateKey(v.Secret.Reveal())
	if err != nil {
		return fmt.Errorf("audit: SigningKey: %w", err)
	}
	l.sign = hidden.Of(key)
	l.keyID = keyID(ed25519.PublicKey(key[ed25519.SeedSize:])) // a private key ends with its public key
	return nil
}

// OnEvent records an event of a Cache; it is a [credential.CacheOptions.OnEvent].
func (l *Log) OnEvent(e credential.Event) { l.put(record{event: &e}) }

// Observe records a send; it is a [middleware.Observe] function, and
// client.Config.Observe.
func (l *Log) Observe(_ context.Context, s *middleware.Send) { l.put(record{send: s}) }

// put never waits.
func (l *Log) put(r record) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		l.dropped.Add(1)
		return
	}
	select {
	case l.queue <- r:
	default:
		l.dropped.Add(1)
	}
}

// Dropped returns how many records are lost that no line has reported yet.
func (l *Log) Dropped() int64 { return l.dropped.Load() }

// Flush waits until all records that came before it are written, and synced if
// Writer has a method Sync. It returns the error of ctx if that ends before.
func (l *Log) Flush(ctx context.Context) error {
	written := make(chan struct{})
	select {
	case l.flush <- written:
	case <-l.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("audit: flush: %w", context.Cause(ctx))
	}
	select {
	case <-written:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("audit: flush: %w", context.Cause(ctx))
	}
}

// Close writes what waits and a last, signed line, and closes Writer if it has a
// method Close. Later records are dropped. If ctx ends before, Close returns its
// error, and the rest is written when the writer lets it.
func (l *Log) Close(ctx context.Context) error {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.queue)
	}
	l.mu.Unlock()
	select {
	case <-l.done:
		return l.err
	case <-ctx.Done():
		return fmt.Errorf("audit: close: %w", context.Cause(ctx))
	}
}

// write is the goroutine that writes.
func (l *Log) write() {
	defer close(l.done)
	tick := time.NewTicker(l.interval)
	defer tick.Stop()
	for {
		select {
		case r, ok := <-l.queue:
			if !ok {
				l.err = l.end()
				return
			}
			l.take(r)
		case <-tick.C:
			l.checkpoint(kindCheckpoint)
		case written := <-l.flush:
			for n := len(l.queue); n > 0; n-- {
				if r, ok := <-l.queue; ok {
					l.take(r)
				}
			}
			l.sync()
			close(written)
		}
	}
}

func (l *Log) take(r record) {
	l.tellDropped()
	_ = l.append(r.line(&l.prints)) // it has told OnError
	if l.unsigned >= l.every {
		l.checkpoint(kindCheckpoint)
	}
}

// tellDropped writes how many records are lost, before the next one.
func (l *Log) tellDropped() {
	if n := l.dropped.Swap(0); n > 0 {
		if l.append(line{Time: stamp(time.Now()), Kind: kindDropped, Dropped: n}) != nil {
			l.dropped.Add(n - 1) // append has counted the line, which tells of no record
		}
	}
}

func (l *Log) checkpoint(kind string) {
	if kind == kindCheckpoint && (l.sign == nil || l.unsigned == 0) {
		return
	}
	if l.append(line{Time: stamp(time.Now()), Kind: kind, KeyID: l.keyID}) == nil {
		l.sync()
	}
}

// append chains the line to the one before and writes it. The chain goes on
// from the last line that was written.
func (l *Log) append(next line) error {
	next.N, next.Prev, next.Process = l.n+1, l.prev, l.process
	b, err := next.encode()
	if err == nil && next.KeyID != "" {
		b = seal(b, l.sign())
	}
	if err == nil {
		err = l.writeLine(b)
	}
	if err != nil {
		l.dropped.Add(1)
		if l.onError != nil {
			l.onError(fmt.Errorf("audit: a line is lost: %w", err))
		}
		return err
	}
	l.n, l.prev = next.N, hashOf(b)
	if l.unsigned++; next.KeyID != "" {
		l.unsigned = 0
	}
	return nil
}

func (l *Log) writeLine(b []byte) error {
	n, err := l.writer().Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return err //nolint:wrapcheck // append wraps it
}

func (l *Log) sync() {
	if s, ok := l.writer().(interface{ Sync() error }); ok {
		if err := s.Sync(); err != nil && l.onError != nil {
			l.onError(fmt.Errorf("audit: sync: %w", err))
		}
	}
}

func (l *Log) end() error {
	l.tellDropped()
	l.checkpoint(kindEnd)
	if c, ok := l.writer().(io.Closer); ok {
		if err := c.Close(); err != nil {
			return fmt.Errorf("audit: close: %w", err)
		}
	}
	return nil
}

// noHash stands for the line before the first one.
const noHash = "0000000000000000000000000000000000000000000000000000000000000000"

// hashOf is the hash of a line without its end.
func hashOf(b []byte) string {
	sum := sha256.Sum256(trimEnd(b))
	return hex.EncodeToString(sum[:])
}

func trimEnd(b []byte) []byte {
	if len(b) > 0 && b[len(b)-1] == '\n' {
		return b[:len(b)-1]
	}
	return b
}

const sigField = `,"sig":"`

// seal adds the signature of what the line holds.
func seal(b []byte, key ed25519.PrivateKey) []byte {
	body := b[:len(b)-len("}\n")]
	sig := base64.StdEncoding.EncodeToString(ed25519.Sign(key, body))
	return append(append(append([]byte(nil), body...), sigField...), sig+"\"}\n"...)
}
