package telemetry

import (
	"net/http"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/latchkey-go/latchkey/internal/sse"
	"github.com/latchkey-go/latchkey/internal/usage"
)

const (
	// maxGaps is how many chunks of one stream are timed.
	maxGaps = 1 << 14
	// maxContent is how much of a request and of an answer is kept for
	// Options.Content, in bytes.
	maxContent = 64 << 10
	// maxScanned is how much of a request is looked at, in bytes.
	maxScanned = 4 << 20
)

// chunks times the events of a stream. The times are kept until its end, when the
// model is known that they are recorded for.
type chunks struct {
	parser sse.Parser
	room   [64]byte
	first  time.Duration // from the beginning of the call; 0 before
	last   time.Time
	gaps   []time.Duration
}

func isStream(resp *http.Response) bool {
	types := resp.Header["Content-Type"]
	return len(types) > 0 && strings.HasPrefix(types[0], "text/event-stream") && resp.StatusCode < 300
}

func (c *chunks) take(p []byte, started time.Time) {
	now := time.Now()
	for len(p) > 0 {
		n, ended := c.parser.Feed(p)
		if p = p[n:]; !ended || c.parser.Done() {
			continue
		}
		if c.first == 0 {
			c.first = max(1, now.Sub(started))
		} else if len(c.gaps) < maxGaps {
			c.gaps = append(c.gaps, now.Sub(c.last))
		}
		c.last = now
	}
}

// content is what Options.Content gets.
type content struct{ request, answer []byte }

func keep(to, p []byte) []byte { return append(to, p[:min(len(p), maxContent-len(to))]...) }

// A requestScan reads what a request asks for.
type requestScan struct {
	scan usage.ParameterScan
	size int // in bytes, so far
}

// pools are those of what one call needs.
type pools struct{ scans, attrs, events, chunks, contents sync.Pool }

func (p *pools) getScan() *requestScan {
	if s, ok := p.scans.Get().(*requestScan); ok {
		return s
	}
	return &requestScan{}
}

func (p *pools) getAttrs() *[]attribute.KeyValue {
	if a, ok := p.attrs.Get().(*[]attribute.KeyValue); ok {
		return a
	}
	a := make([]attribute.KeyValue, 0, 32)
	return &a
}

// putAttrs takes attributes back, without what they hold.
func (p *pools) putAttrs(a *[]attribute.KeyValue) {
	clear(*a)
	*a = (*a)[:0]
	p.attrs.Put(a)
}

func (p *pools) getChunks() *chunks {
	c, ok := p.chunks.Get().(*chunks)
	if !ok {
		c = &chunks{}
	}
	c.parser = sse.NewParser(len(c.room), 0)
	c.parser.Buffer(c.room[:])
	c.first, c.gaps = 0, c.gaps[:0]
	return c
}

func (p *pools) getContent() *content {
	if c, ok := p.contents.Get().(*content); ok {
		return c
	}
	return &content{}
}

func (p *pools) putContent(c *content) {
	clear(c.request)
	clear(c.answer)
	c.request, c.answer = c.request[:0], c.answer[:0]
	p.contents.Put(c)
}
