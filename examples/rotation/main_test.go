package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/audit"
	"github.com/latchkey-go/latchkey/internal/testing/openaitest"
	"github.com/latchkey-go/latchkey/rotation"
)

// The rehearsal starts this program again, as victims: here it is the test.
func TestMain(m *testing.M) {
	if os.Getenv(victimVariable) != "" {
		os.Exit(command(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// ran is what a user sees of a command. It shows no key.
func ran(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e strings.Builder
	code = command(t.Context(), args, &o, &e)
	if strings.Contains(o.String()+e.String(), "CANARY") {
		t.Fatalf("%s shows a key", args[0])
	}
	return code, o.String(), e.String()
}

func mustRun(t *testing.T, args ...string) string {
	t.Helper()
	code, out, errs := ran(t, args...)
	if code != done {
		t.Fatalf("%v: exit status %d\n%s%s", args, code, out, errs)
	}
	return out
}

// checked reads an audit log, which has to be whole and without a key.
func checked(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "CANARY") {
		t.Error("the audit log shows a key")
	}
	if _, err := audit.Verify(strings.NewReader(string(text)), &audit.VerifyOptions{Closed: true}); err != nil {
		t.Error(err)
	}
	return string(text)
}

func TestARehearsalLosesNoCallAndNoKey(t *testing.T) {
	log := filepath.Join(t.TempDir(), "audit.jsonl")
	out := mustRun(t, "-rehearse", "-quick", "-readers", "5", "-audit", log)
	if !regexp.MustCompile(`(?m)^PASS: \d\d faults, 0 of them with a problem; [1-9]\d* processes killed at a call; [1-9]\d* calls of readers, 0 failed`).MatchString(out) {
		t.Errorf("no verdict:\n%s", out)
	}
	for _, fault := range []string{"killed before load", "killed after", "is lost", "4 rotators at once", "the key has leaked", "accepted after 3 s", "a policy forbids"} {
		if !strings.Contains(out, fault) {
			t.Errorf("%q was not rehearsed", fault)
		}
	}
	text := checked(t, log)
	for _, event := range []string{"rotation-prepare", "rotation-issue", "rotation-prove", "rotation-promote", "rotation-retire", "rotation-revoke", "rotation-end"} {
		if !strings.Contains(text, `"event":"`+event+`"`) {
			t.Errorf("the audit log has no %s", event)
		}
	}
	if !strings.Contains(text, "lower Every") {
		t.Error("the audit log does not say why a step has failed")
	}
}

// The same with a server that speaks as AWS Secrets Manager does.
func TestARehearsalInSecretsManagerLosesNoCallAndNoKey(t *testing.T) {
	if os.Getenv("LATCHKEY_PROOFS") == "" {
		t.Skip("takes as long again; .ci/run sets LATCHKEY_PROOFS")
	}
	out := mustRun(t, "-rehearse", "-quick", "-readers", "5", "-embed", "secretsmanager")
	if !regexp.MustCompile(`(?m)^PASS: \d\d faults, 0 of them with a problem; [1-9]\d* processes killed at a call; [1-9]\d* calls of readers, 0 failed`).MatchString(out) {
		t.Errorf("no verdict:\n%s", out)
	}
}

// A rehearsal has to be able to fail.
func TestARehearsalFindsWhatIsWrong(t *testing.T) {
	w, err := embed(directory)
	if err != nil {
		t.Fatal(err)
	}
	defer w.end()
	w.opts.Name = "latchkey"
	if _, err := plain(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	if w.load, err = startReaders(t.Context(), 3, w.ends, w.ttl, w.ttl/10, false); err != nil {
		t.Fatal(err)
	}
	if r := w.trial(t.Context(), &fault{name: "none"}); r.problem != nil || r.calls == 0 {
		t.Errorf("%+v", r)
	}
	if r := w.trial(t.Context(), &fault{name: "never accepted", is: openaitest.Behavior{Status: 403}}); r.problem == nil || r.runs != mostRuns {
		t.Errorf("an issuer that makes no key: %+v", r)
	}
	lost := errors.New("a call was lost")
	r := w.trial(t.Context(), &fault{name: "a call fails", rotating: func(ctx context.Context, w *world) (*rotation.Report, error) {
		w.load.failed.Add(1)
		w.load.first.Store(&lost)
		return plain(ctx, w)
	}})
	if !errors.Is(r.problem, lost) || r.failed != 1 {
		t.Errorf("a call that fails: %+v", r)
	}
	if _, err := w.issuer.Issue(t.Context(), rotation.Version{Token: "latchkey/left"}, nil, w.clock.now().Add(month)); err != nil {
		t.Fatal(err)
	}
	left := &result{}
	w.opts.Now = func() time.Time { return w.clock.now().Add(-2 * time.Hour) } // the rotator finds it too young
	if err := w.rest(t.Context(), left); err == nil || left.keys != 2 {
		t.Errorf("a key that is left: %+v, %v", left, err)
	}
}

// staging is a service, a directory, and the variables that lead there.
func staging(t *testing.T) (s *openaitest.Service, dir string, at []string) {
	t.Helper()
	const admin = "sk-admin-CANARY-staging"
	s = openaitest.New(admin, behind(), nil)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	if dir = t.TempDir(); os.Chmod(dir, 0o700) != nil {
		t.Fatal("chmod")
	}
	t.Setenv("OPENAI_BASE_URL", server.URL+"/v1/")
	t.Setenv("OPENAI_ADMIN_KEY", admin)
	t.Setenv("OPENAI_ADMIN_KEY_STORE", "")
	return s, dir, []string{"-store", "file://" + dir, "-issuer", "openaiadmin:" + openaitest.Project + "/" + openaitest.ServiceAccount}
}

func with(first string, at []string, more ...string) []string {
	return append(append([]string{first}, at...), more...)
}

func TestARunSaysWhatItDoesAndDidByItsExitStatus(t *testing.T) {
	s, dir, at := staging(t)
	log := filepath.Join(t.TempDir(), "audit.jsonl")
	if out := mustRun(t, with("run", at, "-plan")...); out != "next: prepare\n" || len(s.Keys(openaitest.ServiceAccount)) != 0 {
		t.Errorf("%s", out)
	}
	if out := mustRun(t, with("run", at, "-audit", log)...); !strings.Contains(out, "done: prepare, issue, prove, promote\n") {
		t.Errorf("%s", out)
	}
	if out := mustRun(t, with("run", at)...); !strings.Contains(out, "done: nothing\n") {
		t.Errorf("%s", out)
	}
	if out := mustRun(t, with("run", at, "-now", "-wait", "-readers-ttl", "1s", "-overlap", "2s")...); !strings.Contains(out, "done: retire\n") || len(s.Keys(openaitest.ServiceAccount)) != 1 {
		t.Errorf("%s", out)
	}
	s.Behave(openaitest.Behavior{Status: 403})
	if code, _, errs := ran(t, with("run", at, "-now")...); code != failed || !strings.Contains(errs, "api.management.write") {
		t.Errorf("exit status %d: %s", code, errs)
	}
	s.Behave(openaitest.Behavior{})
	if code, _, errs := ran(t, with("run", at)...); code != busy || !strings.Contains(errs, "another rotator") {
		t.Errorf("exit status %d: %s", code, errs)
	}
	if text := checked(t, log); !strings.Contains(text, `"source":"rotation:file://`+dir) || !strings.Contains(text, "key_1") {
		t.Errorf("%s", text)
	}
	for _, args := range [][]string{{}, {"walk"}, {"run"}, with("run", at, "twice"), {"run", "-store", "azurekeyvault:https://x.vault.azure.net", "-issuer", at[3]}, {"run", "-store", "awssecretsmanager:", "-issuer", at[3]}, {"run", "-store", "vault://x", "-issuer", at[3]}, {"run", "-store", "file:x", "-issuer", at[3]}, {"run", "-store", at[1], "-issuer", "azureopenai:x"}, {"run", "-store", "paper:x", "-issuer", at[3]}, {"run", "-store", at[1], "-issuer", "mint:x"}, with("run", at, "-overlap", "1s"), {"-rehearse", "-store", at[1]}} {
		if code, _, errs := ran(t, append(args, []string{}...)...); code != misused || errs == "" {
			t.Errorf("%v: exit status %d, %s", args, code, errs)
		}
	}
}

func TestStatusShowsBothSidesAndNoKey(t *testing.T) {
	s, _, at := staging(t)
	s.Put(openaitest.ServiceAccount, "somebody's", "sk-CANARY-other")
	if out := mustRun(t, with("status", at)...); !strings.Contains(out, "1 other keys") || !strings.Contains(out, "the next run: prepare") {
		t.Errorf("%s", out)
	}
	mustRun(t, with("run", at)...)
	mustRun(t, with("run", at, "-now")...)
	s.Put(openaitest.ServiceAccount, "latchkey/lost", "sk-CANARY-lost")
	out := mustRun(t, with("status", at)...)
	for _, want := range []string{`current +latchkey/\w+ +key_3 .* yes +\ds +\ds ago +\d\d days`, `previous +latchkey/\w+ +key_2 .* yes`, `orphan +latchkey/lost +key_put_4 .* 24h0m`, `the next run: nothing before`} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// The admin key is rotated in a store of its own, and the rotation of the other key
// reads it there.
func TestTheAdminKeyIsReadWhereItIsRotated(t *testing.T) {
	s, _, at := staging(t)
	admin := t.TempDir()
	if os.Chmod(admin, 0o700) != nil {
		t.Fatal("chmod")
	}
	mustRun(t, "run", "-store", "file://"+admin, "-issuer", "openaiadmin:organization")
	t.Setenv("OPENAI_ADMIN_KEY", "sk-CANARY-gone")
	t.Setenv("OPENAI_ADMIN_KEY_STORE", "file://"+admin)
	mustRun(t, with("run", at)...)
	mustRun(t, "run", "-store", "file://"+admin, "-issuer", "openaiadmin:organization", "-now")
	if n := len(s.Keys("")); n != 3 {
		t.Errorf("%d admin keys", n)
	}
}

// A staging account is rotated by its own clock, with a process that dies.
func TestAStagingAccountIsLeftAsAfterARotation(t *testing.T) {
	s, _, at := staging(t)
	w, err := stage(at[1], at[3])
	if err != nil {
		t.Fatal(err)
	}
	defer w.end()
	w.opts.Name, w.ttl = "latchkey", w.ttl/50
	if _, err := plain(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	if w.load, err = startReaders(t.Context(), 3, w.ends, w.ttl, w.ttl/2, true); err != nil {
		t.Fatal(err)
	}
	if r := w.trial(t.Context(), &fault{name: "killed after stage", rotating: killed(killing{order: order{At: 5, Answer: true}})}); r.problem != nil || w.kills != 1 || r.failed != 0 {
		t.Errorf("%+v", r)
	}
	if err := settle(t.Context(), w); err != nil {
		t.Error(err)
	}
	state, err := w.store.Load(t.Context())
	if err != nil || state.Current == nil || state.Current.Promoted.After(w.opts.Now()) {
		t.Errorf("the store has a time that is to come: %v", err)
	}
	if keys := s.Keys(openaitest.ServiceAccount); len(keys) != 2 || keys[1].Life.Hours() > 24*46 {
		text, _ := json.Marshal(keys)
		t.Errorf("%s", text)
	}
}

func TestTheFleetReadsByTheFormula(t *testing.T) {
	file := filepath.Join(t.TempDir(), "fleet.svg")
	for _, n := range []int{500, 2000} {
		c, err := simulate(t.Context(), n, 300e9, 600e9, 10e9)
		if err != nil {
			t.Fatal(err)
		}
		if is, want := c.mean(), c.formula(); is < 0.93*want || is > 1.07*want || c.failed != 0 || c.replays != 0 || c.lastOld-c.promoted > 255e9 {
			t.Errorf("%d processes: mean %v, want %v; %d failed, %d refused, old key until %v", n, is, want, c.failed, c.replays, c.lastOld-c.promoted)
		}
	}
	if c, err := simulate(t.Context(), 2000, 300e9, 600e9, 10e9); err != nil || float64(c.peak()) > 4*c.mean() {
		t.Errorf("%d reads in one second, with a mean of %v: they all read together", c.peak(), c.mean())
	}
	if out := mustRun(t, "fleet", "-n", "100", "-svg", file); !strings.Contains(out, "failed: 0") {
		t.Errorf("%s", out)
	}
	if svg, err := os.ReadFile(file); err != nil || !strings.Contains(string(svg), "100 processes") || !strings.HasSuffix(string(svg), "</svg>\n") {
		t.Errorf("%v", err)
	}
}

func TestALeakedKeyIsReplacedInTheTimeThatTheTableSays(t *testing.T) {
	for how, most := range map[string]float64{"TTL": 0.8*60 + 1, "event": 1, "refusal": 2} {
		l, err := leakOf(t.Context(), 100, 60e9, how)
		if err != nil || l.failed != 0 || l.last.Seconds() > most || l.revoked < 0 || (how == "refusal") != (l.replays > 0) || (how == "refusal") != (l.revoked.Seconds() == 2) {
			t.Errorf("%s: %+v, %v", how, l, err)
		}
	}
}
