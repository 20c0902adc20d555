package audit

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

// The kinds of lines.
const (
	kindStart      = "start"      // a process begins to write
	kindCredential = "credential" // an event of a Cache
	kindSend       = "send"
	kindDropped    = "dropped"    // records that did not fit the queue, or could not be written
	kindCheckpoint = "checkpoint" // a signature on all lines before
	kindEnd        = "end"        // the process has closed the log
)

// A line is one record. Sig is the last field: it signs the bytes before it.
type line struct {
	N       int64  `json:"n"`
	Prev    string `json:"prev"`
	Time    string `json:"time"`
	Kind    string `json:"kind"`
	Process string `json:"process"`

	Event       string `json:"event,omitempty"`
	Tenant      string `json:"tenant,omitempty"`
	Source      string `json:"source,omitempty"`
	Version     string `json:"version,omitempty"`
	Fingerprint string `json:"fingerprint,omitempty"`
	Expires     string `json:"expires,omitempty"`
	Error       string `json:"error,omitempty"`

	Send    *sendLine `json:"send,omitempty"`
	Dropped int64     `json:"dropped,omitempty"`
	KeyID   string    `json:"key,omitempty"`
	Sig     string    `json:"sig,omitempty"`
}

// A sendLine is what a line tells of a send.
type sendLine struct {
	Number             int    `json:"number"`
	Reason             string `json:"reason,omitempty"`
	Endpoint           string `json:"endpoint,omitempty"`
	Method             string `json:"method,omitempty"`
	Host               string `json:"host,omitempty"`
	Path               string `json:"path,omitempty"`
	Model              string `json:"model,omitempty"`
	AnsweredBy         string `json:"answered_by,omitempty"`
	Stream             bool   `json:"stream,omitempty"`
	Status             int    `json:"status,omitempty"`
	RequestID          string `json:"request_id,omitempty"`
	Refused            bool   `json:"refused,omitempty"`
	GatewaySource      string `json:"gateway_source,omitempty"`
	GatewayVersion     string `json:"gateway_version,omitempty"`
	GatewayFingerprint string `json:"gateway_fingerprint,omitempty"`
	GatewayRefused     bool   `json:"gateway_refused,omitempty"`
	Finish             string `json:"finish,omitempty"`
	Reported           bool   `json:"usage,omitempty"`
	Input              int64  `json:"input_tokens,omitempty"`
	CachedInput        int64  `json:"cached_tokens,omitempty"`
	Output             int64  `json:"output_tokens,omitempty"`
	Reasoning          int64  `json:"reasoning_tokens,omitempty"`
	Milliseconds       int64  `json:"ms"`
}

// A record is what waits in the queue: one of the two.
type record struct {
	event *credential.Event
	send  *middleware.Send
}

// line fills all but the fields of the chain.
func (r record) line(prints *fingerprints) line {
	if e := r.event; e != nil {
		l := line{
			Time: stamp(e.Time), Kind: kindCredential, Event: string(e.Kind), Tenant: cut(e.Tenant),
			Source: cut(e.Source), Version: cut(e.Version), Fingerprint: prints.of(e.Tenant, e.Source, e.Version),
		}
		if !e.Expires.IsZero() {
			l.Expires = stamp(e.Expires)
		}
		if e.Err != nil {
			l.Error = cut(e.Err.Error())
		}
		return l
	}
	s := r.send
	l := line{
		Time: stamp(s.Started), Kind: kindSend, Tenant: cut(s.Credential.Tenant),
		Source: cut(s.Credential.Source), Version: cut(s.Credential.Version), Fingerprint: prints.of(s.Credential.Tenant, s.Credential.Source, s.Credential.Version),
		Send: &sendLine{
			Number: s.Number, Reason: string(s.Reason), Endpoint: cut(s.Endpoint), Method: cut(s.Method), Host: cut(s.Host), Path: cut(s.Path),
			Model: cut(s.Model), AnsweredBy: cut(s.Usage.Model), Stream: s.Stream, Status: s.Status, RequestID: cut(s.RequestID), Refused: s.Credential.Refused,
			GatewaySource: cut(s.Gateway.Source), GatewayVersion: cut(s.Gateway.Version), GatewayFingerprint: prints.of(s.Gateway.Tenant, s.Gateway.Source, s.Gateway.Version),
			GatewayRefused: s.Gateway.Refused, Finish: cut(s.Usage.Finish), Reported: s.Usage.Reported, Input: s.Usage.Input, CachedInput: s.Usage.CachedInput,
			Output: s.Usage.Output, Reasoning: s.Usage.Reasoning, Milliseconds: s.Ended.Sub(s.Started).Milliseconds(),
		},
	}
	if s.Err != nil {
		l.Error = cut(s.Err.Error())
	}
	return l
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// maxText bounds what of a text from outside is written, in bytes.
const maxText = 512

func cut(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxText)], "?") }

// encode returns the line with its end.
func (l *line) encode() ([]byte, error) {
	b, err := json.Marshal(l)
	return append(b, '\n'), err
}
