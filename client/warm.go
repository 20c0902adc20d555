package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"time"
)

// warmTimeout bounds the HEAD request of Warm, which may outlive it.
const warmTimeout = 30 * time.Second

// Warm prepares the first call: it reads the credential, and meanwhile opens
// a connection with a HEAD request for the origin that carries no credential;
// any status will do. Over HTTP/2 it does not wait for the answer, which ends
// within 30 seconds or with ctx. Call it while a function starts. It returns
// the errors of both; a call may well succeed after one.
func (c *Client) Warm(ctx context.Context) error {
	if c.transport == nil {
		return errZeroClient
	}
	opened := make(chan error, 2)
	go func() { opened <- c.open(ctx, opened) }()
	_, err := c.provider.Retrieve(ctx)
	if c.gateway != nil {
		_, gatewayErr := c.gateway.Retrieve(ctx)
		err = errors.Join(err, gatewayErr)
	}
	return errors.Join(err, <-opened)
}

// open also tells opened of a connection that takes the first call while the
// answer to the HEAD is still under way.
func (c *Client) open(ctx context.Context, opened chan<- error) error {
	ctx, cancel := context.WithTimeout(ctx, warmTimeout)
	defer cancel()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if conn, ok := info.Conn.(*tls.Conn); ok && conn.ConnectionState().NegotiatedProtocol == "h2" {
			select {
			case opened <- nil:
			default: // told before
			}
		}
	}})
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, c.base.origin+"/", nil)
	if err != nil {
		return fmt.Errorf("client: warm: %w", err)
	}
	resp, err := c.dial().RoundTrip(req)
	if err != nil {
		return fmt.Errorf("client: warm: open a connection to %s: %w", c.base.origin, err)
	}
	_ = resp.Body.Close() // of a HEAD: empty
	return nil
}
