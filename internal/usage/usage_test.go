package usage_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/internal/usage"
)

// sse makes a stream of events, each the data of one.
func sse(events ...string) string {
	return "data: " + strings.Join(events, "\n\ndata: ") + "\n\n"
}

// typed makes a stream as the Responses API sends it.
func typed(events ...string) string {
	var b strings.Builder
	for _, e := range events {
		name := strings.SplitN(e, `"`, 5)[3]
		fmt.Fprintf(&b, "event: %s\ndata: %s\n\n", name, e)
	}
	return b.String()
}

const (
	chatUsage     = `{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":4,"cache_write_tokens":2,"audio_tokens":1,"image_tokens":3,"text_tokens":9},"completion_tokens_details":{"reasoning_tokens":5,"audio_tokens":6,"text_tokens":1,"accepted_prediction_tokens":7,"rejected_prediction_tokens":8}}`
	responseUsage = `{"input_tokens":36,"input_tokens_details":{"cached_tokens":11,"cache_write_tokens":3},"output_tokens":87,"output_tokens_details":{"reasoning_tokens":64},"total_tokens":123}`
	safe          = `{"hate":{"filtered":false,"severity":"safe"},"jailbreak":{"filtered":false,"detected":false},"self_harm":{"filtered":false,"severity":"safe"}}`
)

var (
	ofChat     = usage.Usage{Reported: true, Input: 19, Output: 10, CachedInput: 4, CacheWrite: 2, AudioInput: 1, ImageInput: 3, Reasoning: 5, AudioOutput: 6}
	ofResponse = usage.Usage{Reported: true, Input: 36, Output: 87, CachedInput: 11, CacheWrite: 3, Reasoning: 64}
)

func with(u usage.Usage, change func(*usage.Usage)) usage.Usage {
	change(&u)
	return u
}

func model(m, tier, finish string) func(*usage.Usage) {
	return func(u *usage.Usage) { u.Model, u.ServiceTier, u.Finish = m, tier, finish }
}

func chunk(choice string) string {
	return `{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp","choices":[` + choice + `],"usage":null}`
}

func delta(text string) string {
	return chunk(`{"index":0,"delta":{"content":"` + text + `"},"logprobs":null,"finish_reason":null}`)
}

type answer struct {
	text string
	want usage.Usage
}

var answers = map[string]answer{
	"chat": {`{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4o-2024-08-06","choices":[{"index":0,"message":{"role":"assistant","content":"usage \"usage\": {\"prompt_tokens\": 7}","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":` + chatUsage + `,"service_tier":"default","system_fingerprint":"fp"}`,
		with(ofChat, model("gpt-4o-2024-08-06", "default", "stop"))},
	"chat, usage first, with blanks": {"{\n \"usage\" : { \"prompt_tokens\" : 3 , \"completion_tokens\" : 4 , \"total_tokens\" : 7 } ,\r\n\t\"choices\" : [ { \"finish_reason\" : \"length\" } ] , \"model\" : \"m\" }\n",
		usage.Usage{Reported: true, Input: 3, Output: 4, Model: "m", Finish: "length"}},
	"chat with two choices": {`{"model":"m","choices":[{"index":0,"finish_reason":"stop"},{"index":1,"finish_reason":"length"},{"index":2,"finish_reason":"stop"}]}`,
		usage.Usage{Model: "m", Finish: "stop, length"}},
	"chat with a refusal":   {`{"choices":[{"message":{"refusal":"I can't \"do\" that","content":null},"finish_reason":"stop"}]}`, usage.Usage{Refusal: true, Finish: "stop"}},
	"chat, floats":          {`{"usage":{"prompt_tokens":12.0,"completion_tokens":3.0}}`, usage.Usage{Reported: true, Input: 12, Output: 3}},
	"chat, usage null":      {`{"model":"m","usage":null,"choices":[]}`, usage.Usage{Model: "m"}},
	"chat, usage empty":     {`{"usage":{}}`, usage.Usage{}},
	"chat, usage of zero":   {`{"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}`, usage.Usage{Reported: true}},
	"chat, usage a string":  {`{"usage":"12"}`, usage.Usage{}},
	"chat, negative":        {`{"usage":{"prompt_tokens":-12,"completion_tokens":5}}`, usage.Usage{Reported: true, Output: 5}},
	"chat, absurd":          {`{"usage":{"prompt_tokens":99999999999999999999,"completion_tokens":1e3}}`, usage.Usage{}},
	"chat, tool calls":      {`{"choices":[{"message":{"tool_calls":[{"function":{"name":"f","arguments":"{\"usage\":{\"prompt_tokens\":1}}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":82,"completion_tokens":17,"total_tokens":99}}`, usage.Usage{Reported: true, Input: 82, Output: 17, Finish: "tool_calls"}},
	"usage that is another": {`{"metadata":{"usage":{"input_tokens":5}},"tools":[{"parameters":{"properties":{"usage":{"input_tokens":6,"type":"object"}}}}],"usage":{"input_tokens":1,"output_tokens":2}}`, usage.Usage{Reported: true, Input: 1, Output: 2}},
	"completions":           {`{"id":"cmpl-1","object":"text_completion","model":"gpt-3.5-turbo-instruct","choices":[{"text":"\n\nhi","index":0,"logprobs":null,"finish_reason":"length"}],"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}`, usage.Usage{Reported: true, Input: 5, Output: 7, Model: "gpt-3.5-turbo-instruct", Finish: "length"}},
	"embeddings":            {`{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.0023,-0.0093,1e-5]},{"object":"embedding","index":1,"embedding":"AAAA"}],"model":"text-embedding-3-small","usage":{"prompt_tokens":8,"total_tokens":8}}`, usage.Usage{Reported: true, Input: 8, Model: "text-embedding-3-small"}},
	"response": {`{"id":"resp_1","object":"response","created_at":1,"status":"completed","error":null,"incomplete_details":null,"instructions":null,"model":"gpt-4.1-2025-04-14","output":[{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"hi","annotations":[]}]}],"text":{"format":{"type":"json_schema","schema":{"properties":{"usage":{"type":"object","default":{"input_tokens":1}}}}}},"service_tier":"flex","usage":` + responseUsage + `,"user":null,"metadata":{}}`,
		with(ofResponse, model("gpt-4.1-2025-04-14", "flex", "completed"))},
	"response, incomplete":     {`{"object":"response","status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"usage":` + responseUsage + `}`, with(ofResponse, model("", "", "max_output_tokens"))},
	"response, reason first":   {`{"object":"response","incomplete_details":{"reason":"content_filter"},"status":"incomplete"}`, usage.Usage{Finish: "content_filter"}},
	"response, refusal":        {`{"object":"response","status":"completed","output":[{"type":"message","content":[{"type":"refusal","refusal":"no"}]}]}`, usage.Usage{Finish: "completed", Refusal: true}},
	"response, image tool":     {`{"object":"response","status":"completed","tool_usage":{"image_gen":{"input_tokens":50,"input_tokens_details":{"image_tokens":0,"text_tokens":50},"output_tokens":4160,"total_tokens":4210},"web_search":{"num_requests":1}},"usage":` + responseUsage + `}`, with(ofResponse, func(u *usage.Usage) { u.Finish, u.OtherInput, u.OtherOutput = "completed", 50, 4160 })},
	"response in background":   {`{"object":"response","status":"queued","usage":null}`, usage.Usage{Finish: "queued"}},
	"batch":                    {`{"id":"batch_1","object":"batch","status":"validating","model":"m"}`, usage.Usage{Model: "m"}},
	"image":                    {`{"created":1,"data":[{"b64_json":"` + strings.Repeat("A", 9000) + `"}],"usage":{"total_tokens":100,"input_tokens":50,"output_tokens":50,"input_tokens_details":{"text_tokens":10,"image_tokens":40},"output_tokens_details":{"image_tokens":50,"text_tokens":0}},"svg_usage":{"input_tokens":2,"model":"x","output_tokens":3,"reasoning_tokens":1,"total_tokens":5}}`, usage.Usage{Reported: true, Input: 50, Output: 50, ImageInput: 40, ImageOutput: 50, OtherInput: 2, OtherOutput: 3}},
	"transcription, tokens":    {`{"text":"hello","usage":{"type":"tokens","input_tokens":14,"input_token_details":{"text_tokens":0,"audio_tokens":14},"output_tokens":45,"total_tokens":59}}`, usage.Usage{Reported: true, Input: 14, AudioInput: 14, Output: 45}},
	"transcription, seconds":   {`{"text":"hello","usage":{"type":"duration","seconds":2.5}}`, usage.Usage{Reported: true, Seconds: 2.5}},
	"transcription, plain":     {"hello, this is what was said\n", usage.Usage{}},
	"transcription, subtitles": {"1\n00:00:00,000 --> 00:00:02,000\nhello\n", usage.Usage{}},
	"speech":                   {"ID3\x04\x00\x00\x00" + strings.Repeat("\xff\xfb", 500), usage.Usage{}},
	"html":                     {`<html>"usage":{"prompt_tokens":1}</html>`, usage.Usage{}},
	"empty":                    {"", usage.Usage{}},
	"byte order mark":          {"\xef\xbb\xbf" + `{"usage":{"prompt_tokens":1,"completion_tokens":2}}`, usage.Usage{Reported: true, Input: 1, Output: 2}},
	"array":                    {`[{"usage":{"prompt_tokens":1}}]`, usage.Usage{}},
	"cut":                      {`{"model":"m","usage":{"prompt_tokens":12,"completion_to`, usage.Usage{Model: "m"}},
	"cut behind the usage":     {`{"model":"m","usage":{"prompt_tokens":12,"completion_tokens":3},"choices":[`, usage.Usage{Model: "m"}},
	"two documents":            {`{"model":"a"}{"model":"b","usage":{"input_tokens":1}}`, usage.Usage{Model: "a"}},
	"model that is a text":     {`{"model":"a model with blanks","usage":{"input_tokens":1}}`, usage.Usage{Reported: true, Input: 1}},
	"model too long":           {`{"model":"` + strings.Repeat("m", 65) + `"}`, usage.Usage{}},
	"names with escapes":       {`{"mo\u0064el":"m","\"usage":{"input_tokens":1},"usage\"":{"input_tokens":2}}`, usage.Usage{}},
	"deep":                     {strings.Repeat(`{"a":[`, 40) + strings.Repeat(`]}`, 40), usage.Usage{}},
	"deep, then usage":         {`{"a":` + strings.Repeat(`[{"usage":`, 30) + `1` + strings.Repeat(`}]`, 30) + `,"usage":{"input_tokens":4}}`, usage.Usage{Reported: true, Input: 4}},

	"azure, nothing found":      {`{"choices":[{"content_filter_results":` + safe + `,"finish_reason":"stop"}],"prompt_filter_results":[{"prompt_index":0,"content_filter_results":` + safe + `}]}`, usage.Usage{Finish: "stop"}},
	"azure, answer filtered":    {`{"choices":[{"content_filter_results":{"hate":{"filtered":true,"severity":"high"},"protected_material_code":{"filtered":false,"detected":true,"citation":{"URL":"u","license":"l"}}},"finish_reason":"content_filter"}]}`, usage.Usage{Finish: "content_filter", AnswerFilter: "hate high filtered, protected_material_code detected"}},
	"azure, prompt annotated":   {`{"prompt_filter_results":[{"prompt_index":0,"content_filter_results":{"violence":{"filtered":false,"severity":"low"},"jailbreak":{"filtered":false,"detected":true}}}],"choices":[{"finish_reason":"stop"}]}`, usage.Usage{Finish: "stop", PromptFilter: "violence low, jailbreak detected"}},
	"azure, old name":           {`{"prompt_annotations":[{"content_filter_results":{"sexual":{"filtered":true,"severity":"medium"}}}]}`, usage.Usage{PromptFilter: "sexual medium filtered"}},
	"azure, prompt blocked":     {`{"error":{"message":"The response was filtered","type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation","content_filter_result":{"hate":{"filtered":false,"severity":"safe"},"jailbreak":{"filtered":true,"detected":true},"violence":{"filtered":true,"severity":"medium"}}}}}`, usage.Usage{Finish: "content_filter", PromptFilter: "jailbreak detected filtered, violence medium filtered"}},
	"azure, published spelling": {`{"error":{"code":"content_filter","innererror":{"code":"ResponsibleAIPolicyViolation","content_filter_results":{"violence":{"filtered":true,"severity":"high"}}}}}`, usage.Usage{Finish: "content_filter", PromptFilter: "violence high filtered"}},
	"azure, filter did not run": {`{"choices":[{"content_filter_results":{"error":{"code":"content_filter_error","message":"down"}},"finish_reason":"stop"}]}`, usage.Usage{Finish: "stop", AnswerFilter: "error"}},
	"azure, responses":          {`{"object":"response","status":"completed","content_filters":[{"blocked":false,"source_type":"prompt","content_filter_results":{"jailbreak":{"detected":true,"filtered":false}}},{"blocked":false,"source_type":"completion","content_filter_results":{"hate":{"filtered":false,"severity":"low"}}}]}`, usage.Usage{Finish: "completed", PromptFilter: "jailbreak detected", AnswerFilter: "hate low"}},
	"azure, a text as category": {`{"choices":[{"content_filter_results":{"<script>":{"filtered":true}}}]}`, usage.Usage{}},
	"azure, blocklist":          {`{"choices":[{"content_filter_results":{"custom_blocklists":{"filtered":true,"details":[{"filtered":true,"id":"b"}]}}}]}`, usage.Usage{AnswerFilter: "custom_blocklists filtered"}},

	"chat stream":                    {sse(chunk(`{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"finish_reason":null}`), delta("Hello"), delta(" usage "), chunk(`{"index":0,"delta":{},"finish_reason":"stop"}`), `{"model":"gpt-4o-mini-2024-07-18","choices":[],"usage":`+chatUsage+`}`, "[DONE]"), with(ofChat, model("gpt-4o-mini-2024-07-18", "default", "stop"))},
	"chat stream without":            {sse(delta("Hello"), chunk(`{"index":0,"delta":{},"finish_reason":"length"}`), "[DONE]"), with(usage.Usage{}, model("gpt-4o-mini-2024-07-18", "default", "length"))},
	"chat stream, blanks":            {strings.ReplaceAll(sse(`{"model": "m", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}`), "data: ", "data:"), usage.Usage{Reported: true, Input: 1, Output: 2, Model: "m"}},
	"chat stream, usage in each":     {sse(`{"model":"m","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":1}}`, `{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2}}`), usage.Usage{Reported: true, Input: 9, Output: 2, Model: "m"}},
	"chat stream, usage so far":      {sse(`{"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":9,"completion_tokens":1}}`, `{"usage":{"prompt_tokens":9,"completion_tokens":2},"choices":[{"delta":{"content":"b"}}]}`, "[DONE]"), usage.Usage{Reported: true, Input: 9, Output: 2}},
	"chat stream, usage so far, cut": {sse(`{"model":"m","choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":9,"completion_tokens":1}}`, `{"usage":{"prompt_tokens":9,"completion_tokens":2},"choices":[{"delta":{"content":"b"}}]}`), usage.Usage{Model: "m"}},
	"chat stream, cut in the usage":  {sse(`{"model":"m"}`) + `data: {"choices":[],"usage":{"prompt_tokens":9`, usage.Usage{Model: "m"}},
	"chat stream, lines":             {"data: {\"model\":\"m\",\ndata: \"usage\":{\"prompt_tokens\":1,\ndata: \"completion_tokens\":2}}\n\n", usage.Usage{Reported: true, Input: 1, Output: 2, Model: "m"}},
	"chat stream, CR":                {strings.ReplaceAll(sse(delta("a"), `{"usage":{"prompt_tokens":1,"completion_tokens":2}}`), "\n", "\r"), usage.Usage{Reported: true, Input: 1, Output: 2, Model: "gpt-4o-mini-2024-07-18", ServiceTier: "default"}},
	"chat stream, comments":          {": ping\n\n: ping\n\n" + sse(delta("a"), `{"usage":{"prompt_tokens":1,"completion_tokens":2}}`), usage.Usage{Reported: true, Input: 1, Output: 2, Model: "gpt-4o-mini-2024-07-18", ServiceTier: "default"}},
	"chat stream, not finished":      {sse(delta("a")) + `data: {"usage":{"prompt_tokens":1,"completion_tokens":2}}`, usage.Usage{Reported: true, Input: 1, Output: 2, Model: "gpt-4o-mini-2024-07-18", ServiceTier: "default"}},
	"chat stream, refusal":           {sse(chunk(`{"index":0,"delta":{"refusal":"I"},"finish_reason":null}`)), usage.Usage{Refusal: true, Model: "gpt-4o-mini-2024-07-18", ServiceTier: "default"}},
	"azure stream":                   {sse(`{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"prompt_index":0,"content_filter_results":{"hate":{"filtered":false,"severity":"low"}}}]}`, `{"choices":[{"content_filter_results":`+safe+`,"delta":{"content":"Hi"},"finish_reason":null,"index":0}],"model":"gpt-4o-2024-11-20"}`, `{"choices":[{"content_filter_results":{"violence":{"filtered":true,"severity":"high"}},"delta":{},"finish_reason":"content_filter","index":0}],"model":"gpt-4o-2024-11-20"}`, "[DONE]"), usage.Usage{Model: "gpt-4o-2024-11-20", Finish: "content_filter", PromptFilter: "hate low", AnswerFilter: "violence high filtered"}},
	"response stream":                {typed(`{"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","status":"in_progress","model":"gpt-4.1","service_tier":"auto","usage":null}}`, `{"type":"response.output_text.delta","delta":"Hi \"usage\""}`, `{"type":"response.completed","response":{"id":"resp_1","object":"response","status":"completed","model":"gpt-4.1","output":[{"content":[{"type":"output_text","text":"`+strings.Repeat(`x\"`, 9000)+`"}]}],"service_tier":"default","usage":`+responseUsage+`}}`), with(ofResponse, model("gpt-4.1", "default", "completed"))},
	"response stream, incomplete":    {typed(`{"type":"response.created","response":{"status":"in_progress","model":"m"}}`, `{"type":"response.incomplete","response":{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"usage":`+responseUsage+`}}`), with(ofResponse, model("m", "", "max_output_tokens"))},
	"response stream, failed":        {typed(`{"type":"response.created","response":{"status":"in_progress","model":"m"}}`, `{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error","message":"x"},"usage":null}}`), usage.Usage{Model: "m", Finish: "failed"}},
	"response stream, refusal":       {typed(`{"type":"response.refusal.delta","delta":"I cannot"}`), usage.Usage{Refusal: true}},
	"response stream, refusal part":  {typed(`{"type":"response.content_part.done","part":{"type":"refusal","refusal":"I"}}`, `{"type":"response.refusal.done","refusal":"I"}`), usage.Usage{Refusal: true}},
	"image stream":                   {typed(`{"type":"image_generation.partial_image","b64_json":"AAAA"}`, `{"type":"image_generation.completed","b64_json":"`+strings.Repeat("B", 70000)+`","usage":{"total_tokens":100,"input_tokens":50,"output_tokens":50,"input_tokens_details":{"text_tokens":10,"image_tokens":40}}}`), usage.Usage{Reported: true, Input: 50, Output: 50, ImageInput: 40}},
	"transcription stream":           {typed(`{"type":"transcript.text.delta","delta":"hel"}`, `{"type":"transcript.text.done","text":"hello","usage":{"type":"tokens","input_tokens":14,"input_token_details":{"text_tokens":10,"audio_tokens":4},"output_tokens":31,"total_tokens":45}}`), usage.Usage{Reported: true, Input: 14, AudioInput: 4, Output: 31}},
	"speech stream":                  {typed(`{"type":"speech.audio.delta","audio":"AAAA"}`, `{"type":"speech.audio.done","usage":{"input_tokens":14,"output_tokens":101,"total_tokens":115}}`), usage.Usage{Reported: true, Input: 14, Output: 101}},
}

func read(text string, cut func(rest int) int) usage.Usage {
	var a usage.Answer
	for text != "" {
		n := cut(len(text))
		a.Write([]byte(text[:n]))
		text = text[n:]
	}
	return a.End()
}

// However the bytes are cut, an answer says the same.
func TestWhatAnAnswerSaysIsReadExactly(t *testing.T) {
	if len(answers) < 60 {
		t.Fatalf("%d answers, want 60", len(answers))
	}
	random := rand.New(rand.NewPCG(1, 2))
	for name, a := range answers {
		cuts := map[string]func(int) int{
			"whole":  func(rest int) int { return rest },
			"bytes":  func(int) int { return 1 },
			"pieces": func(rest int) int { return 1 + random.IntN(min(rest, 97)) },
			"4 KiB":  func(rest int) int { return min(rest, 4<<10) },
		}
		for how, cut := range cuts {
			got := read(a.text, cut)
			got.ID, got.Fingerprint = "", "" // see TestAnAnswerHasAName
			if got != a.want {
				t.Errorf("%s, %s:\n got %+v\nwant %+v", name, how, got, a.want)
			}
		}
	}
}

func TestAnAnswerHasAName(t *testing.T) {
	for text, want := range map[string][2]string{
		sse(delta("a"), "[DONE]"): {"chatcmpl-1", "fp"},
		typed(`{"type":"response.created","response":{"id":"resp_1","model":"m"}}`, `{"type":"response.output_item.done","item":{"id":"msg_2"}}`, `{"type":"response.completed","response":{"id":"resp_1","output":[{"id":"msg_3"}]}}`): {"resp_1", ""},
		`{"id":"chatcmpl-2","system_fingerprint":"fp_2","choices":[{"message":{"tool_calls":[{"id":"call_1"}]}}]}`:                                                                                                                      {"chatcmpl-2", "fp_2"},
		`{"choices":[{"id":"x"}],"id":"a name that is text","system_fingerprint":"` + strings.Repeat("f", 65) + `"}`:                                                                                                                    {},
	} {
		for how, cut := range map[string]func(int) int{"whole": func(rest int) int { return rest }, "bytes": func(int) int { return 1 }} {
			if got := read(text, cut); got.ID != want[0] || got.Fingerprint != want[1] {
				t.Errorf("%s, %s: %q and %q, want %q", text, how, got.ID, got.Fingerprint, want)
			}
		}
	}
}

// Nothing that a server sends makes a list without end, or costs more than it is
// long.
func TestOutcomesAreBounded(t *testing.T) {
	var b strings.Builder
	for i := range 10000 {
		fmt.Fprintf(&b, `{"finish_reason":"reason_%d","content_filter_results":{"cat_%d":{"filtered":true}}},`, i, i)
	}
	got := read(`{"choices":[`+b.String()+`{}]}`, func(rest int) int { return rest })
	if len(got.Finish) > 300 || len(got.AnswerFilter) > 300 || got.Finish == "" || got.AnswerFilter == "" {
		t.Errorf("kept %d and %d bytes", len(got.Finish), len(got.AnswerFilter))
	}
}

func TestAChunkWithoutUsageAllocatesNothing(t *testing.T) {
	var a usage.Answer
	first, next := []byte(sse(delta("a"))), []byte(sse(delta("b"), delta("c")))
	azure := []byte(sse(`{"choices":[{"content_filter_results":` + safe + `,"delta":{"content":"Hi"},"finish_reason":null,"index":0}],"model":"gpt-4o-mini-2024-07-18"}`))
	a.Write(first)
	a.Write(azure)
	if n := testing.AllocsPerRun(100, func() { a.Write(next); a.Write(azure); a.Write(next[:40]); a.Write(next[40:]) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzAnswer(f *testing.F) {
	for _, a := range answers {
		f.Add(a.text, uint8(7))
	}
	f.Fuzz(func(t *testing.T, text string, size uint8) {
		whole := read(text, func(rest int) int { return rest })
		if cut := read(text, func(rest int) int { return min(rest, int(size)+1) }); cut != whole {
			t.Fatalf("%q: whole %+v, in pieces of %d %+v", text, whole, int(size)+1, cut)
		}
	})
}
