package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/awssecretsmanager"
	"github.com/latchkey-go/latchkey/internal/testing/awstest"
	"github.com/latchkey-go/latchkey/internal/testing/openaitest"
	awsstore "github.com/latchkey-go/latchkey/rotation/awssecretsmanager"
	"github.com/latchkey-go/latchkey/rotation/openaiadmin"
)

// The stores that a rehearsal has of its own.
const (
	directory      = "directory"
	secretsManager = "secretsmanager"
)

// embed starts an issuer, the API that its keys are for, and a store of the kind.
func embed(kind string) (*world, error) {
	w := &world{clock: &clock{}, ttl: 100 * time.Millisecond, ends: &ends{}}
	w.opts.Now = w.clock.now
	err := w.embedIssuer()
	if err == nil && kind == secretsManager {
		err = w.embedSecretsManager()
	} else if err == nil {
		err = w.embedDirectory()
	}
	if err != nil {
		w.end()
		return nil, err
	}
	return w, nil
}

func (w *world) embedIssuer() error {
	admin := "sk-admin-CANARY-" + rand.Text()
	w.service = openaitest.New(admin, behind(), w.clock.now)
	base, err := w.serve(w.service)
	if err != nil {
		return err
	}
	w.base = base + "/v1/"
	w.issuerRef = "openaiadmin:" + openaitest.Project + "/" + openaitest.ServiceAccount
	w.env = append(w.env, "OPENAI_BASE_URL="+w.base, "OPENAI_ADMIN_KEY="+admin, "OPENAI_ADMIN_KEY_STORE=")
	w.issuer, err = issuerOf(credential.Static(credential.NewSecret(admin), credential.APIKey), &openaiadmin.Options{
		Project: openaitest.Project, ServiceAccount: openaitest.ServiceAccount, Scopes: []string{"api.model.request"}, BaseURL: w.base,
	})
	return err
}

// behind is the API behind the check of keys.
func behind() http.Handler {
	const key = "sk-CANARY-behind"
	api := clienttest.NewService(key)
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		r.Header.Set("Authorization", "Bearer "+key)
		api.ServeHTTP(rw, r)
	})
}

func (w *world) embedDirectory() error {
	dir, err := os.MkdirTemp("", "rehearsal")
	if err != nil {
		return err //nolint:wrapcheck // it names the directory
	}
	w.close = append(w.close, func() { _ = os.RemoveAll(dir) })
	w.storeRef = "file://" + dir
	w.store, w.source, err = openStore(w.storeRef)
	return err
}

// embedSecretsManager starts a server that speaks as AWS Secrets Manager does, labels,
// signatures and all. Victims find it by the variables of the SDK.
func (w *world) embedSecretsManager() error {
	const name = "rehearsal"
	sm := awstest.NewSecretsManager()
	sm.Create(name)
	base, err := w.serve(sm)
	if err != nil {
		return err
	}
	id := sm.Identity
	w.storeRef = "awssecretsmanager:" + name
	w.env = append(w.env, "AWS_ENDPOINT_URL_SECRETS_MANAGER="+base, "AWS_REGION="+sm.Region, "AWS_ACCESS_KEY_ID="+id.AccessKeyID,
		"AWS_SECRET_ACCESS_KEY="+id.SecretAccessKey, "AWS_SESSION_TOKEN="+id.SessionToken)
	client := secretsmanager.New(secretsmanager.Options{
		Region: sm.Region, BaseEndpoint: aws.String(base),
		Credentials: credentials.NewStaticCredentialsProvider(id.AccessKeyID, id.SecretAccessKey, id.SessionToken),
	})
	if w.store, err = awsstore.New(name, &awsstore.Options{Client: client}); err != nil {
		return err //nolint:wrapcheck // it names itself
	}
	w.source, err = awssecretsmanager.New(name, &awssecretsmanager.Options{Client: client, StandbyStage: awstest.Pending})
	return err //nolint:wrapcheck // it names itself
}

// serve serves h on loopback until the world ends, and returns its address.
func (w *world) serve(h http.Handler) (base string, err error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("%w", err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	w.close = append(w.close, func() { _ = server.Close(); serving.Wait() })
	return "http://" + listener.Addr().String(), nil
}
