package middleware_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

func failing(err error) tripFunc {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

// A notDialed error is one of package dialguard.

type notDialed struct{ error }

func (notDialed) NonRetriable() {}

// A sentOutcome is what comes of so many sends in a row, and for how long it leaves

// an endpoint alone.

type sentOutcome struct {
	say  tripFunc
	n    int
	want time.Duration
}

func sentOutcomes() map[string]sentOutcome {
	missing := func(code string) tripFunc { return says(404, `{"error":{"code":"`+code+`"}}`) }
	const quota = `{"error":{"code":"insufficient_quota"}}`
	cert := &x509.Certificate{}
	return map[string]sentOutcome{
		"200":                            {says(200, "{}"), 3, 0},
		"400":                            {says(400, "{}"), 3, 0},
		"401":                            {says(401, "{}"), 1, 30 * time.Second},
		"401 that asks for more":         {says(401, "{}", "Retry-After", "90"), 1, 90 * time.Second},
		"403":                            {says(403, "{}"), 1, 30 * time.Second},
		"407":                            {says(407, "{}"), 1, 30 * time.Second},
		"409":                            {says(409, "{}"), 3, 0},
		"408":                            {says(408, "{}"), 2, 0},
		"408, three times":               {says(408, "{}"), 3, time.Second},
		"408 that names a time":          {says(408, "{}", "Retry-After", "5"), 1, 5 * time.Second},
		"500":                            {says(500, "{}"), 2, 0},
		"500, three times":               {says(500, "{}"), 3, time.Second},
		"500 that forbids a retry":       {says(500, "{}", "X-Should-Retry", "false"), 3, 0},
		"501":                            {says(501, "{}"), 3, 0},
		"505":                            {says(505, "{}"), 3, 0},
		"503 that names a time":          {says(503, "{}", "Retry-After", "40"), 1, 40 * time.Second},
		"503 that names none to wait":    {says(503, "{}", "Retry-After", "0"), 2, 0},
		"429, a quota":                   {says(429, quota), 1, 30 * time.Second},
		"429, a quota and a time":        {says(429, quota, "Retry-After", "100"), 1, 100 * time.Second},
		"429 for longer than MaxDelay":   {says(429, "{}", "Retry-After", "100"), 1, 100 * time.Second},
		"404":                            {says(404, "{}"), 3, 0},
		"404 of a deployment":            {missing("DeploymentNotFound"), 1, 30 * time.Second},
		"404 of a model":                 {missing("model_not_found"), 1, 30 * time.Second},
		"404 of a model, in one word":    {missing("ModelNotFound"), 1, 30 * time.Second},
		"404 of a model, of LiteLLM":     {missing("unknown_model"), 1, 30 * time.Second},
		"404 of another thing":           {missing("not_found"), 3, 0},
		"connection refused":             {refused, 1, time.Second},
		"an error that nobody knows":     {failing(errors.New("novel")), 3, 0},
		"another origin":                 {failing(fmt.Errorf("%w: elsewhere", middleware.ErrOrigin)), 3, 0},
		"an address that may not be":     {failing(notDialed{errors.New("private")}), 1, 30 * time.Second},
		"a certificate":                  {failing(&tls.CertificateVerificationError{Err: errors.New("no")}), 1, 30 * time.Second},
		"an unknown authority":           {failing(x509.UnknownAuthorityError{Cert: cert}), 1, 30 * time.Second},
		"a certificate of another host":  {failing(x509.HostnameError{Certificate: cert, Host: "x"}), 1, 30 * time.Second},
		"a certificate that has expired": {failing(x509.CertificateInvalidError{Cert: cert, Reason: x509.Expired}), 1, 30 * time.Second},
		"a store that is down":           {failing(&credential.SourceError{Source: "store", Op: "read", Err: &net.OpError{Op: "dial", Err: errors.New("down")}}), 1, 30 * time.Second},
	}
}

// TestForHowLongAnOutcomeLeavesAnEndpointAlone: as the table says.

func TestForHowLongAnOutcomeLeavesAnEndpointAlone(t *testing.T) {
	for name, tc := range sentOutcomes() {
		synctest.Test(t, func(t *testing.T) {
			sites, rt := among(t, 2, 0, &middleware.FailoverOptions{MaxDelay: 10 * time.Second})
			sites[0].set(tc.say)
			for range tc.n {
				served(t, rt, "m")
			}
			begin := time.Now()
			sites[0].set(nil)
			if n := sites[0].count(); n != tc.n {
				t.Errorf("%s: %d sends, want %d", name, n, tc.n)
			}
			for served(t, rt, "m"); sites[0].count() == tc.n && time.Since(begin) < time.Hour; served(t, rt, "m") {
				time.Sleep(500 * time.Millisecond)
			}
			if got := time.Since(begin); got != tc.want {
				t.Errorf("%s: left alone for %v, want %v", name, got, tc.want)
			}
		})
	}
}

// A credential that cannot be had is news of the endpoint, whatever its provider

// says; a caller who has left is none.

func TestWhatComesOfNoSendSaysWhatItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := credential.SourceFunc(func(context.Context) (credential.Value, error) {
			return credential.Value{}, errors.New("no such file")
		})
		auth, err := middleware.Auth(provider{src}, api, nil)
		if err != nil {
			t.Fatal(err)
		}
		second := &site{}
		failover, err := middleware.Failover([]middleware.Route{{Layers: []middleware.Middleware{auth}}, {Priority: 1, Layers: []middleware.Middleware{second.layer}}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		rt := failover(says(200, "{}"))
		if served(t, rt, "m") {
			t.Error("a call was sent without its credential")
		}
		time.Sleep(29 * time.Second)
		if !served(t, rt, "m") || second.count() != 1 {
			t.Error("a call went where there is no credential for it")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		sites, rt := among(t, 2, 0, nil)
		sites[0].set(func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return refused(req)
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := rt.RoundTrip(modelPost(t, chat, `{"model":"m"}`).WithContext(ctx)); err == nil {
			t.Error("no error")
		}
		sites[0].set(nil)
		served(t, rt, "m")
		only(t, "after a caller has left", sites, nil, 2, 0)
	})
}

// A provider is one of a source, that keeps nothing.

type provider struct{ credential.Source }

func (p provider) Replace(ctx context.Context, _ credential.Rejection) (credential.Value, error) {
	return p.Retrieve(ctx)
}

func (provider) Accept(credential.Value) {}

// Whatever comes of the calls that an endpoint lets through while it comes back,

// each gives its place to another.

func TestACallOfAnEndpointThatComesBackGivesItsPlaceBack(t *testing.T) {
	for name, say := range map[string]tripFunc{
		"an error that nobody knows": failing(errors.New("novel")),
		"one that forbids a retry":   says(500, "{}", "X-Should-Retry", "false"),
		"a failure":                  says(500, "{}"),
		"another cool-down":          says(503, "{}", "Retry-After", "2"),
		"a refusal":                  says(401, "{}"),
	} {
		synctest.Test(t, func(t *testing.T) {
			sites, rt := among(t, 2, 0, nil)
			sites[0].set(refused)
			served(t, rt, "m")
			time.Sleep(time.Second)
			sites[0].set(say)
			for range 3 {
				served(t, rt, "m")
				time.Sleep(time.Minute)
			}
			sites[0].set(nil)
			before := []int{sites[0].count(), sites[1].count()}
			served(t, rt, "m")
			only(t, name, sites, before, 1, 0)
		})
	}
}

// An event tells what it is about, and there is one for each change.

func TestTheEventsOfFailover(t *testing.T) {
	missing := says(404, `{"error":{"code":"model_not_found"}}`)
	for name, tc := range map[string]struct {
		provisioned bool
		unpaced     bool
		say         []tripFunc
		want        string
	}{
		"a failure by chance":       {false, false, []tripFunc{says(500, "{}")}, "spilled 500 "},
		"a cool-down":               {false, false, []tripFunc{refused, nil, nil}, "cooling connection error ; probing m; recovered 200 "},
		"a model":                   {false, false, []tripFunc{missing, nil}, "cooling 404 m; probing m; recovered 200 "},
		"no room":                   {true, false, []tripFunc{says(429, "{}"), nil}, "spilled 429 m"},
		"a limit":                   {false, false, []tripFunc{refused, says(429, "{}", "Retry-After-Ms", "1")}, "cooling connection error ; probing m; recovered 429 "},
		"a limit that is not paced": {false, true, []tripFunc{says(429, "{}")}, "cooling 429 m"},
		"a limit that is paced":     {false, false, []tripFunc{says(429, "{}")}, ""},
		"an answer":                 {false, false, []tripFunc{says(400, "{}"), nil}, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			var got []string
			first, second := &site{}, &site{}
			failover, err := middleware.Failover([]middleware.Route{
				{Layers: []middleware.Middleware{first.layer}, Provisioned: tc.provisioned}, {Priority: 1, Layers: []middleware.Middleware{second.layer}},
			}, &middleware.FailoverOptions{DisablePace: tc.unpaced, OnEvent: func(e middleware.RouteEvent) {
				got = append(got, strings.TrimRight(e.Kind+" "+e.Reason, " ")+" "+e.Model)
				if (e.Kind == "cooling") == e.Until.IsZero() {
					t.Errorf("%s: %s until %v", name, e.Kind, e.Until)
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			rt := failover(nil)
			for _, say := range tc.say {
				first.set(say)
				served(t, rt, "m")
				time.Sleep(time.Minute)
			}
			if text := strings.Join(got, "; "); text != tc.want {
				t.Errorf("%s: %q, want %q", name, text, tc.want)
			}
		})
	}
}
