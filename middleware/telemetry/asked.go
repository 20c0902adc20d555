package telemetry

import (
	"io"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/attribute"

	"github.com/latchkey-go/latchkey/internal/hidden"
	"github.com/latchkey-go/latchkey/internal/usage"
)

// ask makes the call read what the request asks for while its body is sent. Nothing
// of a prompt is looked at, and what is text in the request is passed on only if it
// is a word that the API knows.
func (c *call) ask() {
	t := c.telemetry
	c.attrs = t.pools.getAttrs()
	if t.content != nil {
		c.kept = t.pools.getContent()
	}
	if c.req.Body == nil || c.req.Body == http.NoBody || !isJSON(c.req.Header) {
		return
	}
	c.scan = t.pools.getScan()
	c.asked.room = c.req.Body
	c.asked.body.Store(&c.asked.room)
	c.asked.call.Store(c)
	c.req.Body = &c.asked
}

// An askedBody is the body of the request. It hides what is below.
type askedBody struct {
	body hidden.Pointer[io.ReadCloser]
	call hidden.Pointer[call]
	room io.ReadCloser
}

func (b *askedBody) Read(p []byte) (int, error) {
	n, err := (*b.body.Load()).Read(p)
	b.call.Load().sent(p[:n], err == io.EOF)
	return n, err //nolint:wrapcheck // io.EOF has to stay bare
}

func (b *askedBody) Close() error { return (*b.body.Load()).Close() } //nolint:wrapcheck // as the body says it

// sent takes what a read of the request's body has brought. The transport may read
// while the call ends, and after that.
func (c *call) sent(p []byte, whole bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.scan != nil && !c.whole {
		c.scan.take(p, c.kept)
		c.whole = whole || c.req.ContentLength > 0 && int64(c.scan.size) >= c.req.ContentLength
	}
}

// parametersOf adds what the request asks for to attrs, and returns the model. A body
// that was not sent as a whole is read a second time, if that can be: nobody has sent
// it where a limit has refused the send. c.mu is held.
func (c *call) parametersOf(attrs []attribute.KeyValue) (model string, _ []attribute.KeyValue) {
	s := c.scan
	if s == nil {
		return "", attrs
	}
	c.scan = nil
	if !c.whole && c.req.GetBody != nil {
		if body, err := c.req.GetBody(); err == nil {
			s.reset()
			if c.kept != nil {
				c.kept.request = c.kept.request[:0]
			}
			s.read(body, c.kept)
			_ = body.Close()
		}
	}
	p := s.scan.End()
	model = c.telemetry.names.models.bytes(p.Model)
	attrs = parameters(attrs, p)
	s.reset()
	c.telemetry.pools.scans.Put(s)
	return model, attrs
}

func isJSON(h http.Header) bool {
	types := h["Content-Type"]
	return len(types) > 0 && strings.HasPrefix(types[0], "application/json") && len(h["Content-Encoding"]) == 0
}

func (s *requestScan) reset() {
	s.scan.Reset()
	s.size = 0
}

// take scans the next bytes.
func (s *requestScan) take(p []byte, kept *content) {
	if s.size < maxScanned {
		s.scan.Write(p)
	}
	s.size += len(p)
	if kept != nil {
		kept.request = keep(kept.request, p)
	}
}

func (s *requestScan) read(body io.Reader, kept *content) {
	buffer := make([]byte, 8<<10)
	for s.size < maxScanned {
		n, err := body.Read(buffer)
		s.take(buffer[:n], kept)
		if err != nil {
			return
		}
	}
}

func parameters(attrs []attribute.KeyValue, p *usage.Parameters) []attribute.KeyValue {
	for _, n := range [...]struct {
		is    usage.ParameterSet
		key   attribute.Key
		value int64
	}{
		{usage.HasMaxTokens, keyMaxTokens, p.MaxTokens}, {usage.HasSeed, keySeed, p.Seed}, {usage.HasDimensions, keyDimensions, p.Dimensions},
	} {
		if p.Set&n.is != 0 {
			attrs = append(attrs, n.key.Int64(n.value))
		}
	}
	if p.Set&usage.HasChoices != 0 && p.Choices != 1 {
		attrs = append(attrs, keyChoices.Int64(p.Choices))
	}
	for _, n := range [...]struct {
		is    usage.ParameterSet
		key   attribute.Key
		value float64
	}{
		{usage.HasTemperature, keyTemperature, p.Temperature}, {usage.HasTopP, keyTopP, p.TopP},
		{usage.HasFrequencyPenalty, keyFrequencyPenalty, p.FrequencyPenalty}, {usage.HasPresencePenalty, keyPresencePenalty, p.PresencePenalty},
	} {
		if p.Set&n.is != 0 {
			attrs = append(attrs, n.key.Float64(n.value))
		}
	}
	if p.Stream {
		attrs = append(attrs, keyStream.Bool(true))
	}
	return words(attrs, p)
}

// words adds what the request says in words of the API.
func words(attrs []attribute.KeyValue, p *usage.Parameters) []attribute.KeyValue {
	switch string(p.ServiceTier) {
	case "auto": // which is the default
	case "default", "flex", "priority", "scale":
		attrs = append(attrs, keyRequestTier.String(string(p.ServiceTier)))
	}
	switch string(p.Encoding) {
	case "float", "base64":
		attrs = append(attrs, keyEncodings.StringSlice([]string{string(p.Encoding)}))
	}
	switch string(p.Format) {
	case "text":
		attrs = append(attrs, keyOutputType.String(outputText))
	case "json_object", "json_schema":
		attrs = append(attrs, keyOutputType.String(outputJSON))
	}
	return attrs
}
