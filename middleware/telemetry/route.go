package telemetry

import (
	"net/http"
	"strings"
)

// A route is what the path of a request tells of it.
type route struct {
	operation string
	api       string // openai.api.type; empty for other APIs
	model     string // the deployment in the path
	azure     bool
}

// routeOf knows the routes of https://platform.openai.com/docs/api-reference. For
// what the conventions have no name, the operation is the first part of the route.
func routeOf(path string) route {
	var r route
	path = strings.TrimSuffix(path, "/")
	if _, rest, ok := strings.Cut(path, "/openai/deployments/"); ok {
		r.azure = true
		r.model, _, _ = strings.Cut(rest, "/")
	} else if strings.Contains(path, "/openai/v1/") {
		r.azure = true
	}
	switch {
	case strings.HasSuffix(path, "/chat/completions"):
		r.operation, r.api = operationChat, apiChat
	case strings.HasSuffix(path, "/responses"):
		r.operation, r.api = operationChat, apiResponses
	case strings.HasSuffix(path, "/completions"):
		r.operation = operationText
	case strings.HasSuffix(path, "/embeddings"):
		r.operation = operationEmbeddings
	default:
		r.operation = otherName
		for _, name := range [...]string{"responses", "models", "images", "audio", "moderations", "files", "uploads", "batches", "vector_stores", "fine_tuning", "conversations", "realtime", "videos", "evals"} {
			if strings.Contains(path+"/", "/"+name+"/") {
				r.operation = name
				break
			}
		}
	}
	return r
}

// providerAt returns gen_ai.provider.name.
func (t *Telemetry) providerAt(s *server, r route) string {
	switch {
	case t.provider != "":
		return t.provider
	case r.azure && s.provider == providerOpenAI:
		return providerAzure
	}
	return s.provider
}

func plainHTTP(req *http.Request) bool { return req.URL.Scheme == "http" }
