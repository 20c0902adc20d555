// Lambda answers prompts in AWS Lambda. The OpenAI key is in Secrets Manager:
// the function reads it with its execution role, keeps it across invocations,
// and goes on when it is rotated or the sandbox was frozen meanwhile.
//
//	CGO_ENABLED=0 go build -tags lambda.norpc -o bootstrap ./examples/lambda
//
// The handler "stream" answers a function URL in RESPONSE_STREAM mode, any
// other one an API Gateway HTTP API. Outside of Lambda the same code answers
// one prompt, with an AWS profile or a single sign-on session:
//
//	SECRET_ID=prod/openai SECRET_FIELD=apiKey AWS_PROFILE=dev go run ./examples/lambda "Say hello."
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

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/awssecretsmanager"
)

// warmFor is what a cold start spends on the first connection and the key. A
// call may well succeed after it failed.
const warmFor = 5 * time.Second

func main() {
	onLambda := os.Getenv("AWS_LAMBDA_RUNTIME_API") != ""
	log := slog.New(withRequestID{slog.NewJSONHandler(os.Stdout, nil)})
	if !onLambda {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	f, err := newFunction(log)
	if err != nil {
		fail(log, "configuration", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), warmFor)
	if err := f.client.Warm(ctx); err != nil {
		log.Warn("warm", "error", err)
	}
	cancel()
	switch {
	case !onLambda:
		if err := f.once(strings.Join(os.Args[1:], " ")); err != nil {
			fail(log, "call failed", err)
		}
	case os.Getenv("_HANDLER") == "stream":
		lambda.Start(f.stream)
	default:
		lambda.Start(f.answer)
	}
}

func fail(log *slog.Logger, what string, err error) {
	log.Error(what, "error", err)
	os.Exit(1)
}

// A function is what lives across invocations.
type function struct {
	client *client.Client
	model  string
	log    *slog.Logger
}

// newFunction does no I/O. The client reads OPENAI_BASE_URL by itself.
func newFunction(log *slog.Logger) (*function, error) {
	src, err := awssecretsmanager.New(os.Getenv("SECRET_ID"), &awssecretsmanager.Options{
		Field:        os.Getenv("SECRET_FIELD"),
		StandbyStage: "AWSPENDING", // the next key, when a rotation has killed this one
		ExpiryTag:    os.Getenv("EXPIRY_TAG"),
	})
	if err != nil {
		return nil, fmt.Errorf("SECRET_ID: %w", err)
	}
	var ttl time.Duration
	if text := os.Getenv("SECRET_TTL"); text != "" {
		if ttl, err = time.ParseDuration(text); err != nil {
			return nil, fmt.Errorf("SECRET_TTL: want a duration, for example 5m: %w", err)
		}
	}
	measured, err := newMetrics(os.Stdout)
	if err != nil {
		return nil, err
	}
	logged := logEvent(log)
	c, err := client.New(client.Config{
		Source: src,
		Cache: &credential.CacheOptions{TTL: ttl, OnEvent: func(e credential.Event) {
			logged(e)
			measured.event(e)
		}},
		Logger:       log,
		Observe:      measured.observe,
		IncludeUsage: true,
	})
	if err != nil {
		return nil, err
	}
	model := os.Getenv("OPENAI_MODEL")
	if model == "" {
		model = "gpt-5-mini"
	}
	return &function{client: c, model: model, log: log}, nil
}

// logEvent logs what happens to the key. The alarms of template.yaml look for
// these messages.
func logEvent(log *slog.Logger) func(credential.Event) {
	return func(e credential.Event) {
		level := slog.LevelInfo
		attrs := []slog.Attr{slog.String("source", e.Source), slog.String("version", e.Version), slog.Duration("age", e.Age)}
		if e.Kind == credential.EventRejected || e.Kind == credential.EventStaleServed {
			level = slog.LevelWarn
		}
		if e.Err != nil {
			level = slog.LevelError
			attrs = append(attrs, slog.String("error", e.Err.Error()))
		}
		log.LogAttrs(context.Background(), level, "credential "+string(e.Kind), attrs...)
	}
}

// withRequestID adds the id of the invocation to each record.
type withRequestID struct{ slog.Handler }

func (h withRequestID) Handle(ctx context.Context, r slog.Record) error {
	if lc, ok := lambdacontext.FromContext(ctx); ok {
		r.AddAttrs(slog.String("requestId", lc.AwsRequestID))
	}
	return h.Handler.Handle(ctx, r)
}

func (h withRequestID) WithAttrs(attrs []slog.Attr) slog.Handler {
	return withRequestID{h.Handler.WithAttrs(attrs)}
}

func (h withRequestID) WithGroup(name string) slog.Handler {
	return withRequestID{h.Handler.WithGroup(name)}
}
