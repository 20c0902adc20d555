package usage

import "strconv"

// Parameters are what a request asks for besides its content.
type Parameters struct {
	// Set says which of the numbers the request has.
	Set ParameterSet
	// MaxTokens is max_tokens or one of its later names, and Choices is n.
	MaxTokens, Choices, Seed, Dimensions int64

	Temperature, TopP, FrequencyPenalty, PresencePenalty float64
	// Stream says that the answer is to be a stream.
	Stream bool
	// Model, ServiceTier, Encoding (of embeddings) and Format (of the answer) are
	// empty if the request does not have them. They are valid until Reset.
	Model, ServiceTier, Encoding, Format []byte
}

// A ParameterSet is a set of the numbers of [Parameters].
type ParameterSet uint16

// The numbers that a request may have.
const (
	HasMaxTokens ParameterSet = 1 << iota
	HasChoices
	HasSeed
	HasDimensions
	HasTemperature
	HasTopP
	HasFrequencyPenalty
	HasPresencePenalty
)

// A ParameterScan reads Parameters out of a JSON body. The zero value is ready. It
// is not safe for concurrent use.
type ParameterScan struct {
	json scanner
	got  parameters
}

// Reset makes the scan ready for another body.
func (r *ParameterScan) Reset() {
	r.json.begin()
	r.got.Parameters = Parameters{}
}

// Write takes the next bytes.
func (r *ParameterScan) Write(p []byte) { r.json.scan(p, &r.got) }

// End returns what the body said so far.
func (r *ParameterScan) End() *Parameters { return &r.got.Parameters }

type parameters struct {
	Parameters

	room [4][maxKept]byte
	n    bool // the member is "n", and not "best_of"
}

func (a *parameters) begin(c *scanner) { a.n = string(c.kept[:c.length]) == "n" }

func (*parameters) element(*scanner) {}
func (*parameters) leave(*scanner)   {}

func (a *parameters) word(c *scanner, w []byte) {
	p, ok := c.place()
	if !ok || c.depth != 1 {
		return
	}
	switch p[0] {
	case streaming:
		a.Stream = string(w) == "true"
	case maxOutput:
		a.integer(w, &a.MaxTokens, HasMaxTokens)
	case choiceCount:
		if !a.n {
			return
		}
		a.integer(w, &a.Choices, HasChoices)
	case seed:
		a.integer(w, &a.Seed, HasSeed)
	case dimensions:
		a.integer(w, &a.Dimensions, HasDimensions)
	case temperature:
		a.number(w, &a.Temperature, HasTemperature)
	case topP:
		a.number(w, &a.TopP, HasTopP)
	case frequencyPenalty:
		a.number(w, &a.FrequencyPenalty, HasFrequencyPenalty)
	case presencePenalty:
		a.number(w, &a.PresencePenalty, HasPresencePenalty)
	}
}

func (a *parameters) integer(w []byte, to *int64, is ParameterSet) {
	if n, err := strconv.ParseInt(string(w), 10, 64); err == nil {
		*to, a.Set = n, a.Set|is
	}
}

func (a *parameters) number(w []byte, to *float64, is ParameterSet) {
	if f, err := strconv.ParseFloat(string(w), 64); err == nil {
		*to, a.Set = f, a.Set|is
	}
}

func (a *parameters) text(c *scanner, t []byte, whole bool) {
	p, ok := c.place()
	if !ok || !whole {
		return
	}
	var to *[]byte
	n := 0
	switch {
	case c.depth == 1 && p[0] == model:
		to, n = &a.Model, 0
	case c.depth == 1 && p[0] == serviceTier:
		to, n = &a.ServiceTier, 1
	case c.depth == 1 && p[0] == encoding:
		to, n = &a.Encoding, 2
	case p == [3]name{responseFormat, kind}, p == [3]name{other, format, kind} && c.depth == 3:
		to, n = &a.Format, 3
	default:
		return
	}
	*to = a.room[n][:copy(a.room[n][:], t)]
}
