// Aws is the rotation function of an OpenAI key in AWS Secrets Manager, for AWS Lambda.
//
//	CGO_ENABLED=0 go build -tags lambda.norpc -o bootstrap ./examples/rotation/aws
//
// Secrets Manager calls it for the four steps of a rotation, and a schedule, once an
// hour, with {"Step":"retire"}: then the old key is revoked, if its overlap is over.
//
// README.md says how to deploy it.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"

	source "github.com/latchkey-go/latchkey/credential/awssecretsmanager"
	"github.com/latchkey-go/latchkey/rotation"
	"github.com/latchkey-go/latchkey/rotation/awssecretsmanager"
	"github.com/latchkey-go/latchkey/rotation/openaiadmin"
)

// margin is kept of the invocation's time, to log what has failed.
const margin = 2 * time.Second

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	f, err := newFunction(log)
	if err != nil {
		log.Error("configuration", "error", err)
		os.Exit(1)
	}
	lambda.Start(f.handle)
}

// A function is what lives across invocations.
type function struct {
	store   *awssecretsmanager.Store
	issuer  rotation.Issuer
	opts    rotation.Options
	log     *slog.Logger
	metrics *metrics
}

// newFunction reads the environment, and does no I/O.
func newFunction(log *slog.Logger) (*function, error) {
	f := &function{log: log, metrics: &metrics{out: os.Stdout, namespace: os.Getenv("METRICS_NAMESPACE")}}
	var err error
	f.store, err = awssecretsmanager.New(os.Getenv("SECRET_ID"), &awssecretsmanager.Options{
		Field: os.Getenv("SECRET_FIELD"), ExpiryTag: os.Getenv("EXPIRY_TAG"),
	})
	if err != nil {
		return nil, fmt.Errorf("SECRET_ID: %w", err)
	}
	// The admin key is in a secret of its own, which only this function reads.
	admin, err := source.New(os.Getenv("ADMIN_SECRET_ID"), &source.Options{Field: os.Getenv("ADMIN_SECRET_FIELD")})
	if err != nil {
		return nil, fmt.Errorf("ADMIN_SECRET_ID: %w", err)
	}
	scopes := strings.FieldsFunc(os.Getenv("OPENAI_SCOPES"), func(c rune) bool { return c == ',' || c == ' ' })
	f.issuer, err = openaiadmin.New(admin, &openaiadmin.Options{
		Project: os.Getenv("OPENAI_PROJECT"), ServiceAccount: os.Getenv("OPENAI_SERVICE_ACCOUNT"), Scopes: scopes, BaseURL: os.Getenv("OPENAI_BASE_URL"),
	})
	if err != nil {
		return nil, fmt.Errorf("OPENAI_PROJECT, OPENAI_SERVICE_ACCOUNT, OPENAI_SCOPES: %w", err)
	}
	f.opts.Name = os.Getenv("KEY_NAME")
	for name, to := range map[string]*time.Duration{"ROTATE_EVERY": &f.opts.Every, "OVERLAP": &f.opts.Overlap, "READERS_TTL": &f.opts.ReadersTTL} {
		if *to, err = duration(os.Getenv(name)); err != nil {
			return nil, fmt.Errorf("%s: want a duration, for example 720h, or a number of days: %w", name, err)
		}
	}
	if f.opts.Every == 0 {
		f.opts.Every = 30 * 24 * time.Hour
	}
	if _, err := rotation.New(f.issuer, f.store, &f.opts); err != nil {
		return nil, fmt.Errorf("ROTATE_EVERY, OVERLAP, READERS_TTL, KEY_NAME: %w", err)
	}
	return f, nil
}

// duration reads 720h or, as CloudFormation cannot multiply, 30d. The empty text is
// zero.
func duration(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		d, err := time.ParseDuration(days + "h")
		return 24 * d, err
	}
	return time.ParseDuration(text)
}

// handle takes the step of an event.
func (f *function) handle(ctx context.Context, e events.SecretsManagerSecretRotationEvent) error {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-margin))
		defer cancel()
	}
	report, err := f.store.Rotate(ctx, e, f.issuer, &f.opts)
	log := f.log.With("step", e.Step, "version", e.ClientRequestToken, "taken", report.Steps, "current", report.Current, "previous", report.Previous, "next", report.Next)
	if report.Unrevoked != "" {
		log.WarnContext(ctx, "a key that was not made here is replaced: revoke it by hand", "token", report.Unrevoked)
	}
	values := measure(report, err)
	if err == nil && e.Step == "retire" {
		values[hoursLate], err = f.late(ctx)
	}
	if err != nil {
		values[failures] = 1
		log.ErrorContext(ctx, "rotation failed", "error", err)
	} else {
		log.InfoContext(ctx, "rotation step")
	}
	f.metrics.write(time.Now(), values)
	return err
}

// late is for how many hours the current key should have been replaced; negative if it
// is not due. A key that was not made here is not late.
func (f *function) late(ctx context.Context) (float64, error) {
	state, err := f.store.Load(ctx)
	if err != nil || state.Current == nil || state.Current.Promoted.IsZero() {
		return 0, err
	}
	return time.Since(state.Current.Promoted.Add(f.opts.Every)).Hours(), nil
}
