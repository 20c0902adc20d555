package metadata_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/internal/metadata"
	"github.com/latchkey-go/latchkey/internal/platform"
)

// dialed is a transport to a service that takes so long to accept, and then to
// answer, in memory.
func dialed(accepts, answers time.Duration) *http.Transport {
	return &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		if err := wait(ctx, accepts); err != nil {
			return nil, err
		}
		here, there := net.Pipe()
		go func() {
			defer func() { _ = there.Close() }()
			if _, err := there.Read(make([]byte, 4096)); err != nil {
				return
			}
			time.Sleep(answers)
			_, _ = there.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
		}()
		return here, nil
	}}
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Nobody there costs a second; who is there has time to answer.
func TestAProbeWaitsForWhoIsThere(t *testing.T) {
	for name, tc := range map[string]struct {
		accepts, answers, deadline, took time.Duration
		ok                               bool
	}{
		"at once":           {ok: true},
		"accepts late":      {accepts: 900 * time.Millisecond, took: 900 * time.Millisecond, ok: true},
		"answers late":      {answers: 4 * time.Second, took: 4 * time.Second, ok: true},
		"never accepts":     {accepts: time.Hour, took: time.Second},
		"never answers":     {answers: 20 * time.Second, took: 5 * time.Second},
		"the caller leaves": {accepts: time.Hour, deadline: 300 * time.Millisecond, took: 300 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				transport := dialed(tc.accepts, tc.answers)
				ctx, leave := context.WithCancel(t.Context())
				if tc.deadline != 0 {
					ctx, leave = context.WithTimeout(t.Context(), tc.deadline)
				}
				defer leave()
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+metadata.Host, http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				resp, cancel, err := metadata.Probe(ctx, transport.RoundTrip, req)
				if took := time.Since(begin); took != tc.took || (err == nil) != tc.ok {
					t.Errorf("after %v: %v", took, err)
				}
				if err == nil {
					_ = resp.Body.Close()
					cancel()
				} else if metadata.IsSilence(err) != (tc.deadline == 0) || errors.Is(err, context.DeadlineExceeded) != (tc.deadline != 0) {
					t.Errorf("got %v", err)
				}
				synctest.Wait()
				transport.CloseIdleConnections()
				time.Sleep(time.Minute)
			})
		})
	}
}

func TestTheHeaderTellsSomeClouds(t *testing.T) {
	for want, h := range map[platform.Cloud]http.Header{
		platform.Google: {"Metadata-Flavor": {"Google"}}, platform.AWS: {"Server": {"EC2ws"}}, platform.Unknown: {"Server": {"IIS"}},
	} {
		if got := metadata.Of(h); got != want {
			t.Errorf("%v: got %q, want %q", h, got, want)
		}
	}
}
