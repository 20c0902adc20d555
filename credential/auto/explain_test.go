package auto_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/credential/auto"
	"github.com/latchkey-go/latchkey/internal/testing/awstest"
)

// checkReport checks what holds for all reports.
func checkReport(t *testing.T, r *auto.Report) {
	t.Helper()
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), "CANARY") {
		t.Error("the report holds a secret")
		return
	}
	var used int
	for _, a := range r.Attempts {
		if a.Source == "" || a.LookedFor == "" || a.Found == "" {
			t.Errorf("a row is not complete: %+v", a)
		}
		if !slices.Contains([]string{"used", "skipped", "unavailable", "failed", "not asked"}, a.Result) {
			t.Errorf("unknown result %q", a.Result)
		}
		if (a.Why == "") != (a.Result == "used") {
			t.Errorf("%s is %s because of %q", a.Source, a.Result, a.Why)
		}
		if a.Result == "used" {
			used++
		}
	}
	if (used == 1) != (r.Winner != "") || used > 1 || (r.Winner != "") == (r.Error != "") {
		t.Errorf("%d sources are used, winner %q, error %q", used, r.Winner, r.Error)
	}
}

// results lists what became of each source that is not simply skipped.
func results(r *auto.Report) string {
	var out []string
	for _, a := range r.Attempts {
		if a.Result != "skipped" {
			out = append(out, a.Source+" "+a.Result)
		}
	}
	return strings.Join(out, ", ")
}

func TestExplainTellsWhatBecameOfEachReference(t *testing.T) {
	clearEnv(t)
	w := newWorld(t)
	w.setenv(t, vars{"GOOD": "sk-CANARY-1", "BAD": "sk CANARY"})
	for _, c := range []struct{ references, want string }{
		{"env://GONE env://GOOD env://BAD", "env:GONE unavailable, env:GOOD used, env:BAD not asked"},
		{"env://GONE env://BAD env://GOOD", "env:GONE unavailable, env:BAD failed, env:GOOD not asked"},
		{"env://GONE env://GONE_TOO", "env:GONE unavailable, env:GONE_TOO unavailable"},
		{"env://GOOD emv://GONE", "env:GOOD not asked, reference failed"},
		{"env://GOOD vault://x", "env:GOOD not asked, vault failed"},
	} {
		r := auto.Explain(t.Context(), &auto.Options{References: c.references})
		checkReport(t, r)
		if got := results(r); got != c.want {
			t.Errorf("%s: %s, want %s", c.references, got, c.want)
		}
	}
	if r := auto.Explain(t.Context(), &auto.Options{References: "env://GOOD"}); len(r.Attempts) != 5 {
		t.Errorf("%d rows, want the reference and the four sources without one", len(r.Attempts))
	}
}

func TestExplainNamesTheNextRefresh(t *testing.T) {
	clearEnv(t)
	w := newWorld(t)
	w.machine = "azure"
	w.setenv(t, vars{"KEY": "sk-CANARY-1"})
	for _, c := range []struct {
		references    string
		after, before time.Duration // of the next refresh, from the call on
	}{
		{"env://KEY", 230 * time.Second, 240 * time.Second},
		{"file://$DIR/key", 9 * time.Second, 11 * time.Second},
		// 5 minutes before a token of an hour ends
		{"azureidentity://", 54 * time.Minute, 56 * time.Minute},
	} {
		opts := auto.Over(auto.Options{References: strings.ReplaceAll(c.references, "$DIR", w.dir)}, w)
		begin := time.Now()
		r := auto.Explain(t.Context(), opts)
		end := time.Now()
		checkReport(t, r)
		early, late := begin.Add(c.after-time.Second), end.Add(c.before+time.Second)
		if r.NextRefresh.Before(early) || r.NextRefresh.After(late) {
			t.Errorf("%s: next refresh %v after the call", c.references, r.NextRefresh.Sub(begin))
		}
		if token := r.Scheme == "bearer token"; token == r.Expires.IsZero() {
			t.Errorf("%s: expires at %v", c.references, r.Expires)
		}
	}
}

func TestAKeyThatIsTheNameOfItsVariableIsNotShown(t *testing.T) {
	clearEnv(t)
	t.Setenv("CANARY_KEY", "CANARY_KEY")
	checkReport(t, auto.Explain(t.Context(), &auto.Options{References: "env://CANARY_KEY"}))
}

func TestExplainEndsWithItsContext(t *testing.T) {
	clearEnv(t)
	t.Setenv("KEY", "sk-CANARY-1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := auto.Explain(ctx, &auto.Options{References: "env://KEY env://KEY"})
	checkReport(t, r)
	if got := results(r); got != "env:KEY failed, env:KEY not asked" {
		t.Error(got)
	}
}

// Where nothing configures an identity and nothing answers, the clear error
// comes within a second: by the clock of the bubble, exactly.
func TestAnAbsentMachineCostsASecond(t *testing.T) {
	clearEnv(t)
	t.Setenv("AZURE_OPENAI_ENDPOINT", "https://res.openai.azure.com")
	synctest.Test(t, func(t *testing.T) {
		w := &world{hang: true}
		begin := time.Now()
		r := auto.Explain(on(t, "silent"), auto.Over(auto.Options{}, w))
		checkReport(t, r)
		if took := time.Since(begin); took > time.Second || r.Winner != "" || w.who() != "metadata" {
			t.Errorf("after %v the winner is %q", took, r.Winner)
		}
	})
}

func TestAnAbsentInstanceRoleCostsASecond(t *testing.T) {
	for _, c := range []struct {
		reference, region, want string
	}{
		{smRef, "eu-west-1", "failed"},
		{arn, "", "unavailable"},
	} {
		clearEnv(t)
		t.Setenv("AWS_EC2_METADATA_DISABLED", "")
		t.Setenv("AWS_REGION", c.region)
		synctest.Test(t, func(t *testing.T) {
			w := &world{hang: true, sm: awstest.NewSecretsManager()}
			begin := time.Now()
			r := auto.Explain(on(t, "silent"), auto.Over(auto.Options{References: c.reference}, w))
			checkReport(t, r)
			if a := r.Attempts[0]; a.Result != c.want || !strings.Contains(a.Why, "within 1s") || !strings.Contains(a.Do, "AWS_PROFILE") || time.Since(begin) > time.Second {
				t.Errorf("%+v, want it to be %s", a, c.want)
			}
		})
	}
}
