package usage

// A name is that of a member that matters.
type name uint8

const (
	other name = iota
	response
	usage
	svgUsage
	toolUsage
	imageGen
	input
	output
	total
	seconds
	inputDetails
	outputDetails
	cached
	cacheWrite
	reasoning
	audio
	image
	model
	serviceTier
	status
	object
	kind
	incomplete
	reason
	choices
	message
	finish
	refusal
	content
	outputs
	errorObject
	innerError
	code
	promptFilters
	contentFilters
	sourceType
	filterResults
	category // any member of filterResults
	filtered
	detected
	severity
	maxOutput
	choiceCount
	promptText
	tools
	reference // what the service fetches: its tokens are not in the request
	identity
	fingerprint
	temperature
	topP
	seed
	frequencyPenalty
	presencePenalty
	streaming
	dimensions
	encoding
	responseFormat
	format
)

// nameOf knows the names of all APIs: "prompt_tokens" of chat completions is
// "input_tokens" of the others.
func nameOf(text []byte) name {
	switch string(text) {
	case "response":
		return response
	case "usage":
		return usage
	case "svg_usage":
		return svgUsage
	case "tool_usage":
		return toolUsage
	case "image_gen":
		return imageGen
	case "prompt_tokens", "input_tokens":
		return input
	case "completion_tokens", "output_tokens":
		return output
	case "total_tokens":
		return total
	case "seconds":
		return seconds
	case "prompt_tokens_details", "input_tokens_details", "input_token_details":
		return inputDetails
	case "completion_tokens_details", "output_tokens_details", "output_token_details":
		return outputDetails
	case "cached_tokens":
		return cached
	case "cache_write_tokens":
		return cacheWrite
	case "reasoning_tokens":
		return reasoning
	case "audio_tokens":
		return audio
	case "image_tokens":
		return image
	case "model":
		return model
	case "service_tier":
		return serviceTier
	case "status":
		return status
	case "object":
		return object
	case "type":
		return kind
	}
	return nameOfOutcome(text)
}

func nameOfOutcome(text []byte) name {
	switch string(text) {
	case "incomplete_details":
		return incomplete
	case "reason":
		return reason
	case "choices":
		return choices
	case "message", "delta":
		return message
	case "finish_reason":
		return finish
	case "refusal":
		return refusal
	case "content":
		return content
	case "output":
		return outputs
	case "error":
		return errorObject
	case "innererror":
		return innerError
	case "code":
		return code
	case "prompt_filter_results", "prompt_annotations":
		return promptFilters
	case "content_filters":
		return contentFilters
	case "source_type":
		return sourceType
	case "content_filter_results", "content_filter_result":
		return filterResults
	case "filtered":
		return filtered
	case "detected":
		return detected
	case "severity":
		return severity
	}
	return nameOfRequest(text)
}

func nameOfRequest(text []byte) name {
	switch string(text) {
	case "max_tokens", "max_completion_tokens", "max_output_tokens":
		return maxOutput
	case "n", "best_of":
		return choiceCount
	case "prompt":
		return promptText
	case "tools":
		return tools
	case "image_url", "input_image", "file_id", "file_url", "file_data", "input_file", "input_audio", "previous_response_id", "conversation", "container", "vector_store_ids":
		return reference
	}
	return nameOfParameter(text)
}

func nameOfParameter(text []byte) name {
	switch string(text) {
	case "id":
		return identity
	case "system_fingerprint":
		return fingerprint
	case "temperature":
		return temperature
	case "top_p":
		return topP
	case "seed":
		return seed
	case "frequency_penalty":
		return frequencyPenalty
	case "presence_penalty":
		return presencePenalty
	case "stream":
		return streaming
	case "dimensions":
		return dimensions
	case "encoding_format":
		return encoding
	case "response_format":
		return responseFormat
	case "format":
		return format
	}
	return other
}
