package clienttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"syscall"
)

// RoundTrip answers req in memory, as [http.RoundTripper]: set a Service as the
// Transport of an [http.Client]. It takes any scheme and host and does not
// decompress. An answer that no [Fault] and no latency touches is complete when
// RoundTrip returns, a stream too; another one arrives as it is written, and its
// Body must be closed. Hang and the delays end with the request's context.
// The realtime route needs a connection and answers 400.
func (s *Service) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL == nil {
		closeBody(req)
		return nil, errors.New("clienttest: round trip: the request has no URL")
	}
	if req.Context().Err() != nil {
		closeBody(req)
		return nil, context.Cause(req.Context())
	}
	if f := s.takeFault(req.URL.Path); f != nil || s.latency.Load() > 0 {
		return s.roundTripFault(req, f)
	}
	defer closeBody(req)
	w := &memWriter{header: make(http.Header, 16)}
	s.serve(w, req, nil)
	if req.Method == http.MethodHead {
		w.body = nil
	}
	w.reader.Reset(w.body)
	w.resp = http.Response{Body: w, ContentLength: int64(len(w.body))}
	fill(&w.resp, req, w.status, w.header)
	return &w.resp, nil
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

func fill(resp *http.Response, req *http.Request, status int, h http.Header) {
	resp.Status = statusLine(status)
	resp.StatusCode = status
	resp.Proto, resp.ProtoMajor, resp.ProtoMinor = "HTTP/1.1", 1, 1
	resp.Header, resp.Request = h, req
}

func statusLine(status int) string {
	if status == http.StatusOK {
		return "200 OK" // without an allocation
	}
	return strconv.Itoa(status) + " " + http.StatusText(status)
}

// A memWriter is a whole answer, its response and its body in one allocation.
type memWriter struct {
	header http.Header
	status int
	body   []byte
	reader bytes.Reader
	resp   http.Response
}

func (w *memWriter) Header() http.Header { return w.header }

func (w *memWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *memWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	w.body = append(w.body, p...)
	return len(p), nil
}

func (w *memWriter) Read(p []byte) (int, error) { return w.reader.Read(p) }

func (w *memWriter) Close() error { return nil }

// roundTripFault answers through a pipe, as a fault may have no end. f may be nil
// in a service that is slow. The
// goroutine ends when the body is closed or the context of req ends.
func (s *Service) roundTripFault(req *http.Request, f *Fault) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	pr, pw := io.Pipe()
	w := &pipeWriter{header: http.Header{}, pipe: pw, head: req.Method == http.MethodHead, ready: make(chan struct{})}
	stop := context.AfterFunc(ctx, func() { pw.CloseWithError(context.Cause(ctx)) })
	go func() {
		defer cancel()
		defer stop()
		defer closeBody(req)
		err := w.run(func() { s.serve(w, req.WithContext(ctx), f) })
		pw.CloseWithError(err) // nil is io.EOF
		w.fail(err)
	}()
	select {
	case <-w.ready:
	case <-ctx.Done():
		w.fail(context.Cause(ctx))
	}
	if err := w.err(); err != nil {
		cancel()
		if req.Context().Err() != nil {
			err = context.Cause(req.Context())
		}
		return nil, err
	}
	resp := &http.Response{Body: &pipeBody{PipeReader: pr, cancel: cancel}, ContentLength: -1}
	fill(resp, req, w.status, w.sent)
	return resp, nil
}

type pipeBody struct {
	*io.PipeReader
	cancel context.CancelFunc
}

func (b *pipeBody) Close() error {
	b.cancel()
	return b.PipeReader.Close()
}

// A pipeWriter is an answer on its way. status and sent are fixed once ready
// is closed.
type pipeWriter struct {
	header http.Header
	pipe   *io.PipeWriter
	head   bool
	once   sync.Once
	ready  chan struct{}
	status int
	sent   http.Header
	failed error
}

func (w *pipeWriter) Header() http.Header { return w.header }

func (w *pipeWriter) WriteHeader(status int) {
	w.once.Do(func() {
		w.status, w.sent = status, w.header.Clone()
		close(w.ready)
	})
}

func (w *pipeWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.head || w.status == http.StatusNoContent || w.status == http.StatusNotModified {
		return 0, http.ErrBodyNotAllowed
	}
	return w.pipe.Write(p)
}

// fail makes RoundTrip return err unless the headers were sent.
func (w *pipeWriter) fail(err error) {
	w.once.Do(func() {
		w.failed = err
		if err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
			// Broken off before the headers: what a client sees of a reset.
			w.failed = &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
		}
		close(w.ready)
	})
}

func (w *pipeWriter) err() error {
	<-w.ready
	return w.failed
}

// run calls serve as net/http would and returns how the answer ended.
func (w *pipeWriter) run(serve func()) (err error) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			err = io.ErrUnexpectedEOF
		default:
			err = fmt.Errorf("clienttest: the service failed: %v", p)
		}
	}()
	serve()
	return nil
}
