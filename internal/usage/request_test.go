package usage_test

import (
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/internal/usage"
)

func TestWhatARequestCanUseIsReadFromItsBody(t *testing.T) {
	bounded := func(n int64) usage.Request { return usage.Request{Output: n} }
	refers := usage.Request{Output: 5, Refers: true}
	for body, want := range map[string]usage.Request{
		`{"model":"m","messages":[{"role":"user","content":"hi"}]}`:      bounded(-1),
		`{"model":"m","max_tokens":100}`:                                 bounded(100),
		`{"max_completion_tokens": 7 ,"n" : 3}`:                          bounded(21),
		`{"max_tokens":5,"max_completion_tokens":9,"best_of":4,"n":2}`:   bounded(36),
		`{"max_output_tokens":16,"input":"say \"max_output_tokens\":1"}`: bounded(16),
		`{"max_tokens":null,"n":null}`:                                   bounded(-1),
		`{"max_tokens":0}`:                                               bounded(-1),
		`{"max_tokens":1e9}`:                                             bounded(-1),
		`{"max_tokens":-4}`:                                              bounded(-1),
		`{"max_tokens":"9"}`:                                             bounded(-1),
		`{"max_tokens":9999999999999}`:                                   bounded(-1),
		`{"max_tokens":5,"n":9999999999999}`:                             bounded(-1),
		`{"max_tokens":5,"prompt":"text"}`:                               bounded(5),
		`{"max_tokens":5,"prompt":["a","b"]}`:                            bounded(-1),
		`{"max_tokens":5,"metadata":{"max_tokens":900,"n":9}}`:           bounded(5),
		`{"max_tokens":5,"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}]}`: bounded(5),
		`{"max_tokens":5,"tools":[{"type":"web_search"}]}`:                                                      refers,
		`{"max_tokens":5,"tools":[{"type":"function"},{"type":"mcp"}]}`:                                         refers,
		`{"max_tokens":5,"messages":[{"content":[{"type":"image_url","image_url":{"url":"https://x"}}]}]}`:      refers,
		`{"max_tokens":5,"input":[{"content":[{"type":"input_file","file_id":"f"}]}]}`:                          refers,
		`{"max_tokens":5,"input":[{"type":"item_reference","id":"msg_1"}]}`:                                     refers,
		`{"max_tokens":5,"messages":[{"content":[{"type":"file","file":{"filename":"x"}}]}]}`:                   refers,
		`{"max_tokens":5,"previous_response_id":"resp_1"}`:                                                      refers,
		`{"max_tokens":5,"conversation":"conv_1"}`:                                                              refers,
		`{"max_tokens":5,"prompt":{"id":"pmpt_1"}}`:                                                             refers,
		`{"max_tokens":5,"messages":[{"content":"an \"image_url\": {} in a text, \\\"input_file\\\""}]}`:        bounded(5),
		`{"max_tokens":5`: {Output: -1, Refers: true},
		`[]`:              bounded(-1),
		``:                {Output: -1, Refers: true},
		`{"messages":[{"content":"` + strings.Repeat("long ", 5000) + `"}],"max_tokens":8}`:                                  bounded(8),
		`{"input":` + strings.Repeat("[", 50) + strings.Repeat("]", 50) + `,"max_output_tokens":8,"text":{"verbosity":"n"}}`: bounded(8),
	} {
		for _, size := range []int{1, 3, 17, 1 << 20} {
			var r usage.RequestScan
			for rest := []byte(body); len(rest) > 0; {
				n := min(size, len(rest))
				r.Write(rest[:n])
				rest = rest[n:]
			}
			if got := r.End(); got != want {
				t.Errorf("%.90s in pieces of %d: %+v, want %+v", body, size, got, want)
			}
		}
	}
}
