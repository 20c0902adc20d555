package usage

import "bytes"

// A Head is told what a [HeadScan] finds.
type Head interface {
	// Model gets the model that the body names; it must not keep name.
	Model(name []byte)
	// Streamed says that the body asks for a stream.
	Streamed()
}

// A HeadScan reads the model, and whether a stream is asked for, out of a JSON body.
// The zero value is ready. It is not safe for concurrent use.
type HeadScan struct {
	json scanner
	to   Head
}

// Write takes the next bytes, and tells to what is in them. It gives up at what does
// not begin as a JSON object.
func (h *HeadScan) Write(p []byte, to Head) {
	if h.json.depth == 0 && h.json.state == between {
		p = bytes.TrimLeft(p, " \t\r\n")
		if len(p) > 0 && p[0] != '{' {
			h.json.state = over
		}
	}
	h.to, h.json.flat = to, true
	h.json.scan(p, h)
}

// Over reports whether the object has ended, or was none.
func (h *HeadScan) Over() bool { return h.json.state == over }

func (*HeadScan) begin(*scanner)   {}
func (*HeadScan) element(*scanner) {}
func (*HeadScan) leave(*scanner)   {}

func (h *HeadScan) word(c *scanner, w []byte) {
	if c.current == streaming && c.depth == 1 && string(w) == "true" {
		h.to.Streamed()
	}
}

func (h *HeadScan) text(c *scanner, t []byte, whole bool) {
	if c.current == model && c.depth == 1 && whole && len(t) > 0 {
		h.to.Model(t)
	}
}
