package awssecretsmanager_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/latchkey-go/latchkey/internal/testing/awstest"
	"github.com/latchkey-go/latchkey/internal/testing/rotationtest"
	"github.com/latchkey-go/latchkey/rotation"
)

// step is the rotation function, called for an event.
func (b *bench) step(e awstest.RotationEvent) (*rotation.Report, error) {
	b.T.Helper()
	report, err := b.store.Rotate(b.T.Context(), event(e), b.Service, &b.Options)
	if err != nil && strings.Contains(err.Error(), "CANARY") {
		b.T.Error("an error shows a secret")
	}
	return report, err
}

func (b *bench) function(e awstest.RotationEvent) error {
	_, err := b.step(e)
	return err
}

// begin is a rotation that has been begun, with its event for a step.
func (b *bench) begin() func(step string) awstest.RotationEvent {
	b.T.Helper()
	e, err := b.sm.Begin(name, true)
	b.must(err)
	return func(step string) awstest.RotationEvent { e.Step = step; return e }
}

func TestSecretsManagerRotatesByTheFunction(t *testing.T) {
	for _, field := range []string{"", "apiKey"} {
		b := newBench(t, field)
		key := ""
		for range 4 {
			b.must(b.sm.Rotate(name, false, b.function))
			next := b.Readers(key)
			if next == key {
				t.Fatal("the key is the same")
			}
			key = next
			b.Service.Pass(8 * rotationtest.Day)
		}
		// The one before works until the next rotation, or a scheduled run.
		if len(b.Service.Alive()) != 2 {
			t.Errorf("alive: %v", b.Service.Alive())
		}
		if _, err := b.step(awstest.RotationEvent{Step: "retire"}); err != nil || len(b.Service.Alive()) != 1 {
			t.Errorf("%v, alive: %v", err, b.Service.Alive())
		}
		b.Readers("")
		if n := b.ours(); n != 2 {
			t.Errorf("%d labels of ours", n)
		}
	}
}

func TestTheOldKeyIsNotRevokedByFinishSecret(t *testing.T) {
	b := newBench(t, "")
	b.must(b.sm.Rotate(name, false, b.function))
	key := b.Readers("")
	b.Service.Pass(30 * rotationtest.Day)
	b.must(b.sm.Rotate(name, false, b.function))
	b.Readers(key)
	if r, err := b.step(awstest.RotationEvent{Step: "retire"}); err != nil || len(r.Steps) != 0 || !r.Next.After(b.Service.Clock()) {
		t.Errorf("%+v, %v", r, err)
	}
	b.Readers(key)
}

// The previous key goes at the next createSecret if no schedule has done it; and a
// rotation that comes within the overlap fails, and changes nothing.
func TestCreateSecretRetiresThePreviousKeyFirst(t *testing.T) {
	b := newBench(t, "")
	b.must(b.sm.Rotate(name, false, b.function))
	key := b.Readers("")
	b.Service.Pass(30 * rotationtest.Day)
	b.must(b.sm.Rotate(name, false, b.function))
	if err := b.sm.Rotate(name, false, b.function); err == nil || !strings.Contains(err.Error(), "overlap") {
		t.Errorf("%v", err)
	}
	b.Readers(key)
	if b.Service.Made() != 2 {
		t.Errorf("%d keys made", b.Service.Made())
	}
	b.Service.Pass(3 * rotationtest.Day)
	b.must(b.sm.Rotate(name, false, b.function))
	if b.Readers(""); b.Service.Accepts(key) {
		t.Error("the key before the previous one lives")
	}
}

// RotateImmediately=false: testSecret alone, for a copy of the current version.
func TestTestSecretAloneIsSuccessfulAndChangesNothing(t *testing.T) {
	b := newBench(t, "")
	k, err := b.Service.Issue(t.Context(), rotation.Version{}, nil, b.Service.Clock().Add(400*rotationtest.Day))
	b.must(err)
	b.sm.Put(name, k.Secret.Reveal())
	before := b.load().Revision
	b.must(b.sm.Rotate(name, true, b.function))
	if after := b.load().Revision; after != before || b.Service.Made() != 1 {
		t.Errorf("%s, then %s; %d keys made", before, after, b.Service.Made())
	}
	// So it is for a secret that has no value yet, when a stack is deployed.
	b.sm.Create(name)
	b.must(b.sm.Rotate(name, true, b.function))
	b.must(b.sm.Rotate(name, false, b.function))
	b.Readers("")
}

// AWSPENDING is there before createSecret, and has no value.
func TestAVersionWithoutAValueGetsTheKey(t *testing.T) {
	b := newBench(t, "")
	b.must(b.sm.Rotate(name, false, b.function))
	event := b.begin()
	if s := b.load(); s.Pending == nil || !s.Pending.Secret.IsZero() {
		t.Fatal("no pending version, or one with a key")
	}
	if r, err := b.step(event("testSecret")); err == nil || len(r.Steps) > 0 {
		t.Errorf("a version without a key has passed the test: %+v", r)
	}
	_, err := b.step(event("createSecret"))
	b.must(err)
	if s := b.load(); s.Pending.Secret.IsZero() || s.Pending.Token != "latchkey/"+event("").ClientRequestToken || len(b.sm.Stages(name)) != 2 {
		t.Errorf("pending %q, %d versions", tokenOf(s.Pending), len(b.sm.Stages(name)))
	}
}

// AWSCURRENT may be on that version as well, if it is the first one of the secret.
func TestTheFirstVersionGetsTheKeyWhereverTheLabelsAre(t *testing.T) {
	b := newBench(t, "apiKey")
	event := b.begin()
	id, stage := event("").ClientRequestToken, awstest.Current
	_, err := client(b.sm, b.sm).UpdateSecretVersionStage(t.Context(), &secretsmanager.UpdateSecretVersionStageInput{SecretId: aws.String(name), VersionStage: &stage, MoveToVersionId: &id})
	b.must(err)
	for _, step := range []string{"createSecret", "setSecret", "testSecret", "finishSecret"} {
		if _, err := b.step(event(step)); err != nil {
			t.Fatalf("%s: %v", step, err)
		}
	}
	b.Readers("")
	if s := b.load(); s.Current.KeyID != "key_1" || b.Service.Made() != 1 {
		t.Errorf("%+v, %d keys made", s, b.Service.Made())
	}
}

func TestAValueOfAnEarlierAttemptIsUsedAgain(t *testing.T) {
	b := newBench(t, "")
	b.must(b.sm.Rotate(name, false, b.function))
	b.Service.Pass(30 * rotationtest.Day)
	for _, failing := range []string{"setSecret", "testSecret", "finishSecret"} {
		err := b.sm.Rotate(name, false, func(e awstest.RotationEvent) error {
			if e.Step == failing {
				return errors.New("out of time")
			}
			return b.function(e)
		})
		if err == nil {
			t.Fatal("no failure")
		}
	}
	b.must(b.sm.Rotate(name, false, b.function))
	b.Readers("")
	if b.Service.Made() != 2 {
		t.Errorf("%d keys made, want 2", b.Service.Made())
	}
}

func TestAnEventTwiceAndLateIsNoError(t *testing.T) {
	b := newBench(t, "")
	b.must(b.sm.Rotate(name, false, b.function))
	b.Service.Pass(30 * rotationtest.Day)
	event := b.begin()
	steps := []string{"createSecret", "setSecret", "testSecret", "finishSecret"}
	for i, step := range steps {
		for _, again := range steps[:i+1] {
			if _, err := b.step(event(again)); err != nil {
				t.Errorf("%s after %s: %v", again, step, err)
			}
		}
		if _, err := b.step(event(step)); err != nil {
			t.Errorf("%s twice: %v", step, err)
		}
	}
	key := b.Readers("")
	for _, step := range steps { // it is AWSCURRENT: success, and nothing is done
		if r, err := b.step(event(step)); err != nil || len(r.Steps) > 0 {
			t.Errorf("%s late: %+v, %v", step, r, err)
		}
	}
	if b.Readers("") != key || b.Service.Made() != 2 {
		t.Errorf("%d keys made", b.Service.Made())
	}
	b.Service.Pass(30 * rotationtest.Day)
	b.must(b.sm.Rotate(name, false, b.function))
	for _, step := range steps { // it is AWSPREVIOUS
		if _, err := b.step(event(step)); err == nil {
			t.Errorf("%s is successful for a version of the past", step)
		}
	}
	b.Readers(key)
}

func TestAnEventThatIsNotForThisIsAnError(t *testing.T) {
	b := newBench(t, "")
	b.must(b.sm.Rotate(name, false, b.function))
	event := b.begin()
	good := event("createSecret")
	for what, change := range map[string]func(*awstest.RotationEvent){
		"a token that the secret does not know": func(e *awstest.RotationEvent) { e.ClientRequestToken = "00000000-0000-4000-8000-000000009999" },
		"no token":                              func(e *awstest.RotationEvent) { e.ClientRequestToken = "" },
		"another secret":                        func(e *awstest.RotationEvent) { e.SecretId = b.sm.ARN("prod/other") },
		"a name that begins alike":              func(e *awstest.RotationEvent) { e.SecretId = b.sm.ARN(name + "-2") },
		"another step":                          func(e *awstest.RotationEvent) { e.Step = "dropSecret" },
		"no step":                               func(e *awstest.RotationEvent) { e.Step = "" },
	} {
		e := good
		change(&e)
		if r, err := b.step(e); err == nil || len(r.Steps) > 0 {
			t.Errorf("%s: %+v, %v", what, r, err)
		}
	}
	if b.Service.Made() != 1 {
		t.Errorf("%d keys made", b.Service.Made())
	}
}

func TestTheRotationTokenIsPassedOn(t *testing.T) {
	b := newBench(t, "")
	b.sm.RotationToken = "CANARY-rotation-token"
	if err := b.sm.Rotate(name, false, func(e awstest.RotationEvent) error { e.RotationToken = ""; return b.function(e) }); err == nil {
		t.Error("Secrets Manager does not want the token")
	}
	b.must(b.sm.Rotate(name, false, b.function))
	b.Readers("")
}

// Concurrent deliveries make one version; the keys that lost are revoked.
func TestAnEventThatComesAtOnceIsCarriedOutOnce(t *testing.T) {
	b := newBench(t, "")
	b.must(b.sm.Rotate(name, false, b.function))
	b.Service.Pass(30 * rotationtest.Day)
	event := b.begin()
	for _, step := range []string{"createSecret", "setSecret", "testSecret", "finishSecret"} {
		var wg sync.WaitGroup
		e := event(step)
		for range 4 {
			wg.Go(func() {
				if _, err := b.step(e); err != nil && !errors.Is(err, rotation.ErrConflict) && !strings.Contains(err.Error(), "pending") {
					t.Errorf("%s: %v", step, err)
				}
			})
		}
		wg.Wait()
		if _, err := b.step(e); err != nil {
			t.Errorf("%s: %v", step, err)
		}
		if n := len(b.Service.Alive()); n != 2 {
			t.Fatalf("%d keys live after %s", n, step)
		}
	}
	b.Readers("")
}

// The version has got a value at the last moment: it keeps that, and the other key goes.
func TestAVersionGetsAValueOnce(t *testing.T) {
	b := newBench(t, "")
	b.must(b.sm.Rotate(name, false, b.function))
	b.Service.Pass(30 * rotationtest.Day)
	e := b.begin()("createSecret")
	between := &hook{to: b.sm, op: "PutSecretValue", do: func() { b.must(b.function(e)) }}
	if _, err := newStore(t, b.sm, between, "").Rotate(t.Context(), event(e), b.Service, &b.Options); !errors.Is(err, rotation.ErrConflict) {
		t.Errorf("%v, want ErrConflict", err)
	}
	if s := b.load(); b.Service.Made() != 3 || len(b.Service.Alive()) != 2 || !b.Service.Accepts(s.Pending.Secret.Reveal()) {
		t.Errorf("%d keys made, alive %v", b.Service.Made(), b.Service.Alive())
	}
}

// Every crash in every step, of an attempt and of the one after it.
func TestAnyStepCanBeKilledAnywhereAndComesAgain(t *testing.T) {
	for at := range 64 {
		b := newBench(t, "")
		b.must(b.sm.Rotate(name, false, b.function))
		key := b.Readers("")
		b.Service.Pass(30 * rotationtest.Day)
		for n := range 2 {
			f := &rotationtest.Fault{At: at/2 + n, Answer: at%2 == 0}
			_ = b.sm.Rotate(name, false, func(e awstest.RotationEvent) error {
				_, err := b.Under(f).(interface {
					Rotate(context.Context, events.SecretsManagerSecretRotationEvent, rotation.Issuer, *rotation.Options) (*rotation.Report, error)
				}).Rotate(t.Context(), event(e), rotationtest.Lossy(b.Service, f), &b.Options)
				return err
			})
			b.Readers(key)
			b.Service.Pass(time.Minute)
		}
		// A rotation that came to its end is one of which the end was not heard.
		if now := b.Readers(key); now == key {
			b.must(b.sm.Rotate(name, false, b.function))
			b.Readers(key)
		}
		b.Service.Pass(3 * rotationtest.Day)
		if _, err := b.step(awstest.RotationEvent{Step: "retire"}); err != nil {
			t.Fatal(err)
		}
		if alive := b.Service.Alive(); len(alive) != 1 || slices.Contains(alive, "key_1") {
			t.Fatalf("at %d: alive %v", at, alive)
		}
		b.Readers("")
	}
}

func event(e awstest.RotationEvent) events.SecretsManagerSecretRotationEvent {
	return events.SecretsManagerSecretRotationEvent{Step: e.Step, SecretID: e.SecretId, ClientRequestToken: e.ClientRequestToken, RotationToken: e.RotationToken}
}
