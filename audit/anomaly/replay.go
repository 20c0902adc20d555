package anomaly

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

// longestLine is more than any line of package audit has, in bytes.
const longestLine = 64 << 10

// Replay applies the rules to files that package audit has written, those of several
// processes at once: it takes the lines of all of them in the order of time, so that
// each file needs to be in order only by itself. The time and the name of the process
// are those of the lines. It does not check whether the files are as they were
// written; audit.Verify does.
//
// Replay returns an error for a line that package audit has not written, and if a
// reader fails. What is left of a line at the end of a file, of a process that was killed, is
// no error.
func (w *Watch) Replay(files ...io.Reader) error {
	readers := make([]*reader, 0, len(files))
	for i, f := range files {
		r := &reader{in: bufio.NewReaderSize(f, longestLine), file: i + 1, prices: w.prices}
		if err := r.next(); err != nil {
			return err
		}
		readers = append(readers, r)
	}
	for {
		var first *reader
		for _, r := range readers {
			if !r.ended && (first == nil || r.at < first.at) {
				first = r
			}
		}
		switch {
		case first == nil:
			w.tell(w.judgeAll())
			return nil
		case first.event != nil:
			w.tell(w.takeEvent(first.event))
		default:
			w.tell(w.takeSend(first.send))
		}
		if err := first.next(); err != nil {
			return err
		}
	}
}

// A reader reads one file. It is at an event or a send, or has ended.
type reader struct {
	in     *bufio.Reader
	file   int
	line   int64
	prices *prices

	at    int64
	event *event
	send  *send
	ended bool
}

// A line is what is of use here of a line of package audit.
type line struct {
	Time    time.Time `json:"time"`
	Kind    string    `json:"kind"`
	Process string    `json:"process"`
	Event   string    `json:"event"`
	Tenant  string    `json:"tenant"`
	Source  string    `json:"source"`
	Version string    `json:"version"`
	Expires time.Time `json:"expires"`
	Send    *struct {
		Endpoint       string `json:"endpoint"`
		Host           string `json:"host"`
		Model          string `json:"model"`
		Status         int    `json:"status"`
		Refused        bool   `json:"refused"`
		GatewaySource  string `json:"gateway_source"`
		GatewayVersion string `json:"gateway_version"`
		GatewayRefused bool   `json:"gateway_refused"`
		Input          int64  `json:"input_tokens"`
		CachedInput    int64  `json:"cached_tokens"`
		Output         int64  `json:"output_tokens"`
		Reasoning      int64  `json:"reasoning_tokens"`
		Milliseconds   int64  `json:"ms"`
	} `json:"send"`
}

// next goes to the next event or send.
func (r *reader) next() error {
	r.event, r.send = nil, nil
	for {
		raw, err := r.in.ReadSlice('\n')
		r.line++
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return fmt.Errorf("anomaly: file %d, line %d is longer than any that package audit writes", r.file, r.line)
		case errors.Is(err, io.EOF):
			r.ended = true
			return nil
		case err != nil:
			return fmt.Errorf("anomaly: file %d: %w", r.file, err)
		}
		var l line
		if json.Unmarshal(raw, &l) != nil || l.Kind == "" || l.Time.IsZero() {
			return fmt.Errorf("anomaly: file %d, line %d is none of package audit; audit.Verify says more", r.file, r.line)
		}
		switch {
		case l.Kind == "credential":
			r.takeEvent(&l)
			return nil
		case l.Kind == "send" && l.Send != nil:
			r.takeSend(&l)
			return nil
		}
	}
}

func (r *reader) takeEvent(l *line) {
	r.event = &event{
		at: l.Time.UnixMilli(), kind: credential.EventKind(l.Event), process: cut(l.Process),
		tenant: cut(l.Tenant), source: cut(l.Source), version: cut(l.Version),
	}
	if !l.Expires.IsZero() {
		r.event.expires = l.Expires.UnixMilli()
	}
	r.at = r.event.at
}

func (r *reader) takeSend(l *line) {
	s := l.Send
	endpoint := s.Endpoint
	if endpoint == "" {
		endpoint = s.Host
	}
	started := l.Time.UnixMilli()
	r.send = &send{
		at: started + max(s.Milliseconds, 0), started: started, process: cut(l.Process), model: cut(s.Model), endpoint: cut(endpoint), status: s.Status,
		credential: cutIdentity(middleware.Identity{Tenant: l.Tenant, Source: l.Source, Version: l.Version, Refused: s.Refused}),
		gateway:    cutIdentity(middleware.Identity{Source: s.GatewaySource, Version: s.GatewayVersion, Refused: s.GatewayRefused}),
		amount: r.prices.amount(s.Model, &middleware.Usage{
			Input: s.Input, CachedInput: s.CachedInput, Output: s.Output, Reasoning: s.Reasoning,
		}),
	}
	r.at = r.send.at
}
