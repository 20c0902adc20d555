package usage_test

import (
	"fmt"
	"testing"

	"github.com/latchkey-go/latchkey/internal/usage"
)

func TestWhatARequestAsksForIsReadFromItsBody(t *testing.T) {
	for body, want := range map[string]string{
		`{"model":"m","messages":[{"role":"user","content":"\"seed\":1, \\"}],"max_tokens":5,"n":2,"best_of":7,"seed":-3}`:       `0000000111 5 2 -3 0 0 0 0 0 false "m" "" "" ""`,
		`{"stream":true,"temperature":0.5,"top_p":1,"frequency_penalty":-2,"presence_penalty":1e-1,"max_output_tokens":9}`:       `0011110001 9 0 0 0 0.5 1 -2 0.1 true "" "" "" ""`,
		`{"model":"e","dimensions":256,"encoding_format":"base64","service_tier":"flex","input":["temperature",1]}`:              `0000001000 0 0 0 256 0 0 0 0 false "e" "flex" "base64" ""`,
		`{"response_format":{"type":"json_schema","json_schema":{"type":"no","seed":4}}}`:                                        `0000000000 0 0 0 0 0 0 0 0 false "" "" "" "json_schema"`,
		`{"text":{"format":{"type":"json_object","schema":{"type":"object"}}},"tools":[{"type":"function","model":"no"}]}`:       `0000000000 0 0 0 0 0 0 0 0 false "" "" "" "json_object"`,
		`{"metadata":{"seed":1,"model":"no","n":3},"input":{"temperature":2,"format":{"type":"no"}},"seed":null,"stream":false}`: `0000000000 0 0 0 0 0 0 0 0 false "" "" "" "no"`,
		`{"max_tokens":"5","n":1.5,"temperature":"hot","model":5}`:                                                               `0000000000 0 0 0 0 0 0 0 0 false "" "" "" ""`,
	} {
		for size := range 3 {
			var s usage.ParameterScan
			s.Write([]byte(`{"model":"before","seed":1,"stream":true`))
			s.Reset()
			for rest := []byte(body); len(rest) > 0; {
				n := min(len(rest), 1+size*100)
				s.Write(rest[:n])
				rest = rest[n:]
			}
			p := s.End()
			got := fmt.Sprintf("%010b %d %d %d %d %v %v %v %v %v %q %q %q %q", p.Set, p.MaxTokens, p.Choices, p.Seed, p.Dimensions,
				p.Temperature, p.TopP, p.FrequencyPenalty, p.PresencePenalty, p.Stream, p.Model, p.ServiceTier, p.Encoding, p.Format)
			if got != want {
				t.Errorf("%s:\n got %s\nwant %s", body, got, want)
			}
		}
	}
}
