package usage

import "bytes"

const (
	// maxDepth is how deep a member can be that matters.
	maxDepth = 8
	// maxKept is the longest name or value that is kept, in bytes.
	maxKept = 64
)

// A taker gets what a scanner finds.
type taker interface {
	// begin says that the value of a member with a name that matters is next.
	begin(c *scanner)
	// word takes a number, or true, false or null.
	word(c *scanner, w []byte)
	// text takes a string; it is not whole if it is long or has an escape.
	text(c *scanner, t []byte, whole bool)
	// element says that an object or an array begins.
	element(c *scanner)
	// leave says that the object of a category ends.
	leave(c *scanner)
}

// A scanner reads members of a JSON object as its bytes come. It does not check
// the JSON: it may find anything in what is none, and reads on to the end.
type scanner struct {
	state   state
	escaped bool // the next byte of a string is escaped
	inKey   bool // the next string, or the one under way, is the name of a member
	flat    bool // only the members of the outermost object matter
	depth   int
	// The way from the outermost object to here. An array has the name of the
	// member that it is the value of, and so have the objects in it.
	way     [maxDepth]name
	arrays  [maxDepth]bool
	current name // of the member whose value is next
	kept    [maxKept]byte
	length  int // of the string or word under way; it stops at maxKept+1
}

type state uint8

const (
	between   state = iota // outside of strings and words
	inString               // in one that is kept
	inSkipped              // in one that is not
	inWord                 // in a number, or in true, false or null
	over                   // the document has ended
)

// begin begins another document.
func (c *scanner) begin() {
	c.state, c.escaped, c.inKey, c.depth, c.current = between, false, false, 0, other
}

func (c *scanner) scan(p []byte, to taker) {
	for len(p) > 0 && c.state != over {
		switch c.state {
		case inString:
			p = c.keepString(p, to)
		case inSkipped:
			p = c.skipString(p, to)
		case inWord:
			p = c.keepWord(p, to)
		default:
			p = c.structure(p, to)
		}
	}
}

// structure takes bytes outside of strings and words.
func (c *scanner) structure(p []byte, to taker) []byte {
	for i, b := range p {
		switch b {
		case '{', '[':
			c.open(b == '[', to)
		case '}', ']':
			c.close(to)
			if c.state == over {
				return nil
			}
		case ',':
			if c.inKey = !c.inArray(); c.inKey {
				c.current = other
			}
		case '"':
			c.length, c.state = 0, inSkipped
			if c.inKey && (c.depth == 1 || c.depth <= maxDepth && !c.flat) || c.current != other {
				c.state = inString
			}
			return p[i+1:]
		case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 't', 'f', 'n':
			if c.current != other {
				c.length, c.state = 0, inWord
				return p[i:]
			}
		}
	}
	return nil
}

func (c *scanner) inArray() bool {
	return c.depth > 0 && c.depth <= maxDepth && c.arrays[c.depth-1]
}

func (c *scanner) open(array bool, to taker) {
	if c.depth < maxDepth {
		c.way[c.depth], c.arrays[c.depth] = c.current, array
		to.element(c)
	}
	c.depth++
	if c.inKey = !array; c.inKey || c.depth > maxDepth {
		c.current = other
	}
}

func (c *scanner) close(to taker) {
	if c.depth > 0 && c.depth <= maxDepth && !c.arrays[c.depth-1] && c.way[c.depth-1] == category {
		to.leave(c)
	}
	c.depth--
	c.inKey, c.current = false, other
	switch {
	case c.depth <= 0:
		c.state = over
	case c.inArray():
		c.current = c.way[c.depth-1] // of the next element
	}
}

// keepString takes a string that may matter. Where it matters what the string
// is, and not only that there is one, it is short and has no escape.
func (c *scanner) keepString(p []byte, to taker) []byte {
	end := bytes.IndexByte(p, '"')
	part := p
	if end >= 0 {
		part = p[:end]
	}
	if slash := bytes.IndexByte(part, '\\'); slash >= 0 {
		c.length, c.state = maxKept+1, inSkipped
		return p[slash:]
	}
	c.keep(part)
	if end < 0 {
		return nil
	}
	c.endString(to)
	return p[end+1:]
}

func (c *scanner) keep(part []byte) {
	if c.length < maxKept {
		copy(c.kept[c.length:], part)
	}
	c.length = min(c.length+len(part), maxKept+1)
}

// skipString takes a string that does not matter. IndexByte is much faster than
// a loop over the bytes of an answer.
func (c *scanner) skipString(p []byte, to taker) []byte {
	if c.escaped {
		c.escaped = false
		return p[1:]
	}
	quote := bytes.IndexByte(p, '"')
	part := p
	if quote >= 0 {
		part = p[:quote]
	}
	if slash := bytes.IndexByte(part, '\\'); slash >= 0 {
		c.escaped = true
		return p[slash+1:]
	}
	if quote < 0 {
		return nil
	}
	c.endString(to)
	return p[quote+1:]
}

func (c *scanner) endString(to taker) {
	c.state = between
	whole := c.length <= maxKept
	text := c.kept[:min(c.length, maxKept)]
	switch {
	case c.inKey:
		c.inKey = false
		if c.current = other; !whole || c.flat && c.depth > 1 {
			return
		}
		if c.current = nameOf(text); c.depth > 0 && c.depth <= maxDepth && !c.arrays[c.depth-1] && c.way[c.depth-1] == filterResults {
			c.current = category
		}
		if c.current != other {
			to.begin(c)
		}
	case c.current != other:
		to.text(c, text, whole)
	}
}

// keepWord takes a number, or true, false or null.
func (c *scanner) keepWord(p []byte, to taker) []byte {
	end := bytes.IndexAny(p, ",}] \t\r\n")
	if end < 0 {
		c.keep(p)
		return nil
	}
	c.keep(p[:end])
	c.state = between
	if c.length <= maxKept {
		to.word(c, c.kept[:c.length])
	}
	return p[end:]
}

// place returns the names of the members that lead to the value that is next,
// without the "response" of an event around it. It is not ok if there are more
// than three.
func (c *scanner) place() (p [3]name, ok bool) {
	if c.depth > maxDepth {
		return p, false
	}
	n := 0
	for i := 1; i < c.depth; i++ {
		if c.arrays[i] || n == 0 && c.way[i] == response {
			continue // what is in the array has its name
		}
		if n == len(p)-1 {
			return p, false
		}
		p[n] = c.way[i]
		n++
	}
	if c.inArray() && c.current == c.way[c.depth-1] {
		return p, false // an array of words
	}
	p[n] = c.current
	return p, true
}
