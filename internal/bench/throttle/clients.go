package throttle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	"github.com/hashicorp/go-retryablehttp"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	goopenai "github.com/sashabaranov/go-openai"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
)

// A Contender is a client that is put through the scenarios.
type Contender struct {
	Name string
	What string
	// RealTime is true for a client that makes no progress while the clock
	// stands still, as it does in a testing/synctest bubble between timers.
	RealTime bool
	// make returns one process's client.
	make func(url string, rt http.RoundTripper) (caller, error)
}

// A caller sends a prompt to a model.
type caller func(ctx context.Context, model, prompt string) error

// Contenders returns all of them.
func Contenders() []Contender {
	return []Contender{
		{"latchkey", "openai-go over client.Options, defaults", false, newLatchkey},
		{"openai-go", "openai-go alone, defaults: two retries", false, newOpenAI},
		{"retryablehttp", "go-openai over go-retryablehttp, defaults: four retries", false, newRetryable},
		// It sleeps for 0 ns when less than a nanosecond is missing to a token.
		{"aws-adaptive", "openai-go over the AWS SDK's adaptive retry, defaults: three attempts", true, adaptive(retry.DefaultMaxAttempts)},
		{"aws-adaptive-10", "the same with ten attempts", true, adaptive(10)},
	}
}

const (
	key     = "sk-CANARY-throttle"
	tooMany = http.StatusTooManyRequests
)

func newLatchkey(url string, rt http.RoundTripper) (caller, error) {
	c, err := client.New(client.Config{
		Source:    credential.Static(credential.NewSecret(key), credential.APIKey),
		BaseURL:   url,
		Transport: rt,
	})
	if err != nil {
		return nil, fmt.Errorf("throttle: %w", err)
	}
	return chatOpenAI(openai.NewClient(c.Options()...)), nil
}

func newOpenAI(url string, rt http.RoundTripper) (caller, error) {
	return chatOpenAI(openai.NewClient(option.WithBaseURL(url), option.WithAPIKey(key),
		option.WithHTTPClient(&http.Client{Transport: rt}))), nil
}

func chatOpenAI(oai openai.Client) caller {
	return func(ctx context.Context, model, prompt string) error {
		_, err := oai.Chat.Completions.New(ctx, openai.ChatCompletionNewParams{
			Model:    model,
			Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(prompt)},
		})
		return err //nolint:wrapcheck // it is counted, and compared
	}
}

func newRetryable(url string, rt http.RoundTripper) (caller, error) {
	retrying := retryablehttp.NewClient()
	retrying.Logger = nil
	retrying.HTTPClient = &http.Client{Transport: rt}
	cfg := goopenai.DefaultConfig(key)
	cfg.BaseURL = url[:len(url)-1]
	cfg.HTTPClient = retrying.StandardClient()
	oai := goopenai.NewClientWithConfig(cfg)
	return func(ctx context.Context, model, prompt string) error {
		_, err := oai.CreateChatCompletion(ctx, goopenai.ChatCompletionRequest{
			Model:    model,
			Messages: []goopenai.ChatCompletionMessage{{Role: goopenai.ChatMessageRoleUser, Content: prompt}},
		})
		return err //nolint:wrapcheck // it is counted, and compared
	}, nil
}

// adaptive makes a client that retries as the AWS SDK for Go does with
// AWS_RETRY_MODE=adaptive.
func adaptive(attempts int) func(string, http.RoundTripper) (caller, error) {
	return func(url string, rt http.RoundTripper) (caller, error) {
		retryer := retry.NewAdaptiveMode(func(o *retry.AdaptiveModeOptions) {
			o.StandardOptions = append(o.StandardOptions, func(s *retry.StandardOptions) { s.MaxAttempts = attempts })
		})
		loop := retry.NewAttemptMiddleware(retryer, func(in any) any { return in })
		return chatOpenAI(openai.NewClient(option.WithBaseURL(url), option.WithAPIKey(key), option.WithMaxRetries(0),
			option.WithHTTPClient(&http.Client{Transport: &adaptiveTransport{loop, rt}}))), nil
	}
}

// An adaptiveTransport sends each request by the AWS SDK's own retry loop. A
// 429 is a ThrottlingException to it, as from a service of AWS.
type adaptiveTransport struct {
	loop *retry.Attempt
	next http.RoundTripper
}

// RoundTrip returns the service's last answer if the loop gave up after one.
func (a *adaptiveTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	var last *http.Response
	send := func(ctx context.Context, _ middleware.FinalizeInput) (out middleware.FinalizeOutput, _ middleware.Metadata, err error) {
		if last != nil {
			_, _ = io.Copy(io.Discard, last.Body)
			_ = last.Body.Close()
			last = nil
		}
		again := req.Clone(ctx)
		if again.Body, err = req.GetBody(); err != nil {
			return out, middleware.Metadata{}, err //nolint:wrapcheck // the request's own
		}
		if last, err = a.next.RoundTrip(again); err != nil {
			return out, middleware.Metadata{}, err //nolint:wrapcheck // as any transport
		}
		if last.StatusCode == tooMany {
			err = &smithy.GenericAPIError{Code: "ThrottlingException", Message: "Rate exceeded"}
		}
		return out, middleware.Metadata{}, err
	}
	_, _, err := a.loop.HandleFinalize(req.Context(), middleware.FinalizeInput{Request: req}, middleware.FinalizeHandlerFunc(send))
	if last != nil && req.Context().Err() == nil {
		return last, nil
	}
	return nil, err //nolint:wrapcheck // as any transport
}

// status returns what an SDK says that the service has answered, or zero.
func status(err error) int {
	var official *openai.Error
	if errors.As(err, &official) {
		return official.StatusCode
	}
	var api *goopenai.APIError
	if errors.As(err, &api) {
		return api.HTTPStatusCode
	}
	return 0
}
