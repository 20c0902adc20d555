package openaiworkload

import (
	"io"
	"net/http"

	"github.com/latchkey-go/latchkey/internal/leaf"
)

const maxBody = 64 << 10

// webClient carries the exchange.
func webClient(o *Options) *http.Client {
	return leaf.HTTP{Transport: o.Transport, MaxAnswer: maxBody}.Client()
}

// platformClient carries the questions for a subject token. It has no proxy:
// the address means another machine there.
func platformClient(o *Options) *http.Client {
	return leaf.HTTP{Transport: o.Transport, MaxAnswer: maxBody, Plain: leaf.Nearby, NoProxy: true}.Client()
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

// do sends req and reads the whole answer. The fault is in words of our own:
// net/http quotes malformed answers in its errors, and those may repeat the
// token.
func do(client *http.Client, req *http.Request, op string) (answer, error) {
	resp, err := client.Do(req) //nolint:bodyclose // read closes it
	if err != nil {
		return answer{}, failed(req, op, err)
	}
	return read(resp, req, op)
}

func failed(req *http.Request, op string, err error) error {
	f := leaf.Hints{Authority: "add the authority of an inspecting proxy to the machine's trusted ones, or set Transport"}.Explain(err, req.URL.Hostname())
	return &fault{op: op, err: f.Err, hint: f.Hint, transient: f.Transient}
}

// read reads the whole answer.
func read(resp *http.Response, req *http.Request, op string) (answer, error) {
	defer func() { _ = resp.Body.Close() }() // read only
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, failed(req, op, err)
	}
	return answer{status: resp.StatusCode, header: resp.Header, body: body}, nil
}
