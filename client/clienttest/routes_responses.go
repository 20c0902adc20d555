package clienttest

import (
	"encoding/json"
	"fmt"
	"net/http"
)

type responsesRequest struct {
	Model  string          `json:"model"`
	Stream bool            `json:"stream"`
	Input  json.RawMessage `json:"input"`
}

// responses answers POST responses.
func (c *call) responses() {
	var req responsesRequest
	if !c.decode(&req) {
		return
	}
	model, ok := c.modelName(req.Model)
	if !ok {
		return
	}
	var prompt text
	var items []message
	switch {
	case len(req.Input) == 0:
		c.refuse(http.StatusBadRequest, "Missing required parameter: 'input'.", "input", "missing_required_parameter")
		return
	case json.Unmarshal(req.Input, &items) == nil: // else a string
		prompt = text(lastUser(items))
	case json.Unmarshal(req.Input, (*string)(&prompt)) != nil:
		c.refuse(http.StatusBadRequest, "Invalid type for 'input'.", "input", "invalid_type")
		return
	}
	a := response{n: c.n, model: quote(model), text: "echo: " + string(prompt), in: tokens(string(prompt))}
	if req.Stream {
		a.stream(c.stream())
		return
	}
	c.succeed(a.object("completed"))
}

// A response is an answer of POST responses, whole or in events.
type response struct {
	n     int64
	model []byte
	text  string
	in    int
}

// object is the response object; output and usage come when it is completed.
func (a response) object(status string) []byte {
	output, usage := "", "null"
	if status == "completed" {
		out := tokens(a.text)
		output = string(a.item(status))
		usage = fmt.Sprintf(`{"input_tokens":%d,"input_tokens_details":{"cached_tokens":0},"output_tokens":%d,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":%d}`, a.in, out, a.in+out)
	}
	return fmt.Appendf(make([]byte, 0, 1024+len(a.text)), `{"id":"resp_%d","object":"response","created_at":%d,"status":%q,"background":false,"error":null,"incomplete_details":null,"instructions":null,"max_output_tokens":null,"model":%s,"output":[%s],"parallel_tool_calls":true,"previous_response_id":null,"reasoning":{"effort":null,"summary":null},"service_tier":"default","store":true,"temperature":1.0,"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"top_p":1.0,"truncation":"disabled","usage":%s,"user":null,"metadata":{}}`,
		a.n, created, status, a.model, output, usage)
}

func (a response) item(status string) []byte {
	content := ""
	if status == "completed" {
		content = string(a.part(a.text))
	}
	return fmt.Appendf(nil, `{"id":"msg_%d","type":"message","status":%q,"role":"assistant","content":[%s]}`, a.n, status, content)
}

func (a response) part(text string) []byte {
	return fmt.Appendf(nil, `{"type":"output_text","annotations":[],"logprobs":[],"text":%s}`, quote(text))
}

// stream sends the events in the order of the real service. The last one is
// response.completed; there is no [DONE].
func (a response) stream(out *sse) {
	seq := 0
	send := func(event, format string, args ...any) {
		b := fmt.Appendf(nil, `{"type":%q,"sequence_number":%d,`, event, seq)
		seq++
		out.send(event, append(fmt.Appendf(b, format, args...), '}'))
	}
	at := fmt.Sprintf(`"item_id":"msg_%d","output_index":0,"content_index":0`, a.n)
	send("response.created", `"response":%s`, a.object("in_progress"))
	send("response.in_progress", `"response":%s`, a.object("in_progress"))
	send("response.output_item.added", `"output_index":0,"item":%s`, a.item("in_progress"))
	send("response.content_part.added", `%s,"part":%s`, at, a.part(""))
	for _, d := range deltas(a.text) {
		send("response.output_text.delta", `%s,"delta":%s,"logprobs":[]`, at, quote(d))
	}
	send("response.output_text.done", `%s,"text":%s,"logprobs":[]`, at, quote(a.text))
	send("response.content_part.done", `%s,"part":%s`, at, a.part(a.text))
	send("response.output_item.done", `"output_index":0,"item":%s`, a.item("completed"))
	send("response.completed", `"response":%s`, a.object("completed"))
}
