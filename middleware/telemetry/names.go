package telemetry

import "go.opentelemetry.io/otel/attribute"

// scopeName names the tracer and the meter.
const scopeName = "github.com/latchkey-go/latchkey/middleware/telemetry"

// schemaURL is that of the conventions that the names below come from. It is the
// last version in which those for generative AI are part of the main conventions;
// what has moved to a repository of its own since then has no release yet.
const schemaURL = "https://opentelemetry.io/schemas/1.41.0"

// Names of the semantic conventions, with the version that they are taken from.
// A test compares them with it.
//
//nolint:gosec // a name with "token" or "credential" in it is none
const (
	keyOperation        attribute.Key = "gen_ai.operation.name"                // 1.41.0
	keyProvider         attribute.Key = "gen_ai.provider.name"                 // 1.41.0
	keyRequestModel     attribute.Key = "gen_ai.request.model"                 // 1.41.0
	keyResponseModel    attribute.Key = "gen_ai.response.model"                // 1.41.0
	keyTokenType        attribute.Key = "gen_ai.token.type"                    // 1.41.0
	keyMaxTokens        attribute.Key = "gen_ai.request.max_tokens"            // 1.41.0
	keyChoices          attribute.Key = "gen_ai.request.choice.count"          // 1.41.0
	keySeed             attribute.Key = "gen_ai.request.seed"                  // 1.41.0
	keyTemperature      attribute.Key = "gen_ai.request.temperature"           // 1.41.0
	keyTopP             attribute.Key = "gen_ai.request.top_p"                 // 1.41.0
	keyFrequencyPenalty attribute.Key = "gen_ai.request.frequency_penalty"     // 1.41.0
	keyPresencePenalty  attribute.Key = "gen_ai.request.presence_penalty"      // 1.41.0
	keyStream           attribute.Key = "gen_ai.request.stream"                // 1.41.0
	keyEncodings        attribute.Key = "gen_ai.request.encoding_formats"      // 1.41.0
	keyDimensions       attribute.Key = "gen_ai.embeddings.dimension.count"    // 1.41.0
	keyOutputType       attribute.Key = "gen_ai.output.type"                   // 1.41.0
	keyResponseID       attribute.Key = "gen_ai.response.id"                   // 1.41.0
	keyFinish           attribute.Key = "gen_ai.response.finish_reasons"       // 1.41.0
	keyFirstChunk       attribute.Key = "gen_ai.response.time_to_first_chunk"  // 1.41.0
	keyInputTokens      attribute.Key = "gen_ai.usage.input_tokens"            // 1.41.0
	keyOutputTokens     attribute.Key = "gen_ai.usage.output_tokens"           // 1.41.0
	keyCacheRead        attribute.Key = "gen_ai.usage.cache_read.input_tokens" // 1.41.0
	keyReasoning        attribute.Key = "gen_ai.usage.reasoning.output_tokens" // 1.41.0
	keyAPIType          attribute.Key = "openai.api.type"                      // 1.41.0
	keyRequestTier      attribute.Key = "openai.request.service_tier"          // 1.41.0
	keyResponseTier     attribute.Key = "openai.response.service_tier"         // 1.41.0
	keyFingerprint      attribute.Key = "openai.response.system_fingerprint"   // 1.41.0
	keyAddress          attribute.Key = "server.address"                       // 1.41.0
	keyPort             attribute.Key = "server.port"                          // 1.41.0
	keyError            attribute.Key = "error.type"                           // 1.41.0
	keyStatus           attribute.Key = "http.response.status_code"            // 1.41.0
)

// Instruments of the semantic conventions.
//
//nolint:gosec // a name with "token" or "credential" in it is none
const (
	metricDuration   = "gen_ai.client.operation.duration"              // 1.41.0
	metricTokens     = "gen_ai.client.token.usage"                     // 1.41.0
	metricFirstChunk = "gen_ai.client.operation.time_to_first_chunk"   // 1.41.0
	metricNextChunk  = "gen_ai.client.operation.time_per_output_chunk" // 1.41.0
)

// Values of the semantic conventions.
const (
	operationChat       = "chat"             // 1.41.0
	operationEmbeddings = "embeddings"       // 1.41.0
	operationText       = "text_completion"  // 1.41.0
	providerOpenAI      = "openai"           // 1.41.0
	providerAzure       = "azure.ai.openai"  // 1.41.0
	providerBedrock     = "aws.bedrock"      // 1.41.0
	apiChat             = "chat_completions" // 1.41.0
	apiResponses        = "responses"        // 1.41.0
	outputText          = "text"             // 1.41.0
	outputJSON          = "json"             // 1.41.0
	tokenInput          = "input"            // 1.41.0
	tokenOutput         = "output"           // 1.41.0
	errorOther          = "_OTHER"           // 1.41.0
)

// Names of latchkey's own.
//
//nolint:gosec // a name with "token" or "credential" in it is none
const (
	eventSend = "latchkey.send"

	keySends        attribute.Key = "latchkey.sends"
	keySendNumber   attribute.Key = "latchkey.send.number"
	keySendReason   attribute.Key = "latchkey.send.reason"
	keySendDuration attribute.Key = "latchkey.send.duration"
	keySendWait     attribute.Key = "latchkey.send.wait"
	keyRequestID    attribute.Key = "latchkey.request.id"
	keyEndpoint     attribute.Key = "latchkey.endpoint.name"
	keyEvent        attribute.Key = "latchkey.event"
	keyEventReason  attribute.Key = "latchkey.event.reason"
	keySource       attribute.Key = "latchkey.credential.source"
	keyVersion      attribute.Key = "latchkey.credential.version"
	keyRefused      attribute.Key = "latchkey.credential.refused"
	keyGateway      attribute.Key = "latchkey.gateway.refused"
	keyDeployment   attribute.Key = "latchkey.deployment"
	keySpilledFrom  attribute.Key = "latchkey.spilled_from"
	keyPromptFilter attribute.Key = "latchkey.filter.prompt"
	keyAnswerFilter attribute.Key = "latchkey.filter.answer"
	keyRefusal      attribute.Key = "latchkey.refusal"
	keyLimit        attribute.Key = "latchkey.limit.name"
	keyLimitWhat    attribute.Key = "latchkey.limit.what"

	metricSendDuration  = "latchkey.send.duration"
	metricSendWait      = "latchkey.send.wait"
	metricRefusals      = "latchkey.limit.refusals"
	metricLimitEvents   = "latchkey.limit.events"
	metricCredential    = "latchkey.credential.events"
	metricRead          = "latchkey.credential.read.duration"
	metricCredentialAge = "latchkey.credential.age"
	metricExpiry        = "latchkey.credential.time_to_expiry"
	metricEndpoint      = "latchkey.endpoint.events"
	metricHealthy       = "latchkey.endpoint.healthy"
)

// seconds and tokenCounts are the bounds of the buckets that the conventions give
// for durations, and for numbers of tokens.
//
// https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/
func seconds() []float64 {
	return []float64{0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92}
}

func tokenCounts() []float64 {
	return []float64{1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864}
}
