package middleware

import (
	"cmp"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/latchkey-go/latchkey/internal/usage"
	"github.com/latchkey-go/latchkey/internal/wire"
)

// Usage is what the answer to a send says of itself. It is read out of JSON and
// out of event streams while they pass to the caller, of chat completions,
// completions, responses, embeddings, images, speech and transcriptions. Nothing
// in it is an estimate, and there is no word of a prompt or an answer in it.
//
// https://platform.openai.com/docs/api-reference
type Usage struct {
	// Reported says that the answer told how much it used. Without it the counts
	// are zero and say nothing: a chat completion that is streamed reports its
	// usage only if the request asks for it (see [IncludeUsage]), and an answer
	// that was cut short, or is compressed at the caller's own wish, does not
	// report any.
	Reported bool
	// Input and Output are all tokens of the model, those of the following fields
	// included.
	Input, Output int64
	// CachedInput is how many input tokens came from the prompt cache, and
	// CacheWrite how many were put into it.
	CachedInput, CacheWrite int64
	// Reasoning is how many output tokens the caller does not see.
	Reasoning int64
	// AudioInput, AudioOutput, ImageInput and ImageOutput are tokens that stand for
	// audio and for images.
	AudioInput, AudioOutput, ImageInput, ImageOutput int64
	// OtherInput and OtherOutput are tokens of other models that took part: that
	// of the image generation tool, and the one that writes an SVG. They are not in
	// Input and Output.
	OtherInput, OtherOutput int64
	// Seconds is the length of the audio, for models that are paid by it.
	Seconds float64
	// Model and ServiceTier are what answered, in the service's words.
	Model, ServiceTier string
	// ID is the service's name for the answer ("chatcmpl-..."), and Fingerprint
	// its system_fingerprint. Each is empty if the answer has none.
	ID, Fingerprint string
	// Finish is why the model stopped, in the service's words: "stop", "length" or
	// "content_filter", for example. It is the finish_reason of a completion, with
	// those of several choices separated by ", "; the reason of an incomplete
	// response, or the status of another one. It is "content_filter" also for a
	// prompt that Azure has blocked.
	Finish string
	// Refusal says that the model refused to answer.
	Refusal bool
	// PromptFilter and AnswerFilter are the categories in which the content filter
	// of Azure has found something, separated by ", ": "violence medium
	// filtered" or "jailbreak detected", for example. "error" says that the filter did not
	// run.
	//
	// https://learn.microsoft.com/azure/ai-foundry/openai/concepts/content-filter
	PromptFilter, AnswerFilter string
}

// An answerScan reads the usage out of the body of an answer.
type answerScan struct {
	answer usage.Answer
	busy   atomic.Bool // a read is at it, or it has ended
	opaque bool        // the body is compressed
}

// begin looks at the header of an answer.
func (a *answerScan) begin(resp *http.Response, o *observer) {
	a.answer.Intern(o.intern)
	encoding := first(resp.Header, "Content-Encoding")
	a.opaque = resp.StatusCode < 300 && encoding != "" && !strings.EqualFold(encoding, "identity")
}

func (a *answerScan) write(p []byte) {
	if !a.opaque && a.busy.CompareAndSwap(false, true) {
		a.answer.Write(p)
		a.busy.Store(false)
	}
}

// end puts what was found into s: what the answer used, and the error that a
// stream has reported although its status is a success. If another goroutine
// closes the body while it is read, nothing is.
func (a *answerScan) end(s *Send, secrets *sentSecrets) {
	if !a.busy.CompareAndSwap(false, true) {
		return
	}
	s.Usage = Usage(a.answer.End())
	if code, failed := a.answer.Failure(); failed && s.Err == nil && s.Status/100 == 2 {
		s.Err = errorInStream(wire.Error{Code: cmp.Or(secrets.text(code), "no code")})
	}
	for _, text := range [...]*string{&s.Usage.Model, &s.Usage.ServiceTier, &s.Usage.ID, &s.Usage.Fingerprint, &s.Usage.Finish, &s.Usage.PromptFilter, &s.Usage.AnswerFilter} {
		if *text != "" {
			*text = secrets.text(*text)
		}
	}
}
