package clienttest

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
)

// errCut stops a handler whose answer a fault has ended.
var errCut = errors.New("clienttest: a fault ended the answer")

// A faultWriter shapes an answer as its Fault says. It counts in units: bytes,
// of a stream events, which come one per Write.
type faultWriter struct {
	http.ResponseWriter
	ctx    context.Context
	f      *Fault
	path   string
	gz     *gzip.Writer
	events bool
	wrote  bool
	gone   bool // the connection was hijacked
	sent   int
}

// Unwrap lets http.ResponseController find what the writer below can do.
func (w *faultWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Flush sends what was written, also what is still being compressed.
func (w *faultWriter) Flush() {
	if w.gz != nil {
		w.gz.Flush()
	}
	_ = http.NewResponseController(w.ResponseWriter).Flush() // a writer that cannot flush sends it later
}

func (w *faultWriter) WriteHeader(status int) {
	if w.wrote {
		return
	}
	w.wrote = true
	h := w.Header()
	for name, values := range w.f.Header {
		h[http.CanonicalHeaderKey(name)] = append([]string(nil), values...)
	}
	if w.f.HeaderBytes > 0 {
		h.Set("X-Filler", strings.Repeat("a", w.f.HeaderBytes))
	}
	w.events = strings.HasPrefix(h.Get("Content-Type"), "text/event-stream")
	if w.f.Gzip {
		h.Set("Content-Encoding", "gzip")
		w.gz = gzip.NewWriter(w.ResponseWriter)
	}
	w.ResponseWriter.WriteHeader(status)
}

// An ending is how a fault ends an answer.
type ending uint8

const (
	whole  ending = iota // it does not
	cut                  // without an error
	told                 // with an error event
	broken               // by a reset
)

// limit is the number of units after which the answer ends, if it does.
func (w *faultWriter) limit() (n int, how ending) {
	for _, end := range [...]struct {
		after int
		how   ending
	}{{w.f.ResetAfter, broken}, {w.f.CutAfter, cut}, {w.f.ErrorAfter, told}} {
		if end.after != 0 && (end.how != told || w.events) && (how == whole || end.after < n) {
			n, how = end.after, end.how
		}
	}
	return max(n, 0), how
}

func (w *faultWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	limit, how := w.limit()
	limited := how != whole
	for done := 0; done < len(p); {
		unit := p[done:]
		switch {
		case limited && w.sent >= limit:
			return done, errCut // finish breaks the connection, if it is to be
		case w.events:
		case w.f.DripEvery > 0:
			unit = unit[:1]
		case limited:
			unit = unit[:min(len(unit), limit-w.sent)]
		}
		if w.f.DripEvery > 0 {
			w.Flush() // the headers must not wait for the first byte
			if !sleep(w.ctx, w.f.DripEvery) {
				return done, w.ctx.Err()
			}
		}
		if _, err := w.out().Write(unit); err != nil {
			return done, err
		}
		if w.events {
			w.sent++
		} else {
			w.sent += len(unit)
		}
		done += len(unit)
	}
	if w.events || w.f.DripEvery > 0 {
		w.Flush()
	}
	return len(p), nil
}

func (w *faultWriter) out() io.Writer {
	if w.gz != nil {
		return w.gz
	}
	return w.ResponseWriter
}

// writeEvents writes p, of a stream one event at a time.
func (w *faultWriter) writeEvents(p []byte) error {
	if !w.events {
		_, err := w.Write(p)
		return err
	}
	for event := range bytes.SplitAfterSeq(p, []byte("\n\n")) {
		if len(event) == 0 {
			continue
		}
		if _, err := w.Write(event); err != nil {
			return err
		}
	}
	return nil
}

// finish ends the answer, or breaks it off where the fault says so.
func (w *faultWriter) finish() {
	if !w.wrote || w.gone {
		return
	}
	switch limit, how := w.limit(); {
	case w.sent < limit:
	case how == told:
		_, _ = w.out().Write(w.errorEvent()) // a client that has left does not want it
		w.Flush()
	case how == broken:
		w.Flush() // else the client may lose what it is to have
		abort()
	}
	if w.gz != nil {
		w.gz.Close()
	}
}
