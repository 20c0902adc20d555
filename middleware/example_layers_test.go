package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"

	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
	"github.com/latchkey-go/latchkey/middleware/limit"
)

// Two endpoints. A call that the first cannot serve goes to the second, and so does a
// stream that fails before its first content.
func ExampleFailover() {
	east, west := clienttest.NewServer("sk-CANARY-east"), clienttest.NewServer("sk-CANARY-west")
	defer east.Close()
	defer west.Close()
	east.Inject(clienttest.Overloaded.InStream(0))

	// route is an endpoint: what makes a request into one of the endpoint, and Auth.
	route := func(name, key string, server *clienttest.Server, priority int) (middleware.Route, error) {
		cache, err := credential.NewCache(credential.Static(credential.NewSecret(key), credential.APIKey), nil)
		if err != nil {
			return middleware.Route{}, err
		}
		auth, err := middleware.Auth(cache, server.Origin, nil)
		host := strings.TrimPrefix(server.Origin, "http://")
		rewrite := func(next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(req *http.Request) (*http.Response, error) {
				req = req.Clone(req.Context())
				req.URL.Scheme, req.URL.Host, req.Host = "http", host, ""
				return next.RoundTrip(req)
			})
		}
		return middleware.Route{Name: name, Priority: priority, Layers: []middleware.Middleware{middleware.HoldBack(), rewrite, auth}}, err
	}
	first, err1 := route("east", "sk-CANARY-east", east, 1)
	second, err2 := route("west", "sk-CANARY-west", west, 2)
	failover, err3 := middleware.Failover([]middleware.Route{first, second}, nil)
	retry, err4 := middleware.Retry(nil)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		fmt.Println(err)
		return
	}
	observe := middleware.Observe(func(_ context.Context, s *middleware.Send) { fmt.Println("send", s.Number, "to", s.Endpoint) })
	c := &http.Client{Transport: middleware.Wrap(nil, middleware.Replay(), retry, failover, observe)}

	body := strings.NewReader(`{"model":"m","stream":true,"messages":[{"role":"user","content":"hello"}]}`)
	resp, err := c.Post("http://any.example/v1/chat/completions", "application/json", body)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
	// Unordered output:
	// send 1 to east
	// send 2 to west
	// 200 OK
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// What a stream has used, in the log and by an observer, below a ceiling.
func ExampleLimit() {
	server := clienttest.NewServer("sk-CANARY-1")
	defer server.Close()
	limits, err1 := limit.New([]limit.Limit{{Name: "share", Per: limit.Minute, Tokens: 10_000}},
		&limit.Options{WorstInput: 5000, WorstOutput: 1000}) // where a request does not tell
	cache, err2 := credential.NewCache(credential.Static(credential.NewSecret("sk-CANARY-1"), credential.APIKey), nil)
	if err := errors.Join(err1, err2); err != nil {
		fmt.Println(err)
		return
	}
	auth, err := middleware.Auth(cache, server.Origin, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		switch a.Key {
		case "msg", "status", "stream":
			return a // the others differ from run to run
		}
		return slog.Attr{}
	}}))
	// A layer of the program's own finds the record of the send.
	number := func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			fmt.Println("send", middleware.SendFrom(req.Context()).Number)
			return next.RoundTrip(req)
		})
	}
	c := &http.Client{Transport: middleware.Wrap(nil,
		middleware.IncludeUsage(), auth, middleware.Limit(limits), middleware.Log(logger, nil),
		middleware.ObserveIf(func(context.Context) bool { return true }, func(_ context.Context, s *middleware.Send) {
			fmt.Println("tokens reported:", s.Usage.Reported)
		}),
		number)}

	body := strings.NewReader(`{"model":"m","stream":true,"max_tokens":100,"messages":[{"role":"user","content":"hello"}]}`)
	resp, err := c.Post(server.URL+"chat/completions", "application/json", body)
	if err != nil {
		fmt.Println(err)
		return
	}
	for buf := make([]byte, 512); err == nil; {
		_, err = resp.Body.Read(buf)
	}
	resp.Body.Close()
	// Unordered output:
	// send 1
	// msg="openai request" status=200 stream=true
	// tokens reported: true
}
