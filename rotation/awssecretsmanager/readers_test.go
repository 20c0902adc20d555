package awssecretsmanager_test

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/testing/awstest"
	"github.com/latchkey-go/latchkey/internal/testing/rotationtest"
	"github.com/latchkey-go/latchkey/rotation"
)

// A key that a person has put into the secret goes on as the current one, in the form
// in which it is there, and as the previous one for the overlap.
func TestAKeyThatAPersonHasMadeIsTakenOver(t *testing.T) {
	for field, text := range map[string]string{"": "%s", "apiKey": `{"apiKey":"%s","team":"search","limits":{"rpm":60}}`} {
		b := newBench(t, field)
		k, err := b.Service.Issue(t.Context(), rotation.Version{Token: "by hand"}, nil, b.Service.Clock().Add(400*rotationtest.Day))
		b.must(err)
		old := k.Secret.Reveal()
		b.sm.Put(name, strings.Replace(text, "%s", old, 1)+"\n") // as an editor writes it
		if s := b.load(); !strings.HasPrefix(s.Current.Token, "found/") || s.Current.Secret.Reveal() != old || s.Current.KeyID != "" {
			t.Fatalf("%q: %s", field, tokenOf(s.Current))
		}
		b.Readers(old)
		b.MustRun()
		if b.Readers(old) == old {
			t.Errorf("%q: not rotated", field)
		}
		if field != "" {
			var doc map[string]any
			if json.Unmarshal([]byte(b.sm.Text(name, awstest.Current)), &doc) != nil || !slices.Equal(slices.Sorted(maps.Keys(doc)), []string{"apiKey", "limits", "team"}) {
				t.Error("the other members of the document are gone")
			}
		}
		b.Service.Pass(3 * rotationtest.Day)
		if r := b.MustRun(); !strings.HasPrefix(r.Unrevoked, "found/") || r.Previous != "" || !b.Service.Accepts(old) {
			t.Errorf("%q: %+v", field, r)
		}
	}
}

// Each crash of the first rotation of such a key.
func TestATakeoverCanBeKilledAnywhere(t *testing.T) {
	for at := range 40 {
		b := newBench(t, "apiKey")
		k, err := b.Service.Issue(t.Context(), rotation.Version{Token: "by hand"}, nil, b.Service.Clock().Add(400*rotationtest.Day))
		b.must(err)
		b.sm.Put(name, `{"apiKey":"`+k.Secret.Reveal()+`"}`)
		_, _ = b.Run(&rotationtest.Fault{At: at / 2, Answer: at%2 == 0})
		b.Readers(k.Secret.Reveal())
		b.Service.Pass(10 * minute)
		b.MustRun()
		if b.Readers(k.Secret.Reveal()) == k.Secret.Reveal() {
			t.Errorf("at %d: not rotated", at)
		}
		b.Service.Pass(3 * rotationtest.Day)
		if r := b.MustRun(); r.Previous != "" || r.Unrevoked == "" {
			t.Errorf("at %d: %+v", at, r)
		}
	}
}

// The version that stands for a key to come is none for readers: not in either form,
// not as AWSPENDING, and not as AWSCURRENT, which Secrets Manager puts on the first
// version of a secret.
func TestNoReaderTakesAVersionWithoutAKeyForOne(t *testing.T) {
	for _, field := range []string{"", "apiKey"} {
		b := newBench(t, field)
		b.must(b.store.Stage(t.Context(), b.load(), b.prepared("latchkey/one")))
		if b.sm.Text(name, awstest.Current) == "" || b.sm.Text(name, awstest.Pending) == "" {
			t.Fatal("the note is not where it should be for this test")
		}
		v, err := b.Source.Retrieve(t.Context())
		cache, cacheErr := credential.NewCache(b.Source, nil)
		b.must(cacheErr)
		if _, cacheErr = cache.Retrieve(t.Context()); cacheErr == nil && err == nil {
			t.Errorf("%q: a reader has a key of %d bytes", field, len(v.Secret.Reveal()))
		}
		b.Service.Pass(10 * minute)
		b.MustRun()
		b.Readers("")
		b.Service.Pass(30 * rotationtest.Day)
		b.must(b.store.Stage(t.Context(), b.load(), b.prepared("latchkey/two")))
		if before, after, err := refusedOnce(t, b); err == nil && !after.Secret.Equal(before.Secret) {
			t.Errorf("%q: a reader has another key, of %d bytes", field, len(after.Secret.Reveal()))
		}
		b.Readers("")
	}
}

// refusedOnce is a call whose key is refused, of a reader with a Cache.
func refusedOnce(t *testing.T, b *bench) (before, after credential.Value, err error) {
	t.Helper()
	cache, err := credential.NewCache(b.Source, &credential.CacheOptions{Grace: -1})
	b.must(err)
	before, err = cache.Retrieve(t.Context())
	b.must(err)
	after, err = cache.Replace(t.Context(), credential.Rejection{Value: before, StatusCode: 401})
	return before, after, err
}

// A reader whose key is refused before the promotion has the pending one.
func TestThePendingKeyIsTheStandbyOfReaders(t *testing.T) {
	b := newBench(t, "apiKey")
	b.MustRun()
	b.Service.Pass(30 * rotationtest.Day)
	b.must(b.store.Stage(t.Context(), b.load(), b.prepared("latchkey/next")))
	next := b.keyed(b.prepared("latchkey/next"))
	b.must(b.store.Stage(t.Context(), b.load(), next))
	if key, err := standby(t.Context(), b.Source); err != nil || key != next.Secret.Reveal() {
		t.Errorf("%v", err)
	}
	state := b.load()
	b.must(b.Service.Revoke(t.Context(), state.Current.KeyID))
	cache, err := credential.NewCache(b.Source, nil)
	b.must(err)
	v, err := cache.Retrieve(t.Context())
	b.must(err)
	if v, err = cache.Replace(t.Context(), credential.Rejection{Value: v, StatusCode: 401}); err != nil || !b.Service.Accepts(v.Secret.Reveal()) {
		t.Errorf("%v", err)
	}
}

// A person who puts a key into the secret after a rotation has the last word.
func TestAKeyThatAPersonPutsInLaterStays(t *testing.T) {
	b := newBench(t, "")
	b.MustRun()
	k, err := b.Service.Issue(t.Context(), rotation.Version{Token: "by hand"}, nil, b.Service.Clock().Add(400*rotationtest.Day))
	b.must(err)
	b.sm.Put(name, k.Secret.Reveal())
	s := b.load()
	if s.Pending != nil || s.Current.Secret.Reveal() != k.Secret.Reveal() {
		t.Errorf("pending %q, current %q", tokenOf(s.Pending), tokenOf(s.Current))
	}
	b.MustRun()
	b.Readers(k.Secret.Reveal())
}

// So it is if a rotation that died has left AWSPENDING on the version before.
func TestALabelThatIsLeftBehindIsNoPendingKey(t *testing.T) {
	b := newBench(t, "")
	b.MustRun()
	id, stage := b.load().Revision, awstest.Pending
	id, _, _ = strings.Cut(id, "/")
	_, err := client(b.sm, b.sm).UpdateSecretVersionStage(t.Context(), &secretsmanager.UpdateSecretVersionStageInput{SecretId: aws.String(name), VersionStage: &stage, MoveToVersionId: &id})
	b.must(err)
	if s := b.load(); s.Pending != nil || s.Current == nil {
		t.Errorf("pending %q beside AWSCURRENT", tokenOf(s.Pending))
	}
	b.sm.Put(name, byHand)
	if s := b.load(); s.Pending != nil || s.Current.Secret.Reveal() != byHand {
		t.Errorf("pending %q beside AWSPREVIOUS", tokenOf(s.Pending))
	}
}

// The first version of a secret is AWSCURRENT in any case, also if it has no key: it is
// pending all the same, can be abandoned, and leaves nothing in the document.
func TestTheFirstVersionIsPending(t *testing.T) {
	b := newBench(t, "apiKey")
	b.must(b.store.Stage(t.Context(), b.load(), b.prepared("latchkey/one")))
	b.must(b.store.Abandon(t.Context(), b.load()))
	if s := b.load(); s.Pending != nil || s.Current != nil {
		t.Errorf("pending %q, current %q", tokenOf(s.Pending), tokenOf(s.Current))
	}
	b.must(b.store.Stage(t.Context(), b.load(), b.prepared("latchkey/two")))
	b.must(b.store.Stage(t.Context(), b.load(), b.keyed(b.prepared("latchkey/two"))))
	if text := b.sm.Text(name, awstest.Pending); strings.Count(text, ":") != 1 {
		t.Errorf("the document has %d members", strings.Count(text, ":"))
	}
}

func TestAFormThatReadersDoNotHaveIsAnError(t *testing.T) {
	b := newBench(t, "")
	b.sm.Put(name, `{"apiKey":"`+byHand+`"}`)
	if _, err := b.store.Load(t.Context()); err == nil || !strings.Contains(err.Error(), "Field") || strings.Contains(err.Error(), "CANARY") {
		t.Error("a document without Field: no error, or one without advice, or with the key")
	}
	b = newBench(t, "apiKey")
	b.sm.Put(name, byHand)
	if _, err := b.store.Load(t.Context()); err == nil || strings.Contains(err.Error(), "CANARY") {
		t.Error("a text with Field: no error, or one with the key")
	}
	b.sm.Put(name, `{"other":"`+byHand+`"}`)
	if _, err := b.store.Load(t.Context()); !errors.Is(err, credential.ErrNotFound) || strings.Contains(err.Error(), "CANARY") {
		t.Error("another field: no error, or one with the key")
	}
}
