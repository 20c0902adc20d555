package middleware_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/middleware"
)

func TestARecordNamesTheDeploymentThatServed(t *testing.T) {
	for name, tt := range map[string]struct {
		header                []string
		deployment, spilled   string
		logged, loggedSpilled any
	}{
		"spilled": {
			[]string{"X-Ms-Deployment-Name", "standard", "X-Ms-Spillover-From-Deployment", "ptu"},
			"standard", "ptu", "standard", "ptu",
		},
		"not spilled":                {[]string{"X-Ms-Deployment-Name", "ptu"}, "ptu", "", "ptu", nil},
		"another service":            {nil, "", "", nil, nil},
		"one that echoes the secret": {[]string{"X-Ms-Deployment-Name", "d-" + goodKey}, "d-[redacted]", "", "d-[redacted]", nil},
	} {
		r := &recorder{}
		var out bytes.Buffer
		rt := middleware.Wrap(tripFunc(status(200, "hello", tt.header...)), stack(t, &keys{key: goodKey}, r, &out)...)
		resp, err := rt.RoundTrip(post(t, chat, ""))
		if err != nil {
			t.Fatal(err)
		}
		readBody(t, resp)
		if strings.Contains(out.String(), goodKey) {
			t.Errorf("%s: the log has the secret", name)
		}
		s, line := r.all()[0], logLines(t, &out)[0]
		if s.Deployment != tt.deployment || s.SpilledFrom != tt.spilled {
			t.Errorf("%s: the record names %d and %d bytes, want %q and %q", name, len(s.Deployment), len(s.SpilledFrom), tt.deployment, tt.spilled)
		}
		if line["deployment"] != tt.logged || line["spilled_from"] != tt.loggedSpilled {
			t.Errorf("%s: the log does not have %v and %v", name, tt.logged, tt.loggedSpilled)
		}
	}
}
