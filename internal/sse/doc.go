// Package sse reads server-sent events (WHATWG HTML, section 9.2), and what
// servers send in their place.
//
// A [Parser] takes bytes as they come and changes, delays and keeps none of
// them but those of the current event. A [Reader] reads events from an
// io.Reader with it. Both see the same events, however the bytes are cut.
package sse
