package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"

	"github.com/latchkey-go/latchkey/internal/sent"
	"github.com/latchkey-go/latchkey/internal/sse"
	"github.com/latchkey-go/latchkey/internal/wire"
	"github.com/latchkey-go/latchkey/middleware"
)

// DefaultMaxEvent is the size in bytes of the largest event of a
// [Client.Stream]: 16 MiB. Partial images have megabytes.
const DefaultMaxEvent = 16 << 20

// An Event is one server-sent event (WHATWG HTML, section 9.2).
type Event struct {
	// Type is the event field, for example "response.output_text.delta". Chat
	// completions have none.
	Type string
	// Data is the data field, usually JSON. It is valid until the next event:
	// unmarshal or copy it.
	Data []byte
}

// Stream sends in as JSON to path, as [Client.Post] does, and yields the
// events of the answer. in has to ask for a stream ("stream": true). The
// closing "[DONE]" is not yielded. The answer may have any media type.
//
// The sequence ends after the first error:
//
//   - those of Post;
//   - an [*Error] that the service sends with the status 200: as an event with
//     an error object or of the type "error", in place of the stream, or behind
//     it; a response.failed is yielded before its error;
//   - an error that wraps [middleware.ErrNotStream], if the answer is a page, a
//     document or nothing in place of a stream; it tells which;
//   - one that wraps io.ErrUnexpectedEOF, if the stream was cut before its
//     terminal event;
//   - an error for an event that is larger than Config.MaxEvent.
//
// Nothing is sent again once the answer has begun. Leaving the loop closes the
// answer. The sequence can be ranged over again: it is another call then.
func (c *Client) Stream(ctx context.Context, path string, in any) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		ctx, secrets := sent.With(ctx)
		resp, err := c.send(ctx, http.MethodPost, path, in, "text/event-stream")
		if err != nil {
			yield(Event{}, err)
			return
		}
		defer func() { _ = resp.Body.Close() }() // nothing to do about it
		if resp.StatusCode < 200 || resp.StatusCode > 299 {
			yield(Event{}, newError(resp))
			return
		}
		s := &stream{resp: resp, events: sse.NewReader(resp.Body, c.maxEvent), secrets: secrets, current: func() { c.addCurrent(ctx, secrets) }}
		if err := s.each(yield); err != nil {
			yield(Event{}, err)
		}
	}
}

// A stream is an answer with the status 200 to a call of Stream.
type stream struct {
	resp    *http.Response
	events  *sse.Reader
	secrets *sent.Credentials
	current func() // adds to secrets what the caches hold; nil adds nothing
}

// addCurrent adds the credentials that would be sent now, if nobody has told
// which were: a layer around the client may have replaced the context.
func (c *Client) addCurrent(ctx context.Context, secrets *sent.Credentials) {
	if !secrets.Empty() {
		return
	}
	if v, err := c.provider.Retrieve(ctx); err == nil {
		secrets.Add(v.Secret)
	}
	if c.gateway == nil {
		return
	}
	if v, err := c.gateway.Retrieve(ctx); err == nil {
		secrets.Add(v.Secret)
	}
}

// redact takes the credentials out of a text of the service's. A body with the
// status 200 has passed the layers as it is.
func (s *stream) redact(text string, cut bool) string {
	if s.current != nil {
		s.current()
	}
	return s.secrets.Redact(text, cut)
}

// each yields the events. It returns the error that the sequence ends with; nil
// also if the loop was left.
func (s *stream) each(yield func(Event, error) bool) error {
	for {
		ev, err := s.events.Next()
		if err != nil {
			return s.ended(err)
		}
		if s.events.Done() {
			return nil
		}
		if e, ok := wire.InEvent(ev.Type, ev.Data); ok {
			failed := s.refused(e)
			if ev.Type == "response.failed" && !yield(Event(ev), nil) {
				return nil
			}
			return failed
		}
		if !yield(Event(ev), nil) {
			return nil
		}
	}
}

// ended tells what the end of the answer means. What the service said last
// counts for more than how the connection ended.
func (s *stream) ended(err error) error {
	if ev, ok := s.events.Pending(); ok {
		if s.events.Done() {
			return nil
		}
		if e, ok := wire.InEvent(ev.Type, ev.Data); ok {
			return s.refused(e)
		}
	}
	foreign := s.events.Foreign()
	text := s.redact(string(foreign), true)
	what, e, refused := wire.Instead([]byte(text))
	guarded := errors.Is(err, middleware.ErrNotStream)
	switch {
	case refused:
		return s.refused(e)
	case guarded, errors.Is(err, io.EOF) && !s.events.IsStream() && (len(foreign) > 0 || mediaType(s.resp.Header) != "text/event-stream"):
		return fmt.Errorf("client: the service answered with %s: %w", what, notStream{guarded})
	case errors.Is(err, io.EOF):
		return nil // the guard let it through: the stream is complete, or the guard is off
	}
	return fmt.Errorf("client: read the stream: %w", err)
}

// notStream is middleware.ErrNotStream with what to do about it.
type notStream struct{ guarded bool }

func (notStream) Error() string {
	return `want an event stream: look at the base URL, and whether the service streams this call ("stream": true)`
}

// Is knows the errors of the guard.
func (e notStream) Is(target error) bool {
	return target == middleware.ErrNotStream || e.guarded && target == io.ErrUnexpectedEOF
}

// refused returns the service's error.
func (s *stream) refused(e wire.Error) *Error {
	for _, text := range []*string{&e.Code, &e.Type, &e.Param, &e.Message} {
		*text = s.redact(*text, false)
	}
	return errorFrom(s.resp, e)
}
