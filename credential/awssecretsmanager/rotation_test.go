package awssecretsmanager_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/awssecretsmanager"
	"github.com/latchkey-go/latchkey/internal/testing/awstest"
)

// A rotation is the function that Secrets Manager calls four times, as AWS's
// template has it, for a key that dies when the next one is set.
type rotation struct {
	sdk   *secretsmanager.Client
	api   *clienttest.Service
	token string
}

func newRotation(t *testing.T, api *clienttest.Service) *rotation {
	t.Helper()
	cfg, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &rotation{sdk: secretsmanager.NewFromConfig(cfg), api: api, token: "7f1c0000-0000-4000-8000-000000000001"}
}

func (r *rotation) step(ctx context.Context, name string) error {
	id := aws.String(secretName)
	switch name {
	case "createSecret":
		_, err := r.sdk.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{
			SecretId: id, ClientRequestToken: &r.token, SecretString: aws.String(newKey), VersionStages: []string{awstest.Pending}})
		return err
	case "setSecret":
		r.api.Rotate(newKey) // the old key is dead from here on
		return nil
	case "testSecret":
		described, err := r.sdk.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: id})
		if err == nil && !slices.Contains(described.VersionIdsToStages[r.token], awstest.Pending) {
			err = errors.New("the new version is not pending")
		}
		return err
	}
	described, err := r.sdk.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: id})
	if err != nil {
		return err
	}
	for version, stages := range described.VersionIdsToStages {
		if slices.Contains(stages, awstest.Current) {
			_, err = r.sdk.UpdateSecretVersionStage(ctx, &secretsmanager.UpdateSecretVersionStageInput{
				SecretId: id, VersionStage: aws.String(awstest.Current), MoveToVersionId: &r.token, RemoveFromVersionId: aws.String(version)})
		}
	}
	return err
}

// underLoad runs f while several goroutines call; await returns once that many
// further calls have ended.
func underLoad(t *testing.T, c *caller, f func(await func(calls int))) {
	t.Helper()
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for !stop.Load() {
				c.call(t.Context())
			}
		})
	}
	f(func(calls int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		for end := c.made + calls; c.made < end; {
			c.ended.Wait()
		}
	})
	stop.Store(true)
	wg.Wait()
}

func TestNoCallFailsInTheFourStepsOfARotation(t *testing.T) {
	for name, standby := range map[string]string{"with the pending version as standby": awstest.Pending, "by the grace alone": ""} {
		t.Run(name, func(t *testing.T) {
			sm := onWire(t)
			sm.Put(secretName, oldKey)
			api := clienttest.NewService(oldKey)
			c := newCaller(t, api, newSource(t, secretName, &awssecretsmanager.Options{StandbyStage: standby}), nil)
			r := newRotation(t, api)
			step := func(name string) {
				if err := r.step(t.Context(), name); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			underLoad(t, c, func(await func(int)) {
				await(50)
				step("createSecret")
				await(50)
				before := sm.Reads()
				step("setSecret")
				step("testSecret")
				if standby != "" {
					await(100) // the gap may last as long as it likes
				} else if !sm.WaitReads(t.Context().Done(), before+3) {
					t.Error("the grace did not read the secret again")
				}
				step("finishSecret")
				await(100)
			})
			c.clean(200)
			if n := sm.Reads(); standby != "" && n != 3 {
				t.Errorf("%d reads, want 3: the first, and one of each version when the key was rejected", n)
			}
			if got := api.Stats().Unauthorized; got > 16 {
				t.Errorf("%d sends with the dead key by 8 callers", got)
			}
		})
	}
}

func TestTwoFieldsOfOneVersionCostOneRead(t *testing.T) {
	sm := awstest.NewSecretsManager()
	sm.Put(secretName, fmt.Sprintf(`{"key1":%q,"key2":%q}`, oldKey, newKey))
	src := newSource(t, secretName, &awssecretsmanager.Options{Client: inMemory(sm), Field: "key1", StandbyField: "key2"})
	api := clienttest.NewService(oldKey)
	c := newCaller(t, api, src, nil)
	c.call(t.Context())
	api.Rotate(newKey)
	c.call(t.Context())
	c.call(t.Context())
	c.clean(3)
	if n := sm.Reads(); n != 2 {
		t.Errorf("%d reads, want 2: the first and one for both fields", n)
	}
}

func TestAFailedReadIsNotRepeatedForTheOtherField(t *testing.T) {
	sm := awstest.NewSecretsManager()
	sm.Put(secretName, fmt.Sprintf(`{"key1":%q,"key2":%q}`, oldKey, newKey))
	src := newSource(t, secretName, &awssecretsmanager.Options{Client: inMemory(sm), Field: "key1", StandbyField: "key2"})
	sm.Fail(awstest.Fault{Status: 400, Type: "AccessDeniedException"})
	_, err := src.Retrieve(t.Context())
	_, standbyErr := src.Standby().Retrieve(t.Context())
	if err == nil || standbyErr == nil || sm.Reads() != 1 {
		t.Errorf("%v, %v after %d reads; want two errors and one read", err, standbyErr, sm.Reads())
	}
	if _, err := src.Standby().Retrieve(t.Context()); err == nil || sm.Reads() != 2 {
		t.Errorf("the result of a read was handed over twice (%d reads)", sm.Reads())
	}
}

func TestBothStandbysAreTriedTheFieldFirst(t *testing.T) {
	sm := awstest.NewSecretsManager()
	sm.Put(secretName, `{"key1":"sk-CANARY-1","key2":"sk-CANARY-2"}`)
	sm.PutAt(secretName, fmt.Sprintf(`{"key1":%q}`, newKey), awstest.Pending)
	src := newSource(t, secretName, &awssecretsmanager.Options{
		Client: inMemory(sm), Field: "key1", StandbyField: "key2", StandbyStage: awstest.Pending})
	api := clienttest.NewService("sk-CANARY-1")
	c := newCaller(t, api, src, nil)
	c.call(t.Context())
	api.Rotate("sk-CANARY-2")
	c.call(t.Context())
	if sm.Reads() != 2 {
		t.Errorf("%d reads for the second field, want 2", sm.Reads())
	}
	api.Rotate(newKey)
	c.call(t.Context())
	c.clean(3)
}

func TestAPinnedVersionSaysThatItIsPinned(t *testing.T) {
	sm := awstest.NewSecretsManager()
	version := sm.Put(secretName, oldKey)
	sm.Put(secretName, newKey)
	src := newSource(t, secretName, &awssecretsmanager.Options{Client: inMemory(sm), Version: version})
	cache, err := credential.NewCache(src, nil)
	if err != nil {
		t.Fatal(err)
	}
	v, err := cache.Retrieve(t.Context())
	if err != nil || v.Version != version || v.Secret.Reveal() != oldKey {
		t.Fatalf("the pinned version was not read: %q, %v", v.Version, err)
	}
	cache.Accept(v)
	_, err = cache.Replace(t.Context(), credential.Rejection{Value: v, StatusCode: 401})
	wantError(t, err, credential.ErrRejected, "Version pins version")
	if n := sm.Reads(); n != 1 {
		t.Errorf("%d reads of a version that cannot change, want 1", n)
	}
}

func TestAnARNNamesTheRegion(t *testing.T) {
	sm := onWire(t)
	sm.Put(secretName, oldKey)
	t.Setenv("AWS_REGION", "us-east-1") // the server admits signatures for its own region only
	if _, err := newSource(t, secretName, nil).Retrieve(t.Context()); err == nil {
		t.Error("a signature for another region passed")
	}
	for name, region := range map[string]string{"another region": "us-east-1", "no region": ""} {
		t.Setenv("AWS_REGION", region)
		if _, err := newSource(t, sm.ARN(secretName), nil).Retrieve(t.Context()); err != nil {
			t.Errorf("an ARN, and %s in the environment: %v", name, err)
		}
	}
	if _, ok := os.LookupEnv("AWS_DEFAULT_REGION"); ok {
		t.Error("the environment names a default region: the case without one was not tested")
	}
}
