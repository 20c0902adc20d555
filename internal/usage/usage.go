// Package usage reads out of an answer of the API what the call has used, while
// the bytes pass. It keeps a fixed amount, whatever the answer holds, and changes
// none of them.
//
// It knows chat completions, completions, responses, embeddings, images, speech
// and transcriptions, as JSON and as event streams, of OpenAI and Azure OpenAI.
package usage

// Usage is what an answer says of itself. A service that tells no number tells
// none: nothing here is an estimate.
type Usage struct {
	// Reported says that the answer told how much it used. Otherwise the counts
	// are zero and say nothing.
	Reported bool
	// Input and Output count all tokens of the model, those below included.
	Input, Output int64
	// CachedInput and CacheWrite are the input tokens that came from the prompt
	// cache, and those that were put into it.
	CachedInput, CacheWrite int64
	// Reasoning is the output tokens that the caller does not see.
	Reasoning int64
	// The tokens of audio and of images.
	AudioInput, AudioOutput, ImageInput, ImageOutput int64
	// OtherInput and OtherOutput are tokens of other models that took part.
	OtherInput, OtherOutput int64
	// Seconds is the length of audio, for models that are paid by it.
	Seconds float64
	// Model and ServiceTier are what answered.
	Model, ServiceTier string
	// ID is the service's name for the answer, and Fingerprint that of the system
	// behind it.
	ID, Fingerprint string
	// Finish is why the model stopped.
	Finish string
	// Refusal says that the model refused to answer.
	Refusal bool
	// PromptFilter and AnswerFilter are what the content filter found.
	PromptFilter, AnswerFilter string
}

// An Answer follows one answer. The zero value is ready. It is not safe for
// concurrent use.
type Answer struct {
	found  values
	form   form
	json   scanner
	stream *stream
}

// A form is what the first byte of an answer tells of it.
type form uint8

const (
	unknownForm form = iota
	jsonForm
	streamForm
	otherForm
)

// Intern makes f make the strings of an answer that come with many: its model, its
// tier, its end. It must be called before Write; f must be safe for concurrent use if
// it has several answers.
func (a *Answer) Intern(f func(text []byte) string) { a.found.intern = f }

// Write takes the next bytes.
func (a *Answer) Write(p []byte) {
	if a.form == unknownForm {
		p = a.sniff(p)
	}
	switch a.form {
	case jsonForm:
		a.json.scan(p, &a.found)
	case streamForm:
		a.stream.write(p, &a.found)
	}
}

// Failure reports whether an event of a stream says that the service failed, and
// the code of the error or else its type, if that is a word of a protocol.
// Call it after End.
func (a *Answer) Failure() (code string, failed bool) {
	return a.found.code, a.found.failed && a.form == streamForm
}

// Stream reports whether the answer is an event stream, as far as it has come.
func (a *Answer) Stream() bool { return a.form == streamForm }

// sniff decides by the first bytes: the media types of gateways are not to be
// relied on. It returns what is left of p.
func (a *Answer) sniff(p []byte) []byte {
	for i, c := range p {
		switch c {
		case ' ', '\t', '\r', '\n', 0xef, 0xbb, 0xbf: // the last three are a byte order mark
			continue
		case '{':
			a.form = jsonForm
		case ':', 'd', 'e', 'i', 'r':
			a.form, a.stream = streamForm, newStream(&a.json)
		default:
			a.form = otherForm
		}
		return p[i:]
	}
	return nil
}

// End returns what the answer said, after its last byte. Of an answer that was
// cut there are no counts: some services send what was used so far with each part
// of a stream.
func (a *Answer) End() Usage {
	u := &a.found.Usage
	whole := a.json.state == over
	if a.form == streamForm {
		whole = a.stream.end(&a.found)
	}
	if !whole {
		*u = Usage{Model: u.Model, ServiceTier: u.ServiceTier, ID: u.ID, Fingerprint: u.Fingerprint, Finish: u.Finish, Refusal: u.Refusal, PromptFilter: u.PromptFilter, AnswerFilter: u.AnswerFilter}
	}
	return *u
}
