package client

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"

	"github.com/openai/openai-go/v3/option"

	"github.com/latchkey-go/latchkey/internal/sse"
)

// markStream tells the stream guard which calls of the official SDK ask for a
// stream. They say so in the body alone, which the guard does not read: a page
// or a document in place of the stream would be an empty one to the SDK.
func markStream(req *http.Request, next option.MiddlewareNext) (*http.Response, error) {
	if req.Method == http.MethodPost && req.GetBody != nil && asksForStream(req.GetBody) {
		req = req.WithContext(sse.WithAsked(req.Context()))
	}
	return next(req)
}

// asksForStream reports whether a JSON body has "stream": true.
func asksForStream(get func() (io.ReadCloser, error)) bool {
	body, err := get()
	if err != nil {
		return false
	}
	defer func() { _ = body.Close() }() // a copy
	inMemory, ok := body.(io.WriterTo)
	if !ok {
		return false // a file, not JSON
	}
	var text taken
	if _, err := inMemory.WriteTo(&text); err != nil || !bytes.Contains(text, []byte(`"stream"`)) {
		return false // nearly all calls
	}
	var asked struct {
		Stream bool `json:"stream"`
	}
	return json.Unmarshal(text, &asked) == nil && asked.Stream
}

// taken takes what a reader in memory writes at once, without a copy.
type taken []byte

func (t *taken) Write(p []byte) (int, error) {
	if *t == nil {
		*t = p
		return len(p), nil
	}
	*t = append(bytes.Clone(*t), p...)
	return len(p), nil
}
