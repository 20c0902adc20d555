package usage

// A Request is how much a request can use, as far as its JSON tells.
type Request struct {
	// Output is the most that the answer may hold, in tokens; -1 if the request does
	// not bound it.
	Output int64
	// Refers says that the request names what the service will fetch or keeps, or
	// whose tokens are not counted by its bytes: an image, a file, a response
	// before it, a tool of the service.
	Refers bool
}

// A RequestScan reads a Request out of a JSON body. The zero value is ready. It is
// not safe for concurrent use.
type RequestScan struct {
	json scanner
	got  asked
}

// Reset makes the scan ready for another body.
func (r *RequestScan) Reset() {
	r.json.begin()
	r.got = asked{}
}

// Model is the model that the body names; it is valid until Reset.
func (r *RequestScan) Model() []byte { return r.got.model[:r.got.length] }

// Write takes the next bytes.
func (r *RequestScan) Write(p []byte) { r.json.scan(p, &r.got) }

// End returns what the body said, after its last byte. A body that is no complete
// JSON object tells nothing.
func (r *RequestScan) End() Request {
	if r.json.state != over || r.got.unbounded || r.got.output < 0 {
		return Request{Output: -1, Refers: r.got.refers || r.json.state != over}
	}
	most := int64(-1)
	if r.got.output > 0 {
		most = r.got.output * max(r.got.choices, 1)
	}
	return Request{Output: most, Refers: r.got.refers}
}

// asked takes what a request says.
type asked struct {
	output, choices int64
	refers          bool
	unbounded       bool // several prompts, each of which is answered
	model           [maxKept]byte
	length          int // of model
}

func (a *asked) begin(c *scanner) {
	a.refers = a.refers || c.current == reference
}

func (a *asked) element(c *scanner) {
	if c.depth == 1 && c.current == promptText {
		if c.arrays[c.depth] {
			a.unbounded = true
		} else {
			a.refers = true // a prompt that the service keeps
		}
	}
}

func (a *asked) leave(*scanner) {}

func (a *asked) word(c *scanner, w []byte) {
	p, ok := c.place()
	n, whole := count(w)
	switch {
	case !ok || string(w) == "null":
	case p == [3]name{maxOutput}:
		if !whole || n > maxCount {
			a.unbounded = true
		}
		a.output = max(a.output, n)
	case p == [3]name{choiceCount}:
		if !whole || n > maxCount {
			a.unbounded = true
		}
		a.choices = max(a.choices, n)
	}
}

// maxCount keeps products far from the end of the numbers.
const maxCount = 1 << 30

func (a *asked) text(c *scanner, t []byte, whole bool) {
	if c.current == model && c.depth == 1 && whole {
		a.length = copy(a.model[:], t)
	}
	if c.current != kind {
		return
	}
	p, ok := c.place()
	switch {
	case whole && nameOf(t) == reference, whole && string(t) == "item_reference", whole && string(t) == "file":
		a.refers = true
	case ok && p == [3]name{tools, kind}:
		// Of other tools the service carries out what they ask for, and puts what
		// they bring into the input.
		a.refers = a.refers || !whole || string(t) != "function" && string(t) != "custom"
	}
}
