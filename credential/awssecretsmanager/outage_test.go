package awssecretsmanager_test

import (
	"context"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/awssecretsmanager"
	"github.com/latchkey-go/latchkey/internal/testing/awstest"
)

func TestAnHourWithoutTheStoreFailsNoCall(t *testing.T) {
	for name, fault := range map[string]awstest.Fault{
		"throttling":     {Status: 400, Type: "ThrottlingException", Message: "Rate exceeded"},
		"an outage":      {Status: 503, Type: "ServiceUnavailableException"},
		"no answer":      {Hang: true},
		"another answer": {Status: 200, Body: "<html>"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sm := awstest.NewSecretsManager()
				sm.Put(secretName, oldKey)
				api := clienttest.NewService(oldKey)
				c := newCaller(t, api, newSource(t, secretName, &awssecretsmanager.Options{Client: inMemory(sm)}), nil)
				c.call(t.Context())
				sm.Fail(fault)
				tick := time.NewTicker(10 * time.Second)
				defer tick.Stop()
				for range 360 {
					<-tick.C
					c.call(t.Context())
				}
				c.clean(361)
				// A read a minute, of three attempts each, after a steeper start.
				if n := sm.Reads(); n > 3*70 || n < 40 {
					t.Errorf("%d requests to the store in an hour", n)
				}
				sm.Heal()
				sm.Put(secretName, newKey)
				api.Rotate(newKey)
				<-tick.C
				c.call(t.Context())
				c.clean(362)
			})
		})
	}
}

// A process that was frozen for an hour: its clock jumps, and the key was
// rotated meanwhile.
func TestTheCallAfterAFreezeSucceeds(t *testing.T) {
	noAWS(t)
	sm := awstest.NewSecretsManager()
	server := httptest.NewServer(sm)
	defer server.Close()
	setenv(t, sm.Identity.Env(sm.Region))
	t.Setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", server.URL)
	sm.Put(secretName, oldKey)
	api := clienttest.NewService(oldKey)
	var jump atomic.Int64
	c := newCaller(t, api, newSource(t, secretName, nil), &credential.CacheOptions{
		Now: func() time.Time { return time.Now().Add(time.Duration(jump.Load())) }})
	c.call(t.Context())
	sm.Put(secretName, newKey)
	api.Rotate(newKey)
	jump.Store(int64(time.Hour))
	c.call(t.Context())
	c.clean(2)
	if got := api.Stats().Unauthorized; got != 0 {
		t.Errorf("%d sends of a key that is an hour old, want none", got)
	}
}

func TestAnOldResultIsNotHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sm := awstest.NewSecretsManager()
		sm.Put(secretName, `{"a":"sk-CANARY-1","b":"sk-CANARY-2"}`)
		src := newSource(t, secretName, &awssecretsmanager.Options{Client: inMemory(sm), Field: "a", StandbyField: "b"})
		if _, err := src.Retrieve(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Minute)
		sm.Put(secretName, `{"a":"sk-CANARY-3","b":"sk-CANARY-4"}`)
		v, err := src.Standby().Retrieve(t.Context())
		if err != nil || v.Secret.Reveal() != "sk-CANARY-4" {
			t.Errorf("the standby gave what was read a minute ago (%v)", err)
		}
	})
}

// slow is a Client whose reads end when the test says so.
type slow struct {
	begun chan chan string // the text to answer with
}

func (s slow) GetSecretValue(context.Context, *secretsmanager.GetSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error) {
	answer := make(chan string)
	s.begun <- answer
	text := <-answer
	return &secretsmanager.GetSecretValueOutput{SecretString: &text}, nil
}

func TestASlowReadDoesNotHandOverWhatIsOlder(t *testing.T) {
	c := slow{make(chan chan string)}
	src := newSource(t, secretName, &awssecretsmanager.Options{Client: c, Field: "a", StandbyField: "b"})
	ended := make(chan error)
	read := func() (answer chan string) {
		go func() {
			_, err := src.Retrieve(t.Context())
			ended <- err
		}()
		return <-c.begun
	}
	first, second := read(), read()
	second <- `{"a":"sk-CANARY-3","b":"sk-CANARY-4"}`
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	first <- `{"a":"sk-CANARY-1","b":"sk-CANARY-2"}`
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	v, err := src.Standby().Retrieve(t.Context())
	if err != nil || v.Secret.Reveal() != "sk-CANARY-4" {
		t.Errorf("the standby got what an older read brought (%v)", err)
	}
}
