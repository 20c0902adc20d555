package client

import (
	"context"
	"fmt"
	"iter"
)

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
// closing "[DONE]" is not yielded.
//
// The sequence ends after the first error: those of Post; an [*Error] that
// the service sends within the stream; io.ErrUnexpectedEOF if the stream was
// cut before its terminal event; an event that is larger than
// [MaxResponseBody]. Nothing is sent again once the answer has begun. Leaving
// the loop closes the answer. The sequence can be ranged over again: it is
// another call then.
func (c *Client) Stream(ctx context.Context, path string, in any) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		resp, err := c.send(ctx, path, in, "text/event-stream")
		if err != nil {
			yield(Event{}, err)
			return
		}
		defer func() { _ = resp.Body.Close() }() // nothing to do about it
		switch {
		case resp.StatusCode < 200 || resp.StatusCode > 299:
			yield(Event{}, newError(resp))
			return
		case mediaType(resp.Header) != "text/event-stream":
			yield(Event{}, errNotStream)
			return
		}
		events := newDecoder(resp.Body)
		for {
			ev, err := events.next()
			switch {
			case err != nil:
				if err = events.failure(err); err != nil {
					yield(Event{}, fmt.Errorf("client: read the stream: %w", err))
				}
				return
			case string(ev.Data) == doneMark:
				return
			case refusal(ev):
				yield(Event{}, errorOf(resp, ev.Data))
				return
			case !yield(ev, nil):
				return
			}
		}
	}
}

// refusal recognizes the error event of the Responses API and the error
// object of chat completions.
func refusal(ev Event) bool {
	if ev.Type == "error" {
		return true
	}
	_, ok := cutPrefix(ev.Data, errorMark)
	return ok
}
