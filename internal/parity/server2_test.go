package parity_test

import (
	"bytes"
	"io"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A wire2 is a request over HTTP/2 that waits for its answer, frame by frame.
type wire2 struct {
	*conn2
	number int    // of the send, from 1, over all connections
	stream uint32 // its id
	path   string
	body   string
}

// A conn2 is the server's end of one connection.
type conn2 struct {
	*conn
	dial   int // of the connection, from 1
	framer *http2.Framer

	mu      sync.Mutex // of what follows, and of writes
	encoded bytes.Buffer
	encoder *hpack.Encoder
}

// script2 serves HTTP/2 by hand: step is called for each request that has
// arrived with its body, in a goroutine of its own.
func script2(step func(w *wire2)) func(*network) {
	return func(n *network) {
		n.serve = func(n *network, number int, c *conn) {
			defer c.Close()
			preface := make([]byte, len(http2.ClientPreface))
			if _, err := io.ReadFull(c, preface); err != nil {
				return
			}
			s := &conn2{conn: c, dial: number, framer: http2.NewFramer(c, c)}
			s.encoder = hpack.NewEncoder(&s.encoded)
			s.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
			if s.framer.WriteSettings() == nil {
				s.serve(n, step)
			}
		}
	}
}

func (s *conn2) serve(n *network, step func(w *wire2)) {
	open := map[uint32]*wire2{}
	ended := func(id uint32) {
		w := open[id]
		delete(open, id)
		w.number = n.count()
		n.servers.Go(func() { step(w) })
	}
	for {
		frame, err := s.framer.ReadFrame()
		if err != nil {
			return
		}
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			open[f.StreamID] = &wire2{conn2: s, stream: f.StreamID, path: f.PseudoValue("path")}
			if f.StreamEnded() {
				ended(f.StreamID)
			}
		case *http2.DataFrame:
			w := open[f.StreamID]
			if w == nil {
				continue
			}
			w.body += string(f.Data())
			s.took(f)
			if f.StreamEnded() {
				ended(f.StreamID)
			}
		case *http2.SettingsFrame:
			if !f.IsAck() {
				s.locked(func() { _ = s.framer.WriteSettingsAck() })
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				s.locked(func() { _ = s.framer.WritePing(true, f.Data) })
			}
		}
	}
}

// took opens the windows again by what a frame has used of them.
func (s *conn2) took(f *http2.DataFrame) {
	if n := uint32(len(f.Data())); n > 0 {
		s.locked(func() {
			_ = s.framer.WriteWindowUpdate(0, n)
			_ = s.framer.WriteWindowUpdate(f.StreamID, n)
		})
	}
}

func (s *conn2) locked(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// header writes the header of an answer; header are pairs.
func (w *wire2) header(status int, end bool, header ...string) {
	w.locked(func() {
		w.encoded.Reset()
		_ = w.encoder.WriteField(hpack.HeaderField{Name: ":status", Value: strconv.Itoa(status)})
		for i := 0; i+1 < len(header); i += 2 {
			_ = w.encoder.WriteField(hpack.HeaderField{Name: strings.ToLower(header[i]), Value: header[i+1]})
		}
		_ = w.framer.WriteHeaders(http2.HeadersFrameParam{
			StreamID: w.stream, BlockFragment: w.encoded.Bytes(), EndHeaders: true, EndStream: end,
		})
	})
}

func (w *wire2) data(text string, end bool) {
	w.locked(func() { _ = w.framer.WriteData(w.stream, end, []byte(text)) })
}

func (w *wire2) rst(code http2.ErrCode) {
	w.locked(func() { _ = w.framer.WriteRSTStream(w.stream, code) })
}

func (w *wire2) goAway(last uint32, code http2.ErrCode) {
	w.locked(func() { _ = w.framer.WriteGoAway(last, code, nil) })
}

// ok answers as the service does when all is well.
func (w *wire2) ok() {
	mediaType, body := w.good()
	w.header(200, false, "Content-Type", mediaType)
	w.data(body, true)
}

// good is the answer to the request.
func (w *wire2) good() (mediaType, body string) {
	if strings.Contains(w.body, `"stream":true`) {
		return "text/event-stream", chunks
	}
	return "application/json", completion
}
