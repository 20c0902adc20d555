package clienttest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// A text is a string in one of the forms that requests have: a string, or an
// array of strings or of content parts, which are joined.
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	switch b[0] {
	case 'n':
		return nil
	case '"':
		if plain(b[1 : len(b)-1]) {
			*t = text(b[1 : len(b)-1])
			return nil
		}
		return json.Unmarshal(b, (*string)(t))
	}
	var parts []json.RawMessage
	if err := json.Unmarshal(b, &parts); err != nil {
		return err
	}
	var all strings.Builder
	for _, raw := range parts {
		var part struct{ Text string }
		switch raw[0] {
		case '"':
			_ = json.Unmarshal(raw, &part.Text) // valid: it is inside valid JSON
		case '{':
			if err := json.Unmarshal(raw, &part); err != nil {
				return err
			}
		}
		all.WriteString(part.Text)
	}
	*t = text(all.String())
	return nil
}

type message struct {
	Role    string `json:"role"`
	Content text   `json:"content"`
}

type generateRequest struct {
	Model         string    `json:"model"`
	Stream        bool      `json:"stream"`
	Messages      []message `json:"messages"`
	Prompt        text      `json:"prompt"`
	StreamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
}

// lastUser returns what the user said last, or the last message of all.
func lastUser(messages []message) string {
	for i := len(messages) - 1; i >= 0; i-- {
		if messages[i].Role == "user" {
			return string(messages[i].Content)
		}
	}
	if len(messages) == 0 {
		return ""
	}
	return string(messages[len(messages)-1].Content)
}

// tokens is an estimate of the usual size: four bytes each.
func tokens(s string) int { return (len(s) + 3) / 4 }

// plain tells whether text is the same inside and outside of JSON.
func plain[T string | []byte](text T) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func quote(s string) []byte {
	if plain(s) {
		return append(append(append(make([]byte, 0, len(s)+2), '"'), s...), '"')
	}
	b, _ := json.Marshal(s) // strings always marshal
	return b
}

// modelName is the model of the request, or the deployment in its path.
func (c *call) modelName(model string) (string, bool) {
	if model == "" {
		model = c.deployment
	}
	if model == "" {
		c.refuse(http.StatusBadRequest, "you must provide a model parameter", "", "")
	}
	return model, model != ""
}

// chatUsage is the usage object of chat/completions and completions.
func chatUsage(in, out int) string {
	return fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`, in, out, in+out)
}

// chat answers POST chat/completions.
func (c *call) chat() {
	var req generateRequest
	if !c.decode(&req) {
		return
	}
	model, ok := c.modelName(req.Model)
	if !ok {
		return
	}
	if len(req.Messages) == 0 {
		c.refuse(http.StatusBadRequest, "Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
		return
	}
	in := 0
	for _, m := range req.Messages {
		in += tokens(string(m.Content))
	}
	answer := "echo: " + lastUser(req.Messages)
	usage := chatUsage(in, tokens(answer))
	if req.Stream {
		c.chatStream(quote(model), answer, usage, req.StreamOptions.IncludeUsage)
		return
	}
	c.succeed(fmt.Appendf(make([]byte, 0, 640+len(answer)), `{"id":"chatcmpl-%d","object":"chat.completion","created":%d,"model":%s,"choices":[{"index":0,"message":{"role":"assistant","content":%s,"refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":%s,"service_tier":"default","system_fingerprint":"fp_clienttest"}`,
		c.n, created, quote(model), quote(answer), usage))
}

func (c *call) chatStream(model []byte, answer, usage string, includeUsage bool) {
	out := c.stream()
	var buf []byte
	chunk := func(choices, usage string) {
		if usage != "" {
			usage = `,"usage":` + usage
		}
		buf = fmt.Appendf(buf[:0], `{"id":"chatcmpl-%d","object":"chat.completion.chunk","created":%d,"model":%s,"service_tier":"default","system_fingerprint":"fp_clienttest","choices":[%s]%s}`, c.n, created, model, choices, usage)
		out.send("", buf)
	}
	const choice = `{"index":0,"delta":%s,"logprobs":null,"finish_reason":%s}`
	none := ""
	if includeUsage {
		none = "null" // as the real service: null in all chunks but the last
	}
	chunk(fmt.Sprintf(choice, `{"role":"assistant","content":"","refusal":null}`, "null"), none)
	for _, d := range deltas(answer) {
		chunk(fmt.Sprintf(choice, fmt.Sprintf(`{"content":%s}`, quote(d)), "null"), none)
	}
	chunk(fmt.Sprintf(choice, `{}`, `"stop"`), none)
	if includeUsage {
		chunk("", usage)
	}
	out.done()
}

// completions answers POST completions, the older form with a prompt.
func (c *call) completions() {
	var req generateRequest
	if !c.decode(&req) {
		return
	}
	model, ok := c.modelName(req.Model)
	if !ok {
		return
	}
	answer := "echo: " + string(req.Prompt)
	body := func(text, finish, usage string) []byte {
		return fmt.Appendf(nil, `{"id":"cmpl-%d","object":"text_completion","created":%d,"model":%s,"choices":[{"text":%s,"index":0,"logprobs":null,"finish_reason":%s}]%s}`, c.n, created, quote(model), quote(text), finish, usage)
	}
	if !req.Stream {
		c.succeed(body(answer, `"stop"`, `,"usage":`+chatUsage(tokens(string(req.Prompt)), tokens(answer))))
		return
	}
	out := c.stream()
	for _, d := range deltas(answer) {
		out.send("", body(d, "null", ""))
	}
	out.send("", body("", `"stop"`, ""))
	out.done()
}
