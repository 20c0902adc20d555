package middleware

import "net/http"

// A Middleware wraps a round tripper in a layer. It is an alias, so any
// function of that shape is one.
//
// A layer keeps the contract of [http.RoundTripper]: it does not change the
// caller's request, it closes its body on every path, and it is safe for
// concurrent use.
type Middleware = func(http.RoundTripper) http.RoundTripper

// Wrap puts the layers around base, mw[0] outermost. Nil layers are passed
// over. A nil base is [http.DefaultTransport], which Wrap never changes.
//
// Most users will use package client instead, which builds a transport of its
// own and orders the layers.
func Wrap(base http.RoundTripper, mw ...Middleware) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	for i := len(mw) - 1; i >= 0; i-- {
		if mw[i] != nil {
			base = mw[i](base)
		}
	}
	return base
}

// closeBody closes the body of a request that a layer refuses to send.
func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}
