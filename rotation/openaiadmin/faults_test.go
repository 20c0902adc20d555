package openaiadmin_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/testing/openaitest"
	"github.com/latchkey-go/latchkey/rotation"
	"github.com/latchkey-go/latchkey/rotation/file"
	"github.com/latchkey-go/latchkey/rotation/openaiadmin"
)

// A bench is a rotation between the Admin API and a directory, in the fake time of a
// synctest bubble.
type bench struct {
	t       *testing.T
	service *openaitest.Service
	store   *file.Store
	issuer  *openaiadmin.Issuer
	opts    rotation.Options
	events  []rotation.Event
}

func newBench(t *testing.T, dir string) *bench {
	t.Helper()
	store, err := file.New(private(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, service: openaitest.New(adminKey, nil, nil), store: store}
	b.issuer, err = openaiadmin.New(credential.Static(credential.NewSecret(adminKey), credential.APIKey), &openaiadmin.Options{
		Project: openaitest.Project, ServiceAccount: openaitest.ServiceAccount, AllScopes: true, Transport: b.service,
	})
	if err != nil {
		t.Fatal(err)
	}
	b.opts.OnEvent = func(e rotation.Event) { b.events = append(b.events, e) }
	return b
}

func (b *bench) run() (*rotation.Report, error) {
	b.t.Helper()
	r, err := rotation.New(b.issuer, b.store, &b.opts)
	if err != nil {
		b.t.Fatal(err)
	}
	report, err := r.Run(b.t.Context())
	if strings.Contains(fmt.Sprintf("%+v %v %+v", report, err, b.events), "CANARY") {
		b.t.Error("a report, an error or an event shows a key")
	}
	return report, err
}

func (b *bench) mustRun() *rotation.Report {
	b.t.Helper()
	report, err := b.run()
	if err != nil {
		b.t.Fatal(err)
	}
	return report
}

// reads checks that the key of readers works.
func (b *bench) reads(what string) {
	b.t.Helper()
	text, err := os.ReadFile(b.store.Key())
	if err != nil || !b.service.Accepts(string(text)) {
		b.t.Errorf("%s: the key of readers does not work: %v", what, err)
	}
}

// ends checks that, when the fault is over, one key is left, and that it is the current
// one, after one more rotation.
func (b *bench) ends(what string) {
	b.t.Helper()
	b.service.Behave(openaitest.Behavior{})
	for _, wait := range []time.Duration{6 * time.Minute, 2 * time.Hour, 48 * time.Hour} {
		time.Sleep(wait)
		b.mustRun()
		b.reads(what)
	}
	state, err := b.store.Load(b.t.Context())
	if err != nil || state.Current == nil || state.Pending != nil || state.Previous != nil {
		b.t.Fatalf("%s: not at rest: %v", what, err)
	}
	if keys := b.service.Keys(openaitest.ServiceAccount); len(keys) != 1 || keys[0].ID != state.Current.KeyID {
		b.t.Errorf("%s: %d keys are left, want the current one", what, len(keys))
	}
}

// Whatever the issuer does, readers keep the key that they have, the report says what
// the store holds, the error says what to do, and when the issuer is itself again a run
// ends with one key.
func TestAnIssuerThatFailsCostsNoKeyAndSaysWhatToDo(t *testing.T) {
	for name, test := range map[string]struct {
		is   openaitest.Behavior
		says string
		made int // keys, at the most
	}{
		"down":              {openaitest.Behavior{Lose: func(*http.Request) openaitest.Loss { return openaitest.Request }}, "run again later", 0},
		"answers lost":      {openaitest.Behavior{Lose: func(*http.Request) openaitest.Loss { return openaitest.Answer }}, "run again later", 1},
		"overloaded":        {openaitest.Behavior{Status: 503, Code: "server_is_overloaded"}, "run again later", 0},
		"too many requests": {openaitest.Behavior{Status: 429, Code: "rate_limit_exceeded"}, "run again later", 0},
		"no rights":         {openaitest.Behavior{Status: 403, Code: "insufficient_permissions"}, "api.management.write", 0},
		"a shorter life":    {openaitest.Behavior{NeedExpiry: true, Longest: 24 * time.Hour}, "lower Every", 0},
		"too many keys":     {openaitest.Behavior{Most: 1}, "delete some", 0},
		"slower than lease": {openaitest.Behavior{Slow: 3 * time.Minute}, "run again later", 1},
	} {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, dir)
			b.mustRun()
			time.Sleep(30 * 24 * time.Hour)
			b.service.Behave(test.is)
			report, err := b.run()
			b.service.Behave(openaitest.Behavior{})
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%s: the error does not say %q: %v", name, test.says, err)
			}
			if report.Current == "" || report.Pending == "" || !slices.Equal(report.Steps, []rotation.Step{"prepare"}) {
				t.Errorf("%s: %+v", name, report)
			}
			last := b.events[len(b.events)-1]
			if failed := b.events[len(b.events)-2]; failed.Step != "issue" || failed.Err == nil || failed.Token != report.Pending || last.Step != "end" || last.Report != report || !errors.Is(last.Err, err) {
				t.Errorf("%s: the events do not tell: %+v", name, b.events)
			}
			if n := len(b.service.Keys(openaitest.ServiceAccount)); n > 1+test.made {
				t.Errorf("%s: %d keys", name, n)
			}
			b.reads(name)
			b.ends(name)
		})
	}
}

// A policy that demands an expiry is no matter, as each key has one, and an issuer that
// takes 10 seconds for each answer is waited for.
func TestAnIssuerThatIsSlowOrStrictIsGoodEnough(t *testing.T) {
	for name, is := range map[string]openaitest.Behavior{
		"slow": {Slow: 10 * time.Second}, "an expiry is required": {NeedExpiry: true, Longest: 60 * 24 * time.Hour}, "one key a page": {Page: 1},
	} {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, dir)
			for range 3 {
				b.service.Behave(is)
				if report := b.mustRun(); !slices.Contains(report.Steps, "promote") {
					t.Errorf("%s: %+v", name, report)
				}
				b.reads(name)
				time.Sleep(25 * time.Hour)
				b.mustRun()
				time.Sleep(29 * 24 * time.Hour)
			}
			b.ends(name)
		})
	}
}

// For as long as a new key is not accepted everywhere, readers have the old one.
func TestAKeyThatIsAcceptedLateIsPromotedLate(t *testing.T) {
	for lag := time.Duration(0); lag <= time.Minute; lag += 5 * time.Second {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, dir)
			b.mustRun()
			time.Sleep(30 * 24 * time.Hour)
			b.service.Behave(openaitest.Behavior{Lag: lag})
			before := time.Now()
			b.opts.OnStep = func(step rotation.Step, _ rotation.State) {
				if took := time.Since(before); step == "promote" && (took < lag || took > lag+2*time.Second) {
					t.Errorf("promoted after %v, with a lag of %v", took, lag)
				}
				b.reads(lag.String())
			}
			if report := b.mustRun(); len(report.Steps) != 4 {
				t.Errorf("%v: %+v", lag, report)
			}
			b.ends(lag.String())
		})
	}
}

// A key that is deleted late is neither an orphan nor deleted again.
func TestAKeyThatLingersIsRevokedOnce(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dir)
		b.service.Behave(openaitest.Behavior{Linger: time.Minute})
		b.mustRun()
		time.Sleep(30 * 24 * time.Hour)
		b.mustRun()
		time.Sleep(24 * time.Hour)
		report := b.mustRun()
		if !slices.Equal(report.Steps, []rotation.Step{"retire"}) || report.Orphans != 0 || b.service.Calls("delete") != 1 {
			t.Errorf("%+v, %d requests to delete", report, b.service.Calls("delete"))
		}
		b.ends("lingers")
	})
}

// The admin key is rotated by the same steps: it makes its own successor, which the
// issuers of keys and it itself then read from the store.
func TestTheAdminKeyRotatesItself(t *testing.T) {
	dir := private(t, t.TempDir())
	keys := private(t, t.TempDir())
	t.Setenv("ROTATION_TEST_FIRST_ADMIN_KEY", adminKey)
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, keys)
		b.service.Put("", "somebody", "sk-admin-CANARY-somebody")
		store, err := file.New(dir)
		if err != nil {
			t.Fatal(err)
		}
		// A process for each run, as by a timer.
		open := func(o *openaiadmin.Options) *openaiadmin.Issuer {
			src, err := credential.NewChain(credential.File(filepath.Join(dir, "key")), credential.Env("ROTATION_TEST_FIRST_ADMIN_KEY"))
			if err != nil {
				t.Fatal(err)
			}
			o.Transport = b.service
			i, err := openaiadmin.New(src, o)
			if err != nil {
				t.Fatal(err)
			}
			return i
		}
		for turn := range 4 {
			for range 2 {
				r, err := rotation.New(open(&openaiadmin.Options{AdminKeys: true}), store, nil)
				if err != nil {
					t.Fatal(err)
				}
				report, err := r.Run(t.Context())
				if err != nil || report.Current == "" || strings.Contains(fmt.Sprintf("%+v", report), "CANARY") {
					t.Fatalf("turn %d: %v", turn, err)
				}
				b.issuer = open(&openaiadmin.Options{Project: openaitest.Project, ServiceAccount: openaitest.ServiceAccount, AllScopes: true})
				b.mustRun()
				time.Sleep(15 * 24 * time.Hour)
			}
		}
		admins := b.service.Keys("")
		if len(admins) != 3 { // the first, somebody's, and the current one; the others are revoked or have expired
			t.Errorf("%d admin keys", len(admins))
		}
		if k := admins[len(admins)-1]; !strings.HasPrefix(k.Name, "latchkey/") || k.Life != 44*24*time.Hour {
			t.Errorf("%s lives for %v", k.Name, k.Life)
		}
	})
}

func TestAdminKeysGoWithNoServiceAccount(t *testing.T) {
	key := credential.Static(credential.NewSecret(adminKey), credential.APIKey)
	for name, opts := range map[string]*openaiadmin.Options{
		"project": {AdminKeys: true, Project: "p"}, "account": {AdminKeys: true, ServiceAccount: "s"}, "scopes": {AdminKeys: true, Scopes: []string{"a"}}, "all": {AdminKeys: true, AllScopes: true},
	} {
		if _, err := openaiadmin.New(key, opts); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
