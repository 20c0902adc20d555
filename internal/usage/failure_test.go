package usage_test

import (
	"testing"

	"github.com/latchkey-go/latchkey/internal/usage"
)

// A failure is a stream, or what is none, and the failure that it reports.
type failure struct {
	text   string
	failed bool
	code   string
}

var failures = map[string]failure{
	"an error in place of a chunk":   {sse(delta("a"), `{"error":{"message":"m","type":"server_error","code":null}}`), true, "server_error"},
	"the code before the type":       {sse(delta("a"), `{"error":{"code":"rate_limit_exceeded","type":"tokens","message":"m"}}`), true, "rate_limit_exceeded"},
	"an error before [DONE]":         {sse(delta("a"), `{ "error" : { "type" : "tokens", "code" : "too_many" } }`, "[DONE]"), true, "too_many"},
	"an error before all":            {sse(`{"error":{"message":"m"}}`), true, ""},
	"an error that is text":          {sse(delta("a"), `{"error":"overloaded"}`), true, ""},
	"an error that is a list":        {sse(delta("a"), `{"error":["overloaded"]}`), true, ""},
	"an event of the type":           {typed(`{"type":"response.created","response":{"id":"r","model":"m","error":null}}`, `{"type":"error","code":"server_error","message":"m","param":null}`), true, "server_error"},
	"an event of the name":           {sse(delta("a")) + "event: error\ndata: {\"message\":\"m\",\"code\":\"e_1\"}\n\n", true, "e_1"},
	"an event of the name, no JSON":  {sse(delta("a")) + "event: error\ndata: overloaded\n\n", true, ""},
	"a response that failed":         {typed(`{"type":"response.created","response":{"model":"m"}}`, `{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error","message":"m"}}}`), true, "server_error"},
	"a code that is prose":           {sse(delta("a"), `{"error":{"code":"sorry, no","message":"m"}}`), true, ""},
	"an event that the stream cut":   {sse(delta("a")) + "data: {\"error\":{\"code\":\"e_2\"}}", true, "e_2"},
	"a program before it":            {typed(`{"type":"response.code_interpreter_call_code.done","code":"x"}`, `{"type":"response.failed","response":{"error":{"message":"m"}}}`), true, ""},
	"no error":                       {sse(delta("a"), `{"error":null,"choices":[]}`, "[DONE]"), false, ""},
	"an error of text that is empty": {sse(delta("a"), `{"error":""}`), false, ""},
	"a whole response":               {typed(`{"type":"response.created","response":{"model":"m","error":null}}`, `{"type":"response.completed","response":{"status":"completed","error":null,"usage":`+responseUsage+`}}`), false, ""},
	"the word in the answer":         {sse(delta(`\"error\":{\"code\":\"x\"}`), "[DONE]"), false, ""},
	"an error of a tool":             {typed(`{"type":"response.created","response":{"model":"m"}}`, `{"type":"response.output_item.done","item":{"type":"mcp_call","error":{"code":"tool_failed"}}}`), false, ""},
	"an error that is no stream":     {`{"error":{"code":"server_error","message":"m"}}`, false, ""},
	"a stored response that failed":  {`{"object":"response","status":"failed","error":{"code":"server_error","message":"m"}}`, false, ""},
}

func TestAStreamInWhichTheServiceFailsSaysSo(t *testing.T) {
	for name, f := range failures {
		for _, size := range []int{1, 7, 64, 4 << 10} {
			var a usage.Answer
			for rest := f.text; rest != ""; {
				n := min(size, len(rest))
				a.Write([]byte(rest[:n]))
				rest = rest[n:]
			}
			a.End()
			code, failed := a.Failure()
			if failed != f.failed || failed && code != f.code {
				t.Errorf("%s, in pieces of %d: failed %v with %q, want %v with %q", name, size, failed, code, f.failed, f.code)
			}
		}
	}
}
