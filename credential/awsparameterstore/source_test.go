package awsparameterstore_test

import (
	"bytes"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/smithy-go/logging"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/awsparameterstore"
	"github.com/latchkey-go/latchkey/internal/testing/awstest"
)

func TestTheOptionsChooseTheVersionAndTheField(t *testing.T) {
	ps := onWire(t)
	ps.Put(parameter, "sk-CANARY-1")
	ps.Put(parameter, `{"a":"sk-CANARY-2a","b":"sk-CANARY-2b"}`)
	ps.Put(parameter, "sk-CANARY-3")
	ps.Label(parameter, "live", 2)
	ps.PutString("flat", "sk-CANARY-plain")
	type options = awsparameterstore.Options
	for _, c := range []struct {
		id             string
		opts           *options
		secret         string
		version, named string
		fixed          bool
	}{
		{parameter, nil, "sk-CANARY-3", "3", "awsparameterstore:/prod/openai", false},
		{parameter, &options{Version: "1"}, "sk-CANARY-1", "1", "awsparameterstore:/prod/openai", true},
		{parameter, &options{Stage: "live", Field: "a"}, "sk-CANARY-2a", "2", "awsparameterstore:/prod/openai@live", false},
		{ps.ARN(parameter), &options{Version: "2", Field: "/b"}, "sk-CANARY-2b", "2", "awsparameterstore:" + ps.ARN(parameter), true},
		{"flat", nil, "sk-CANARY-plain", "1", "awsparameterstore:flat", false},
		{ps.ARN("flat"), nil, "sk-CANARY-plain", "1", "awsparameterstore:" + ps.ARN("flat"), false},
	} {
		v, err := newSource(t, c.id, c.opts).Retrieve(t.Context())
		if err != nil {
			t.Errorf("%+v: %v", c.opts, err)
			continue
		}
		if v.Secret.Reveal() != c.secret || v.Version != c.version || v.Source != c.named || v.Fixed != c.fixed {
			t.Errorf("%+v: version %q of %q, Fixed %t, and the right secret: %t", c.opts, v.Version, v.Source, v.Fixed, v.Secret.Reveal() == c.secret)
		}
	}
}

func TestAStandbyIsTheOtherFieldWithoutAReadOrTheOtherLabelWithOne(t *testing.T) {
	ps := onWire(t)
	ps.Label(parameter, "next", ps.Put(parameter, `{"a":"sk-CANARY-next"}`))
	ps.Put(parameter, `{"a":"sk-CANARY-1","b":"sk-CANARY-2"}`)
	ps.Label(parameter, "next", 1)
	src := newSource(t, parameter, &awsparameterstore.Options{Field: "a", StandbyField: "b", StandbyStage: "next"})
	want := []string{"sk-CANARY-1", "sk-CANARY-2", "sk-CANARY-next"}
	for i, s := 0, credential.Source(src); s != nil; i++ {
		v, err := s.Retrieve(t.Context())
		if err != nil || i >= len(want) || v.Secret.Reveal() != want[i] {
			t.Fatalf("source %d: %v", i, err)
		}
		next, _ := s.(interface{ Standby() credential.Source })
		s = next.Standby()
		if i == 2 && s != nil {
			t.Fatal("there are more than three")
		}
	}
	if n := ps.Reads(); n != 2 {
		t.Errorf("%d reads for three keys in two versions", n)
	}
}

func TestAPinnedVersionIsNotReadAgain(t *testing.T) {
	ps := onWire(t)
	ps.Put(parameter, oldKey)
	src := newSource(t, parameter, &awsparameterstore.Options{Version: "1"})
	v, err := src.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = src.Renew(t.Context(), credential.Rejection{Value: v, StatusCode: http.StatusUnauthorized})
	wantError(t, err, nil, `Version pins version "1"`, "leave Version out")
	if n := ps.Reads(); n != 1 {
		t.Errorf("%d reads", n)
	}
}

func TestThePolicyOfExpirationIsTheExpiryOfItsVersion(t *testing.T) {
	ps := onWire(t)
	ps.Put(parameter, oldKey)
	ps.Put(parameter, newKey)
	end := time.Now().Add(48 * time.Hour).Truncate(time.Second)
	ps.Expire(parameter, end)
	type options = awsparameterstore.Options
	for _, c := range []struct {
		opts  options
		want  time.Time
		calls int
	}{
		{options{ExpiryPolicy: true}, end, 1},
		{options{ExpiryPolicy: true, Version: "2"}, end, 1},
		{options{ExpiryPolicy: true, Version: "1"}, time.Time{}, 1},
		{options{}, time.Time{}, 0},
	} {
		before := ps.Calls("DescribeParameters")
		v, err := newSource(t, parameter, &c.opts).Retrieve(t.Context())
		if err != nil || !v.Expires.Equal(c.want) {
			t.Errorf("%+v: expires %v, %v; want %v", c.opts, v.Expires, err, c.want)
		}
		if n := ps.Calls("DescribeParameters") - before; n != c.calls {
			t.Errorf("%+v: %d DescribeParameters, want %d", c.opts, n, c.calls)
		}
	}
	ps.Expire(parameter, time.Now().Add(-time.Minute))
	if v, err := newSource(t, parameter, &options{ExpiryPolicy: true}).Retrieve(t.Context()); err != nil || !v.Expires.IsZero() {
		t.Errorf("a time that is past: expires %v, %v", v.Expires, err)
	}
}

func TestAKeyIsNotHeldBackBecauseItsExpiryCannotBeReadNow(t *testing.T) {
	for _, c := range []struct {
		fault awstest.Fault
		says  string // empty: no error
	}{
		{awstest.Fault{Op: "DescribeParameters", Status: 400, Type: "ThrottlingException"}, ""},
		{awstest.Fault{Op: "DescribeParameters", Status: 503}, ""},
		{awstest.Fault{Op: "DescribeParameters", Status: 400, Type: "AccessDeniedException"}, "allow ssm:DescribeParameters on arn:aws:ssm:eu-west-1:ACCOUNT:*"},
		{awstest.Fault{Op: "DescribeParameters", Status: 200, Body: `{"Parameters":[{"Name":"/prod/openai","Version":1,"Policies":[{"PolicyType":"Expiration","PolicyText":"CANARY"}]}]}`},
			"no time that can be read"},
	} {
		ps := onWire(t)
		ps.Put(parameter, oldKey)
		ps.Fail(c.fault)
		v, err := newSource(t, parameter, &awsparameterstore.Options{ExpiryPolicy: true}).Retrieve(t.Context())
		if c.says != "" {
			wantError(t, err, nil, c.says)
		} else if err != nil || v.Secret.Reveal() != oldKey || !v.Expires.IsZero() {
			t.Errorf("%s: expires %v, %v", c.fault.Type, v.Expires, err)
		}
	}
}

// The whole way: the policy of the store, the value, the event of the Cache.
func TestAnExpiryInTheStoreIsAnEventAheadOfTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := awstest.NewParameterStore()
		ps.Put(parameter, oldKey)
		end := time.Now().Add(10 * 24 * time.Hour).Truncate(time.Second)
		ps.Expire(parameter, end)
		var told []time.Duration
		cache, err := credential.NewCache(newSource(t, parameter, &awsparameterstore.Options{Client: inMemory(ps), ExpiryPolicy: true}),
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
		for range 5 * 24 {
			if _, err := cache.Retrieve(t.Context()); err != nil {
				t.Fatal(err)
			}
			<-tick.C
			synctest.Wait()
		}
		if len(told) != 1 || told[0] > 7*24*time.Hour || told[0] < 7*24*time.Hour-2*time.Hour {
			t.Errorf("the events came %v before the end, want one, 7 days before", told)
		}
	})
}

func TestTheSDKLogsNothing(t *testing.T) {
	ps := awstest.NewParameterStore()
	ps.Put(parameter, oldKey)
	var log bytes.Buffer
	id := ps.Identity
	loud := ssm.New(ssm.Options{
		Region: ps.Region, BaseEndpoint: aws.String("https://ssm.test"),
		Credentials:   credentials.NewStaticCredentialsProvider(id.AccessKeyID, id.SecretAccessKey, id.SessionToken),
		HTTPClient:    &http.Client{Transport: ps},
		ClientLogMode: aws.LogResponseWithBody | aws.LogRequestWithBody | aws.LogRetries,
		Logger:        logging.NewStandardLogger(&log),
	})
	if _, err := newSource(t, parameter, &awsparameterstore.Options{Client: loud, ExpiryPolicy: true}).Retrieve(t.Context()); err != nil {
		t.Fatal(err)
	}
	if log.Len() > 0 {
		t.Errorf("the SDK logged %d bytes of a read", log.Len())
	}
}

func TestARequestThatIsNotSignedByTheCallerGetsNothing(t *testing.T) {
	ps := onWire(t)
	ps.Put(parameter, oldKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", "another")
	_, err := newSource(t, parameter, nil).Retrieve(t.Context())
	wantError(t, err, nil, "InvalidSignatureException")
	if errors.Is(err, credential.ErrNotFound) || !transient(err) {
		t.Errorf("%v", err)
	}
}
