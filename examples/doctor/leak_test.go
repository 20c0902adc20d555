package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/latchkey-go/latchkey/internal/redact"
	"github.com/latchkey-go/latchkey/internal/redact/redacttest"
)

// What the doctor prints of a call is safe, wherever the service echoes the
// key, and whatever else it writes.
func TestTheDoctorShowsNoKeyThatTheServiceEchoes(t *testing.T) {
	clear(t)
	const key = "sk-CANARY-doctor-0123456789"
	var answer atomic.Pointer[string]
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_, _ = io.WriteString(conn, *answer.Load())
			_ = conn.Close()
		}
	}))
	t.Cleanup(srv.Close)
	setenv(t, "OPENAI_API_KEY="+key, "OPENAI_BASE_URL="+srv.URL)
	forms, turn := redacttest.Forms(key), 0
	// A call is made again after other statuses, with pauses.
	statuses := []int{101, 200, 201, 204, 206, 300, 302, 304, 307, 400, 401, 403, 404, 418}
	for _, place := range redacttest.Places() {
		n, timeout := 12, "-timeout=30s"
		if place.Fixed {
			n, timeout = 2, "-timeout=300ms"
		}
		for range n {
			form, status := forms[turn%len(forms)], statuses[turn%len(statuses)]
			turn += 9
			text := place.Answer(status, form)
			answer.Store(&text)
			for _, args := range [][]string{{"-call", timeout}, {"-call", "-json", timeout}} {
				var out bytes.Buffer
				run(t.Context(), args, output{to: &out}, &out)
				if out.Len() == 0 || redact.Text(out.String(), false, key) != out.String() {
					t.Errorf("%s in the %s, status %d: %v prints nothing, or the key", form.Name, place.Name, status, args)
				}
			}
		}
	}
}
