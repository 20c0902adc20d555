package clienttest

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
)

const (
	defaultDimensions = 8
	maxDimensions     = 4096
	// maxFiles bounds what a Service remembers of its uploads.
	maxFiles = 4096
)

// embeddings answers POST embeddings. A vector depends on its input only; its
// numbers are multiples of 1/128, the same as float32 and as decimal text.
func (c *call) embeddings() {
	var req struct {
		Model      string          `json:"model"`
		Input      json.RawMessage `json:"input"`
		Format     string          `json:"encoding_format"`
		Dimensions int             `json:"dimensions"`
	}
	if !c.decode(&req) {
		return
	}
	model, ok := c.modelName(req.Model)
	if !ok {
		return
	}
	inputs := embeddingInputs(req.Input)
	if len(inputs) == 0 || req.Dimensions < 0 || req.Dimensions > maxDimensions {
		c.refuse(http.StatusBadRequest, "'input' must not be empty, and 'dimensions' at most 4096.", "input", "")
		return
	}
	if req.Dimensions == 0 {
		req.Dimensions = defaultDimensions
	}
	b := []byte(`{"object":"list","data":[`)
	in := 0
	for i, input := range inputs {
		if i > 0 {
			b = append(b, ',')
		}
		in += tokens(string(input))
		b = fmt.Appendf(b, `{"object":"embedding","index":%d,"embedding":`, i)
		b = append(appendVector(b, input, req.Dimensions, req.Format == "base64"), '}')
	}
	c.succeed(fmt.Appendf(b, `],"model":%s,"usage":{"prompt_tokens":%d,"total_tokens":%d}}`, quote(model), in, in))
}

// embeddingInputs splits the input into what gets a vector each. It may be a
// string, an array of strings, an array of tokens, or an array of those.
func embeddingInputs(raw json.RawMessage) []json.RawMessage {
	var list []json.RawMessage
	switch {
	case len(raw) == 0 || raw[0] != '"' && raw[0] != '[':
		return nil
	case raw[0] == '"':
		return []json.RawMessage{raw}
	case json.Unmarshal(raw, &list) != nil || len(list) == 0:
		return nil
	case list[0][0] != '"' && list[0][0] != '[':
		return []json.RawMessage{raw} // tokens of one input
	}
	return list
}

func appendVector(b []byte, input []byte, n int, asBase64 bool) []byte {
	h := fnv.New64a()
	h.Write(input)
	seed := h.Sum64() | 1
	var packed []byte
	if !asBase64 {
		b = append(b, '[')
	}
	for i := range n {
		seed ^= seed << 13 // xorshift64: a constant sequence for each input
		seed ^= seed >> 7
		seed ^= seed << 17
		v := float32(int8(seed)) / 128
		if asBase64 {
			packed = binary.LittleEndian.AppendUint32(packed, math.Float32bits(v))
			continue
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendFloat(b, float64(v), 'f', -1, 32)
	}
	if !asBase64 {
		return append(b, ']')
	}
	return append(base64.StdEncoding.AppendEncode(append(b, '"'), packed), '"')
}

var modelIDs = [...]string{"gpt-4o", "gpt-4o-mini", "text-embedding-3-small"}

func modelObject(b []byte, id string) []byte {
	return fmt.Appendf(b, `{"id":%q,"object":"model","created":%d,"owned_by":"openai"}`, id, created)
}

// models answers GET models.
func (c *call) models() {
	b := []byte(`{"object":"list","data":[`)
	for i, id := range modelIDs {
		if i > 0 {
			b = append(b, ',')
		}
		b = modelObject(b, id)
	}
	c.succeed(append(b, "]}"...))
}

// model answers GET models/{id}.
func (c *call) model(id string) {
	for _, m := range modelIDs {
		if m == id {
			c.succeed(modelObject(nil, id))
			return
		}
	}
	c.refuse(http.StatusNotFound, "The model '"+id+"' does not exist", "model", "model_not_found")
}

// upload answers POST files. The content is counted and dropped.
func (c *call) upload() {
	name, purpose, size, problem := readUpload(c.r.Header.Get("Content-Type"), c.body)
	if problem != "" {
		c.refuse(http.StatusBadRequest, problem, "file", "")
		return
	}
	id := "file-" + strconv.FormatInt(c.n, 10)
	object := fmt.Appendf(nil, `{"id":%q,"object":"file","bytes":%d,"created_at":%d,"filename":%s,"purpose":%s,"status":"processed","status_details":null}`, id, size, created, quote(name), quote(purpose))
	c.mu.Lock()
	if c.files == nil {
		c.files = map[string][]byte{}
	}
	if len(c.files) < maxFiles {
		c.files[id] = object
	}
	c.mu.Unlock()
	c.succeed(object)
}

// readUpload returns what the form holds, or the service's words for what is
// wrong with it.
func readUpload(contentType string, body []byte) (name, purpose string, size int64, problem string) {
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil || kind != "multipart/form-data" {
		return "", "", 0, "The request must be multipart/form-data."
	}
	size = -1
	for form := multipart.NewReader(bytes.NewReader(body), params["boundary"]); ; {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", "", 0, "The multipart body could not be parsed."
		}
		switch part.FormName() {
		case "purpose":
			b, _ := io.ReadAll(io.LimitReader(part, 256)) // an error comes again from NextPart
			purpose = string(b)
		case "file":
			name = part.FileName()
			size, _ = io.Copy(io.Discard, part) // likewise
		}
	}
	switch {
	case size < 0:
		problem = "'file' is a required property"
	case purpose == "":
		problem = "'purpose' is a required property"
	}
	return name, purpose, size, problem
}

// file answers GET files/{id}.
func (c *call) file(id string) {
	c.mu.Lock()
	object := c.files[id]
	c.mu.Unlock()
	if object == nil {
		c.refuse(http.StatusNotFound, "No such File object: "+id, "id", "")
		return
	}
	c.succeed(object)
}
