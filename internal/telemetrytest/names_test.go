package telemetrytest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/semconv/v1.41.0/genaiconv"
)

// conventions are the names that the package takes from the conventions.
func conventions() map[string]string {
	named := map[string]string{"schemaURL": semconv.SchemaURL}
	for name, key := range map[string]attribute.Key{
		"keyOperation": semconv.GenAIOperationNameKey, "keyProvider": semconv.GenAIProviderNameKey,
		"keyRequestModel": semconv.GenAIRequestModelKey, "keyResponseModel": semconv.GenAIResponseModelKey,
		"keyTokenType": semconv.GenAITokenTypeKey, "keyMaxTokens": semconv.GenAIRequestMaxTokensKey,
		"keyChoices": semconv.GenAIRequestChoiceCountKey, "keySeed": semconv.GenAIRequestSeedKey,
		"keyTemperature": semconv.GenAIRequestTemperatureKey, "keyTopP": semconv.GenAIRequestTopPKey,
		"keyFrequencyPenalty": semconv.GenAIRequestFrequencyPenaltyKey, "keyPresencePenalty": semconv.GenAIRequestPresencePenaltyKey,
		"keyStream": semconv.GenAIRequestStreamKey, "keyEncodings": semconv.GenAIRequestEncodingFormatsKey,
		"keyDimensions": semconv.GenAIEmbeddingsDimensionCountKey, "keyOutputType": semconv.GenAIOutputTypeKey,
		"keyResponseID": semconv.GenAIResponseIDKey, "keyFinish": semconv.GenAIResponseFinishReasonsKey,
		"keyFirstChunk": semconv.GenAIResponseTimeToFirstChunkKey, "keyInputTokens": semconv.GenAIUsageInputTokensKey,
		"keyOutputTokens": semconv.GenAIUsageOutputTokensKey, "keyCacheRead": semconv.GenAIUsageCacheReadInputTokensKey,
		"keyReasoning": semconv.GenAIUsageReasoningOutputTokensKey, "keyAPIType": semconv.OpenAIAPITypeKey,
		"keyRequestTier": semconv.OpenAIRequestServiceTierKey, "keyResponseTier": semconv.OpenAIResponseServiceTierKey,
		"keyFingerprint": semconv.OpenAIResponseSystemFingerprintKey, "keyAddress": semconv.ServerAddressKey,
		"keyPort": semconv.ServerPortKey, "keyError": semconv.ErrorTypeKey, "keyStatus": semconv.HTTPResponseStatusCodeKey,
	} {
		named[name] = string(key)
	}
	for name, kv := range map[string]attribute.KeyValue{
		"operationChat": semconv.GenAIOperationNameChat, "operationEmbeddings": semconv.GenAIOperationNameEmbeddings,
		"operationText": semconv.GenAIOperationNameTextCompletion, "providerOpenAI": semconv.GenAIProviderNameOpenAI,
		"providerAzure": semconv.GenAIProviderNameAzureAIOpenAI, "providerBedrock": semconv.GenAIProviderNameAWSBedrock,
		"apiChat": semconv.OpenAIAPITypeChatCompletions, "apiResponses": semconv.OpenAIAPITypeResponses,
		"outputText": semconv.GenAIOutputTypeText, "outputJSON": semconv.GenAIOutputTypeJSON,
		"tokenInput": semconv.GenAITokenTypeInput, "tokenOutput": semconv.GenAITokenTypeOutput, "errorOther": semconv.ErrorTypeOther,
	} {
		named[name] = kv.Value.AsString()
	}
	named["metricDuration"] = genaiconv.ClientOperationDuration{}.Name()
	named["metricTokens"] = genaiconv.ClientTokenUsage{}.Name()
	named["metricFirstChunk"] = genaiconv.ClientOperationTimeToFirstChunk{}.Name()
	named["metricNextChunk"] = genaiconv.ClientOperationTimePerOutputChunk{}.Name()
	return named
}

// constants reads the string constants of a file, and the comment behind each.
func constants(t *testing.T, file string) (values, comments map[string]string) {
	t.Helper()
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	f, err := parser.ParseFile(token.NewFileSet(), file, src, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	values, comments = map[string]string{}, map[string]string{}
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Values) != 1 {
			return true
		}
		if lit, ok := v.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
			values[v.Names[0].Name], _ = strconv.Unquote(lit.Value)
			comments[v.Names[0].Name] = strings.TrimSpace(v.Comment.Text())
		}
		return true
	})
	return values, comments
}

func TestNamesAreThoseOfTheConventions(t *testing.T) {
	want := conventions()
	values, comments := constants(t, "../../middleware/telemetry/names.go")
	for name, value := range want {
		if values[name] != value {
			t.Errorf("%s is %q, want %q", name, values[name], value)
		}
	}
	for name, value := range values {
		own := strings.HasPrefix(value, "latchkey.") || name == "scopeName" || name == "schemaURL"
		switch {
		case own && comments[name] != "":
			t.Errorf("%s, %q, is none of the conventions and says that it is from %s", name, value, comments[name])
		case !own && comments[name] != "1.41.0":
			t.Errorf("%s, %q, does not say which version it is from", name, value)
		case !own && want[name] == "":
			t.Errorf("%s, %q, is compared with nothing", name, value)
		}
	}
}

func TestUnitsAndTextsAreThoseOfTheConventions(t *testing.T) {
	w := newWorld(t, nil)
	w.post(t, "chat/completions", `{"model":"m","messages":[{"role":"user","content":"hello there you"}],"stream":true,"stream_options":{"include_usage":true}}`)
	units := map[string]string{
		genaiconv.ClientOperationDuration{}.Name():           genaiconv.ClientOperationDuration{}.Unit(),
		genaiconv.ClientTokenUsage{}.Name():                  genaiconv.ClientTokenUsage{}.Unit(),
		genaiconv.ClientOperationTimeToFirstChunk{}.Name():   genaiconv.ClientOperationTimeToFirstChunk{}.Unit(),
		genaiconv.ClientOperationTimePerOutputChunk{}.Name(): genaiconv.ClientOperationTimePerOutputChunk{}.Unit(),
	}
	got := w.metrics(t)
	for name, unit := range units {
		if m := got[name]; m.Unit != unit {
			t.Errorf("%s has the unit %q, want %q", name, m.Unit, unit)
		}
	}
}
