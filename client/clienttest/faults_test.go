package clienttest_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/client/clienttest"
)

func TestAFaultReplacesOrShapesTheAnswerOnEveryWire(t *testing.T) {
	big := strings.Repeat("ab", 50_000)
	for _, c := range []struct {
		name  string
		fault clienttest.Fault
		body  string
		check func(answer) bool
	}{
		{"status", clienttest.Fault{Status: 503}, chatBody, func(a answer) bool { return a.status == 503 && a.body == "" }},
		{"impossible status", clienttest.Fault{Status: 42}, chatBody, func(a answer) bool { return a.status == 500 }},
		{"body and header", clienttest.Fault{Status: 200, Body: "<html>", Header: http.Header{"content-type": {"text/html"}, "X-A": {"1", "2"}}}, chatBody, func(a answer) bool {
			return a.status == 200 && a.body == "<html>" && a.header.Get("Content-Type") == "text/html" && len(a.header["X-A"]) == 2
		}},
		{"header on a usual answer", clienttest.Fault{Header: http.Header{"X-Should-Retry": {"false"}}}, chatBody, func(a answer) bool {
			return a.status == 200 && strings.Contains(a.body, "echo: one two") && a.header.Get("X-Should-Retry") == "false"
		}},
		{"redirect", clienttest.Fault{Redirect: "https://evil.example/"}, chatBody, func(a answer) bool { return a.status == 307 && a.header.Get("Location") == "https://evil.example/" }},
		{"other redirect", clienttest.Fault{Status: 302, Redirect: "/x"}, chatBody, func(a answer) bool { return a.status == 302 && a.header.Get("Location") == "/x" }},
		{"big body", clienttest.Fault{Body: "ab", BodyBytes: 100_000}, chatBody, func(a answer) bool { return a.body == big }},
		{"big zeros", clienttest.Fault{Status: 500, BodyBytes: 100_001}, chatBody, func(a answer) bool { return a.status == 500 && a.body == strings.Repeat("\x00", 100_001) }},
		{"huge header", clienttest.Fault{HeaderBytes: 60_000}, chatBody, func(a answer) bool { return a.status == 200 && len(a.header.Get("X-Filler")) == 60_000 }},
		{"key echo", clienttest.Fault{EchoKey: true}, chatBody, func(a answer) bool {
			return a.status == 401 && strings.Contains(a.body, key1) && a.header.Get("X-Echo-Key") == key1 && strings.Contains(a.header.Get("Www-Authenticate"), key1)
		}},
		{"gzip", clienttest.Fault{Gzip: true}, chatBody, func(a answer) bool {
			return a.header.Get("Content-Encoding") == "gzip" && strings.Contains(gunzip(a.body), "echo: one two")
		}},
		{"gzip bomb", clienttest.Fault{Gzip: true, BodyBytes: 4 << 20}, chatBody, func(a answer) bool { return len(a.body) < 8<<10 && len(gunzip(a.body)) == 4<<20 }},
		{"gzip stream", clienttest.Fault{Gzip: true}, streamBody, func(a answer) bool { return strings.HasSuffix(gunzip(a.body), "data: [DONE]\n\n") }},
		{"malformed stream", clienttest.Fault{Malformed: true}, streamBody, func(a answer) bool {
			return a.status == 200 && strings.Contains(a.body, "data: not JSON\n\n") && a.header.Get("Content-Type") == "text/event-stream"
		}},
		{"cut bytes", clienttest.Fault{CutAfter: 7}, chatBody, func(a answer) bool { return a.body == `{"id":"` && a.err == nil }},
		{"cut events", clienttest.Fault{CutAfter: 2}, streamBody, func(a answer) bool { return strings.Count(a.body, "\n\n") == 2 && a.err == nil }},
		{"cut at once", clienttest.Fault{CutAfter: -1}, streamBody, func(a answer) bool { return a.status == 200 && a.body == "" && a.err == nil }},
		{"cut zipped", clienttest.Fault{CutAfter: 7, Gzip: true}, chatBody, func(a answer) bool { return gunzip(a.body) == `{"id":"` }},
		{"cut beyond the end", clienttest.Fault{CutAfter: 1 << 20}, streamBody, func(a answer) bool { return strings.HasSuffix(a.body, "data: [DONE]\n\n") }},
		{"cut before a reset", clienttest.Fault{CutAfter: 3, ResetAfter: 5}, chatBody, func(a answer) bool { return len(a.body) == 3 && a.err == nil }},
		{"reset after bytes", clienttest.Fault{ResetAfter: 7}, chatBody, func(a answer) bool { return a.body == `{"id":"` && a.err != nil }},
		{"reset after events", clienttest.Fault{ResetAfter: 2}, streamBody, func(a answer) bool { return strings.Count(a.body, "\n\n") == 2 && a.err != nil }},
		{"reset after headers", clienttest.Fault{ResetAfter: -1}, streamBody, func(a answer) bool { return a.status == 200 && a.body == "" && a.err != nil }},
		{"scripted stream", clienttest.Fault{Body: ": ping\n\n", Header: http.Header{"Content-Type": {"text/event-stream"}}, Endless: true, CutAfter: 9}, streamBody, func(a answer) bool { return a.body == strings.Repeat(": ping\n\n", 9) }},
		{"drip", clienttest.Fault{DripEvery: time.Microsecond}, chatBody, func(a answer) bool { return strings.Contains(a.body, "echo: one two") }},
	} {
		for _, p := range places(t) {
			p.svc.Inject(c.fault)
			a, err := send(p.rt, p.post(t, chatPath, c.body))
			if err != nil || !c.check(a) {
				t.Errorf("%s, %s: status %d, %d bytes, body error %v; error %v", c.name, p.name, a.status, len(a.body), a.err, err)
			}
			// The next request is a usual one.
			if a := mustSend(t, p.rt, p.post(t, chatPath, chatBody)); a.status != 200 || !strings.HasSuffix(a.body, "}") {
				t.Errorf("%s, %s: then %d", c.name, p.name, a.status)
			}
			if got := p.svc.Stats(); got.Faults != 1 || got.Requests != 2 {
				t.Errorf("%s, %s: %+v", c.name, p.name, got)
			}
		}
	}
}

func gunzip(s string) string {
	r, err := gzip.NewReader(strings.NewReader(s))
	if err != nil {
		return err.Error()
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func TestAResetIsAnErrorOfTheRoundTrip(t *testing.T) {
	for _, p := range places(t) {
		p.svc.Inject(clienttest.Fault{Reset: true})
		// A POST: net/http would send a GET again.
		_, err := send(p.rt, p.post(t, chatPath, chatBody))
		if err == nil || p.name != "http2" && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: %v", p.name, err)
		}
	}
}

func TestAWrongContentLengthBreaksTheBody(t *testing.T) {
	for _, p := range places(t)[1:] {
		p.svc.Inject(clienttest.Fault{Body: "{}", Header: http.Header{"Content-Length": {"9"}}})
		a, err := send(p.rt, p.post(t, chatPath, chatBody))
		if err != nil || a.body != "{}" || a.err == nil {
			t.Errorf("%s: %q, %v, %v", p.name, a.body, a.err, err)
		}
	}
}

func TestAMalformedAnswerIsNoHTTP(t *testing.T) {
	for _, p := range places(t) {
		p.svc.Inject(clienttest.Fault{Malformed: true})
		a, err := send(p.rt, p.post(t, chatPath, chatBody))
		if p.name == "http1" && err == nil || p.name != "http1" && !strings.HasSuffix(a.body, "[{") {
			t.Errorf("%s: %v, %q", p.name, err, a.body)
		}
	}
}

func TestAFaultAppliesToItsPathAndAsOftenAsItSays(t *testing.T) {
	for times, want := range map[int]int{0: 1, 1: 1, 3: 3, -1: 5} {
		svc := clienttest.NewService(key1)
		svc.Inject(clienttest.Fault{Status: 500, Path: "/embeddings", Times: times})
		svc.Inject(clienttest.Fault{Status: 503, Path: "/completions", Times: times})
		hit := 0
		for range 5 {
			if a := mustSend(t, svc, newRequest(t, "GET", base+"/v1/models", "", "Authorization: Bearer "+key1)); a.status != 200 {
				t.Errorf("times %d: another path got %d", times, a.status)
			}
			if a := mustSend(t, svc, newRequest(t, "POST", base+chatPath, chatBody, "Authorization: Bearer "+key1)); a.status == 503 {
				hit++
			}
		}
		if hit != want {
			t.Errorf("times %d: %d requests of 5", times, hit)
		}
		svc.Inject(clienttest.Fault{Status: 500, Times: -1})
		svc.ClearFaults()
		if got := status(t, svc, key1); got != 200 {
			t.Errorf("after ClearFaults: %d", got)
		}
	}
}

func TestFaultsApplyInTheirOrder(t *testing.T) {
	svc := clienttest.NewService(key1)
	header := http.Header{"X-A": {"1"}}
	svc.Inject(clienttest.Fault{Status: 500, Times: 2})
	svc.Inject(clienttest.Fault{Status: 429, Header: header})
	header.Set("X-A", "changed")
	for i, want := range []int{500, 500, 429, 200} {
		a := mustSend(t, svc, newRequest(t, "GET", base+"/v1/models", "", "Authorization: Bearer "+key1))
		if a.status != want || want == 429 && a.header.Get("X-A") != "1" {
			t.Errorf("request %d: %d, want %d", i, a.status, want)
		}
	}
}

func TestAnEndlessBodyEndsWithItsReader(t *testing.T) {
	for _, p := range places(t) {
		p.svc.Inject(clienttest.Fault{Endless: true})
		resp, err := p.rt.RoundTrip(p.post(t, chatPath, chatBody))
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 4<<20))
		if resp.Body.Close(); err != nil || n != 4<<20 {
			t.Errorf("%s: %d bytes, %v", p.name, n, err)
		}
	}
}

func TestAHangEndsWithTheClient(t *testing.T) {
	for _, p := range places(t) {
		p.svc.SetJournal(true)
		p.svc.Inject(clienttest.Fault{Hang: true})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := send(p.rt, p.post(t, chatPath, chatBody).WithContext(ctx))
			done <- err
		}()
		for len(p.svc.Requests()) == 0 { // until it has arrived
			select {
			case err := <-done:
				t.Fatalf("%s: did not hang: %v", p.name, err)
			default:
				runtime.Gosched()
			}
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", p.name, err)
		}
	}
}

func TestDelaysPassBeforeTheHeadersAndBetweenEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := clienttest.NewService(key1)
		svc.Inject(clienttest.Fault{Delay: time.Minute, DripEvery: time.Second})
		start := time.Now()
		resp, err := svc.RoundTrip(newRequest(t, "POST", base+chatPath, streamBody, "Authorization: Bearer "+key1))
		if err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d != time.Minute {
			t.Errorf("headers after %v", d)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		n := bytes.Count(body, []byte("\n\n"))
		if d := time.Since(start) - time.Minute; err != nil || n < 5 || d != time.Duration(n)*time.Second {
			t.Errorf("%d events in %v, %v", n, d, err)
		}

		svc.Inject(clienttest.Fault{Delay: time.Hour})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		_, err = send(svc, newRequest(t, "POST", base+chatPath, chatBody).WithContext(ctx))
		if d := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || d != time.Second {
			t.Errorf("%v after %v", err, d)
		}
	})
}

func TestFaultsInMemoryLeaveNoGoroutine(t *testing.T) {
	// synctest fails the test if one is left.
	synctest.Test(t, func(t *testing.T) {
		svc := clienttest.NewService(key1)
		for i, f := range []clienttest.Fault{{Endless: true}, {DripEvery: time.Hour}, {Reset: true}, {ResetAfter: 1}, {Status: 500}} {
			svc.Inject(f)
			req := newRequest(t, "POST", base+chatPath, "", "Authorization: Bearer "+key1)
			body := &closeCounter{Reader: strings.NewReader(chatBody), closed: make(chan struct{}, 1)}
			req.Body = body
			if resp, err := svc.RoundTrip(req); err == nil {
				resp.Body.Close()
			}
			synctest.Wait()
			if len(body.closed) != 1 { // the goroutine closes it as it ends
				t.Errorf("fault %d goes on after its body is closed", i)
			}
		}
	})
}

func TestTheRoundTripKeepsItsContract(t *testing.T) {
	for _, fault := range []bool{false, true} {
		svc := clienttest.NewService(key1)
		if fault {
			svc.Inject(clienttest.Fault{Status: 500, Times: -1})
		}
		req := newRequest(t, "POST", base+chatPath, "", "Authorization: Bearer "+key1)
		body := &closeCounter{Reader: strings.NewReader(chatBody), closed: make(chan struct{}, 9)}
		req.Body = body
		before := len(req.Header)
		resp, err := svc.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		<-body.closed
		if resp.Request != req || len(req.Header) != before || resp.StatusCode == 200 == fault {
			t.Errorf("fault %t: the response or the request is not as it should be", fault)
		}

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		requests := svc.Stats().Requests
		if _, err := svc.RoundTrip(req.WithContext(ctx)); !errors.Is(err, context.Canceled) || svc.Stats().Requests != requests {
			t.Errorf("fault %t: a canceled request: %v", fault, err)
		}
		<-body.closed
		if _, err := svc.RoundTrip(&http.Request{Body: body}); err == nil {
			t.Errorf("fault %t: no URL, no error", fault)
		}
		<-body.closed
	}
}

type closeCounter struct {
	io.Reader
	closed chan struct{}
}

func (c *closeCounter) Close() error { c.closed <- struct{}{}; return nil }
