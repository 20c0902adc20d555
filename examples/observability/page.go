package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

//go:embed page.html
var html []byte

// data is where page.html takes its numbers from: null on the live page, which asks
// for them, and the numbers themselves in a file.
var data = []byte("const snapshot = null;")

// routes serves the page and its numbers.
func (a *account) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'")
		_, _ = w.Write(html) // the browser may have left
	})
	mux.HandleFunc("GET /events", a.events)
	return mux
}

// events sends the numbers as server-sent events, once a second.
func (a *account) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	flush := http.NewResponseController(w)
	for {
		v, changed := a.now()
		text, err := json.Marshal(v)
		if err != nil {
			return
		}
		if _, err := fmt.Fprintf(w, "data: %s\n\n", text); err != nil || flush.Flush() != nil {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

// page returns the page with its numbers in it. json.Marshal escapes what could end
// the script.
func (a *account) page() ([]byte, error) {
	v, _ := a.now()
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if bytes.Count(html, data) != 1 {
		return nil, errors.New("page.html has no place for the numbers")
	}
	return bytes.Replace(html, data, append([]byte("const snapshot = "), append(text, ';')...), 1), nil
}
