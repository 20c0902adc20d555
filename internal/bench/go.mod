// Benchmarks against the libraries that a program would use instead.
module github.com/latchkey-go/latchkey/internal/bench

go 1.26.0

require (
	github.com/aws/aws-sdk-go-v2 v1.47.7
	github.com/hashicorp/go-retryablehttp v0.7.8
	github.com/latchkey-go/latchkey v0.0.0
	github.com/openai/openai-go/v3 v3.96.0
	github.com/sashabaranov/go-openai v1.43.0
	golang.org/x/oauth2 v0.37.0
)

replace github.com/latchkey-go/latchkey => ../..
