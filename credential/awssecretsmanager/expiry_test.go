package awssecretsmanager_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/awssecretsmanager"
	"github.com/latchkey-go/latchkey/internal/testing/awstest"
)

const tag = "key-expires"

func TestTheTagSaysWhenTheCurrentKeyEnds(t *testing.T) {
	sm := onWire(t)
	old := sm.Put(secretName, `{"a":"sk-CANARY-1","b":"sk-CANARY-2"}`)
	sm.Put(secretName, `{"a":"sk-CANARY-3","b":"sk-CANARY-4"}`)
	end := time.Now().Add(48 * time.Hour).Truncate(time.Second).UTC()
	sm.Tag(secretName, tag, end.Format(time.RFC3339))
	sm.Tag(secretName, "other", "CANARY")
	type options = awssecretsmanager.Options
	for name, c := range map[string]struct {
		opts  options
		want  time.Time
		calls int
	}{
		"the current version":         {options{Field: "a", ExpiryTag: tag}, end, 1},
		"the current version by name": {options{Field: "a", ExpiryTag: tag, Stage: awstest.Current}, end, 1},
		"the previous version":        {options{Field: "a", ExpiryTag: tag, Stage: awstest.Previous}, time.Time{}, 0},
		"a pinned version":            {options{Field: "a", ExpiryTag: tag, Version: old}, time.Time{}, 0},
		"another tag":                 {options{Field: "a", ExpiryTag: "absent"}, time.Time{}, 1},
		"no tag is named":             {options{Field: "a"}, time.Time{}, 0},
	} {
		before := sm.Calls("DescribeSecret")
		v, err := newSource(t, secretName, &c.opts).Retrieve(t.Context())
		if err != nil || !v.Expires.Equal(c.want) {
			t.Errorf("%s: expires %v, %v; want %v", name, v.Expires, err, c.want)
		}
		if n := sm.Calls("DescribeSecret") - before; n != c.calls {
			t.Errorf("%s: %d DescribeSecret, want %d", name, n, c.calls)
		}
		if v.Fixed != (c.opts.Version != "") {
			t.Errorf("%s: Fixed is %t", name, v.Fixed)
		}
	}
	src := newSource(t, secretName, &options{Field: "a", StandbyField: "b", ExpiryTag: tag})
	if _, err := src.Retrieve(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v, err := src.Standby().Retrieve(t.Context()); err != nil || !v.Expires.IsZero() {
		t.Errorf("the key of StandbyField expires at %v, %v", v.Expires, err)
	}
}

func TestAKeyIsNotHeldBackBecauseOfItsTag(t *testing.T) {
	for name, c := range map[string]struct {
		fault awstest.Fault
		value string
		says  string // empty: no error
	}{
		"throttled":           {awstest.Fault{Op: "DescribeSecret", Status: 400, Type: "ThrottlingException"}, "", ""},
		"down":                {awstest.Fault{Op: "DescribeSecret", Status: 503}, "", ""},
		"a time that is past": {awstest.Fault{Op: "none"}, "2020-01-31", ""},
		"not allowed":         {awstest.Fault{Op: "DescribeSecret", Status: 400, Type: "AccessDeniedException"}, "", "allow secretsmanager:DescribeSecret on " + iamARN},
		"no time":             {awstest.Fault{Op: "none"}, "CANARY", `the tag "key-expires" does not say when`},
	} {
		sm := onWire(t)
		sm.Put(secretName, oldKey)
		sm.Tag(secretName, tag, c.value)
		sm.Fail(c.fault)
		v, err := newSource(t, secretName, &awssecretsmanager.Options{ExpiryTag: tag}).Retrieve(t.Context())
		if c.says != "" {
			wantError(t, err, nil, c.says)
		} else if err != nil || v.Secret.Reveal() != oldKey || !v.Expires.IsZero() {
			t.Errorf("%s: expires %v, %v", name, v.Expires, err)
		}
	}
	_, err := awssecretsmanager.New(secretName, &awssecretsmanager.Options{ExpiryTag: tag, Client: slow{}})
	wantError(t, err, nil, "DescribeSecret")
}

// The whole way: the tag, the event a week ahead, and the key that still works
// when nobody has kept the tag up to date.
func TestATagIsAnEventAheadOfTimeAndNeverAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sm := awstest.NewSecretsManager()
		sm.Put(secretName, oldKey)
		end := time.Now().Add(10 * 24 * time.Hour)
		sm.Tag(secretName, tag, end.UTC().Format(time.RFC3339))
		var told []time.Duration
		cache, err := credential.NewCache(newSource(t, secretName, &awssecretsmanager.Options{Client: inMemory(sm), ExpiryTag: tag}),
			&credential.CacheOptions{OnEvent: func(ev credential.Event) {
				if ev.Kind == credential.EventExpiring {
					told = append(told, end.Sub(ev.Time))
				}
			}})
		if err != nil {
			t.Fatal(err)
		}
		tick := time.NewTicker(time.Hour)
		defer tick.Stop()
		for range 12 * 24 {
			if _, err := cache.Retrieve(t.Context()); err != nil {
				t.Fatalf("%v before the end: %v", time.Until(end), err)
			}
			<-tick.C
			synctest.Wait()
		}
		if len(told) != 1 || told[0] > 7*24*time.Hour || told[0] < 7*24*time.Hour-2*time.Hour {
			t.Errorf("the events came %v before the end, want one, 7 days before", told)
		}
	})
}
