package clienttest_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/client/clienttest"
)

func TestCallsAboveTheCapacityAreRefusedUntilThereIsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := clienttest.NewService(key1)
		svc.SetCapacity(&clienttest.Capacity{PerSecond: 4, Burst: 3, Deployment: "ptu"})
		ask := func() answer {
			return mustSend(t, svc, newRequest(t, "POST", base+chatPath, chatBody, "Authorization: Bearer "+key1))
		}
		for i := range 3 {
			if a := ask(); a.status != 200 || a.header.Get("X-Ms-Deployment-Name") != "ptu" || a.header.Get("X-Ms-Spillover-From-Deployment") != "" {
				t.Errorf("call %d of the burst: %d by %q", i, a.status, a.header.Get("X-Ms-Deployment-Name"))
			}
		}
		a := ask()
		if a.status != 429 || a.header.Get("Retry-After-Ms") != "250" || a.header.Get("Retry-After") != "1" || !strings.Contains(a.body, `"code":"429"`) {
			t.Errorf("above the capacity: %d, retry-after-ms %q: %s", a.status, a.header.Get("Retry-After-Ms"), a.body)
		}
		time.Sleep(249 * time.Millisecond)
		if a := ask(); a.status != 429 || a.header.Get("Retry-After-Ms") != "1" {
			t.Errorf("a millisecond too early: %d, retry-after-ms %q", a.status, a.header.Get("Retry-After-Ms"))
		}
		time.Sleep(time.Millisecond)
		if a := ask(); a.status != 200 {
			t.Errorf("after the time that was named: %d", a.status)
		}
		if s := svc.Stats(); s.OK != 4 || s.Refused != 2 || s.Faults != 0 {
			t.Errorf("%+v", s)
		}
		svc.SetCapacity(&clienttest.Capacity{})
		if a := ask(); a.status != 429 {
			t.Errorf("no capacity at all: %d", a.status)
		}
		svc.SetCapacity(nil)
		if a := ask(); a.status != 200 || a.header.Get("X-Ms-Deployment-Name") != "" {
			t.Errorf("without a bound: %d", a.status)
		}
	})
}

func TestASpilloverServesWhatIsAboveTheCapacityAndSaysSo(t *testing.T) {
	for name, tt := range map[string]struct{ property, header string }{
		"by the deployment's property": {"standard", ""},
		"by the request's header":      {"", "standard"},
		"the property comes first":     {"standard", "other"},
	} {
		synctest.Test(t, func(t *testing.T) {
			svc := clienttest.NewService(key1)
			svc.SetCapacity(&clienttest.Capacity{PerSecond: 1, Deployment: "ptu", Spillover: tt.property})
			var a answer
			for range 2 {
				req := newRequest(t, "POST", base+chatPath, streamBody, "Authorization: Bearer "+key1)
				if tt.header != "" {
					req.Header.Set("X-Ms-Spillover-Deployment", tt.header)
				}
				a = mustSend(t, svc, req)
			}
			if h := a.header; a.status != 200 || h.Get("X-Ms-Deployment-Name") != "standard" || h.Get("X-Ms-Spillover-From-Deployment") != "ptu" || h.Get("X-Ms-Spillover-Error") != "429" {
				t.Errorf("%s: %d %v", name, a.status, h)
			}
		})
	}
}

func TestASlowServiceAnswersLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := clienttest.NewService(key1)
		svc.SetLatency(700 * time.Millisecond)
		svc.Inject(clienttest.Fault{Status: 503, Delay: 300 * time.Millisecond})
		for _, want := range []struct {
			status int
			after  time.Duration
		}{{503, time.Second}, {200, 700 * time.Millisecond}} {
			begin := time.Now()
			a := mustSend(t, svc, newRequest(t, "POST", base+chatPath, chatBody, "Authorization: Bearer "+key1))
			if took := time.Since(begin); a.status != want.status || took != want.after {
				t.Errorf("%d after %v, want %d after %v", a.status, took, want.status, want.after)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		req := newRequest(t, "POST", base+chatPath, chatBody, "Authorization: Bearer "+key1).WithContext(ctx)
		if _, err := send(svc, req); err == nil {
			t.Error("a slow answer outlived the request's context")
		}
		svc.SetLatency(0)
		begin := time.Now()
		mustSend(t, svc, newRequest(t, "POST", base+chatPath, chatBody, "Authorization: Bearer "+key1))
		if took := time.Since(begin); took != 0 {
			t.Errorf("a service that is slow no more took %v", took)
		}
	})
}

func TestAnErrorInsideAStreamHasTheFormOfTheRoute(t *testing.T) {
	const responses = "/v1/responses"
	for _, tt := range []struct {
		name, path, body string
		fault            clienttest.Fault
		events           int
		content          bool
		last             string
	}{
		{"chat, before content", chatPath, streamBody, clienttest.QuotaExceeded.InStream(1), 2, false, `data: {"error":{"message":"You exceeded`},
		{"chat, first", chatPath, streamBody, clienttest.Overloaded.InStream(0), 1, false, `data: {"error":{"message":"The server is`},
		{"chat, after content", chatPath, streamBody, clienttest.QuotaExceeded.InStream(2), 3, true, `"code":"credit_balance_exhausted"`},
		{"responses, before content", responses, `{"model":"m","stream":true,"input":"one two"}`, clienttest.QuotaExceeded.InStream(2), 3, false, "event: error\ndata: {\"type\":\"error\",\"sequence_number\":2,\"code\":\"credit_balance_exhausted\""},
		{"responses, after content", responses, `{"model":"m","stream":true,"input":"one two"}`, clienttest.RateLimited.InStream(5), 6, true, `"code":"rate_limit_exceeded"`},
		{"an earlier cut", chatPath, streamBody, clienttest.Fault{CutAfter: 1, ErrorAfter: 2}, 1, false, `"role":"assistant"`},
	} {
		for _, p := range places(t) {
			p.svc.Inject(tt.fault)
			a := mustSend(t, p.rt, p.post(t, tt.path, tt.body))
			events := strings.Split(strings.TrimSuffix(a.body, "\n\n"), "\n\n")
			if a.status != 200 || len(events) != tt.events || !strings.Contains(events[len(events)-1], tt.last) || strings.Contains(a.body, "echo") != tt.content {
				t.Errorf("%s, %s: %d\n%s", tt.name, p.name, a.status, a.body)
			}
			// An answer that is no stream is left alone.
			p.svc.Inject(tt.fault)
			if tt.fault.CutAfter != 0 {
				continue
			}
			if a := mustSend(t, p.rt, p.post(t, chatPath, chatBody)); a.status != 200 || !strings.HasSuffix(a.body, "}") {
				t.Errorf("%s, %s: a whole answer became %s", tt.name, p.name, a.body)
			}
		}
	}
}
