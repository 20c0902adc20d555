// Package metadata is for requests to the metadata services of virtual machines,
// all of which have the same address. Whether to send one at all is for package
// platform to say.
package metadata

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"time"

	"github.com/latchkey-go/latchkey/internal/leaf"
	"github.com/latchkey-go/latchkey/internal/platform"
)

// Host is the address of the metadata services.
const Host = "169.254.169.254"

const (
	// probeTime is how long a machine that nothing is known of has to show that
	// somebody is there at the address.
	probeTime = time.Second
	// answerTime is how long a server that is there has to answer.
	answerTime = 5 * time.Second
)

// A Silence is the error of a probe that nobody has answered. That nobody is
// there is a guess: the network may be slow, or down.
type Silence struct{ text string }

// Error says how long the probe has waited, if it was that long.
func (s *Silence) Error() string { return s.text }

// Probe sends req to an address where a metadata service may be, and returns the
// answer. It waits a second for a connection, longer for the answer of one who
// has accepted it, and never longer than ctx. The caller closes the body, and
// calls cancel afterwards.
//
// The error is a [*Silence], or the cause of the end of ctx.
func Probe(ctx context.Context, do func(*http.Request) (*http.Response, error), req *http.Request) (resp *http.Response, cancel func(), err error) {
	short, stop := context.WithCancel(ctx)
	late := time.AfterFunc(probeTime, stop)
	cancel = func() {
		late.Stop()
		stop()
	}
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { late.Reset(answerTime) }}
	resp, err = do(req.WithContext(httptrace.WithClientTrace(short, trace)))
	if err == nil {
		return resp, cancel, nil
	}
	defer cancel()
	refused := (*leaf.Refused)(nil)
	switch {
	case ctx.Err() != nil:
		return nil, nil, context.Cause(ctx)
	case errors.As(err, &refused):
		return nil, nil, &Silence{"what answers at " + req.URL.Host + " is no metadata service: " + refused.Error()}
	case short.Err() != nil:
		return nil, nil, &Silence{fmt.Sprintf("nothing answers at %s within %v", req.URL.Host, probeTime)}
	}
	return nil, nil, &Silence{"nothing answers at " + req.URL.Host}
}

// IsSilence reports whether err is a [*Silence].
func IsSilence(err error) bool {
	s := (*Silence)(nil)
	return errors.As(err, &s)
}

// Of returns the cloud whose metadata service an answer is from, by its header;
// Unknown if the header does not tell, as in Azure.
func Of(h http.Header) platform.Cloud {
	switch {
	case h.Get("Metadata-Flavor") == "Google":
		return platform.Google
	case h.Get("Server") == "EC2ws":
		return platform.AWS
	}
	return platform.Unknown
}
