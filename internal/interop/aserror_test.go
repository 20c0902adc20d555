package interop_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
)

func TestAnErrorOfAnSDKHasItsHint(t *testing.T) {
	const body = `{"error":{"code":"DeploymentNotFound","type":"invalid_request_error","param":"model","message":"The API deployment for this resource does not exist."}}`
	r := newRig(t, "http")
	for _, s := range r.sdks() {
		r.srv.Inject(clienttest.Fault{Status: 404, Body: body, Header: http.Header{"X-Request-Id": {"req_7"}}, Times: -1})
		err := s.calls[0].run(t.Context())
		r.srv.ClearFaults()
		e, ok := client.AsError(fmt.Errorf("wrapped: %w", err))
		if !ok {
			t.Fatalf("%s: no *client.Error in a %T", s.name, err)
		}
		if e.StatusCode != 404 || e.Code != "DeploymentNotFound" || e.Type != "invalid_request_error" || e.Param != "model" ||
			!strings.Contains(e.Message, "does not exist") || !strings.Contains(e.Hint(), "deployment") {
			t.Errorf("%s: %+v, hint %q", s.name, e, e.Hint())
		}
		if s.name == "openai-go" && e.RequestID != "req_7" {
			t.Errorf("%s: request id %q", s.name, e.RequestID)
		}
	}
}

func TestAnErrorOfAnSDKThatTheSDKCannotReadIsReadHere(t *testing.T) {
	r := newRig(t, "http")
	for _, s := range r.sdks() {
		r.srv.Inject(clienttest.Fault{Status: 403, Body: `{"code":"X1","message":"Public access is disabled."}`, Header: http.Header{"Content-Type": {"application/json"}}, Times: -1})
		err := s.calls[0].run(t.Context())
		r.srv.ClearFaults()
		e, ok := client.AsError(err)
		if !ok || e.StatusCode != 403 || e.Message != "Public access is disabled." || !strings.Contains(e.Hint(), "private endpoint") {
			t.Fatalf("%s: %+v in a %T", s.name, e, err)
		}
		if again, _ := client.AsError(err); again == nil || again.Message != e.Message {
			t.Errorf("%s: the second look finds %+v", s.name, again)
		}
	}
}
