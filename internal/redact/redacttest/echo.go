package redacttest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// A Place is where a server can put what it was sent.
type Place struct {
	// Name says where.
	Name string
	// Fixed reports whether the answer is the same with every status.
	Fixed bool

	write func(status int, text string) string
}

// Answer returns an HTTP/1.1 answer with the status that holds the form in the
// place, and in no other. The connection has to be closed after it.
func (p Place) Answer(status int, form Form) string {
	text := form.Printable()
	switch p.Name {
	case "body", "events", "name of a version":
		text = form.Text
	}
	answer := p.write(status, text)
	if !p.Fixed && (status == http.StatusNoContent || status == http.StatusNotModified) {
		final := strings.LastIndex(answer, "HTTP/1.1 ") // no body follows
		return answer[:final+strings.Index(answer[final:], "\r\n\r\n")+len("\r\n\r\n")]
	}
	return answer
}

// Statuses returns statuses of final answers, from 101 to 599.
func Statuses() []int {
	return []int{101, 200, 201, 204, 206, 300, 302, 304, 307, 400, 401, 403, 404, 408, 418, 429, 500, 503, 599}
}

// Places returns every place.
func Places() []Place { return append(answers(), malformed()...) }

// answers are those of a server that keeps to HTTP.
func answers() (all []Place) {
	add := func(name string, write func(int, string) string) { all = append(all, Place{Name: name, write: write}) }
	add("reason phrase", func(status int, text string) string {
		return fmt.Sprintf("HTTP/1.1 %d %s\r\n", status, text) + plainBody("{}")
	})
	add("headers", func(status int, text string) string { return head(status, headers(text)...) + plainBody("{}") })
	add("name of a header", func(status int, text string) string {
		return head(status, "X-"+text+": 1", text+": 1") + plainBody("{}")
	})
	add("challenge", func(status int, text string) string { return head(status, challenges(text)...) + plainBody("{}") })
	add("redirect", func(status int, text string) string { return head(status, "Location: "+text) + plainBody("") })
	add("redirect to another origin", func(status int, text string) string {
		return head(status, "Location: https://elsewhere.example/"+text+"?k="+text) + plainBody("")
	})
	add("redirect to the same origin", func(status int, text string) string {
		return head(status, "Location: /v1/"+text+"?k="+text) + plainBody("")
	})
	add("trailer", func(status int, text string) string {
		return head(status, "Transfer-Encoding: chunked", "Trailer: X-Trailer, X-Request-Id") + "\r\n2\r\n{}\r\n0\r\nX-Trailer: " + text + "\r\nX-Request-Id: " + text + "\r\n\r\n"
	})
	add("body", func(status int, text string) string {
		return head(status, "Content-Type: application/json") + plainBody(document(text))
	})
	add("text for a body", func(status int, text string) string {
		return head(status, "Content-Type: text/plain") + plainBody("your key is "+text)
	})
	add("page", func(status int, text string) string {
		return head(status, "Content-Type: text/html") + plainBody("<html><title>"+text+"</title><p>"+text+"</html>")
	})
	add("events", func(status int, text string) string {
		return head(status, "Content-Type: text/event-stream") + plainBody("data: {\"choices\":[]}\n\nevent: error\ndata: "+document(text)+"\n\n")
	})
	add("name of an event", func(status int, text string) string {
		return head(status, "Content-Type: text/event-stream") + plainBody(": "+text+"\nevent: "+text+"\ndata: {\"error\":{\"message\":\"m\"}}\n\n")
	})
	add("name of a version", func(status int, text string) string {
		return head(status, "Content-Type: application/json") + plainBody(version(text))
	})
	add("early hints", func(status int, text string) string {
		hints := fmt.Sprintf("HTTP/1.1 103 Early Hints\r\nLink: <%s>\r\nX-Request-Id: %[1]s\r\n\r\nHTTP/1.1 102 %[1]s\r\n\r\nHTTP/1.1 100 %[1]s\r\nX-Named: %[1]s\r\n\r\n", text)
		return hints + head(status) + plainBody("{}")
	})
	return all
}

// malformed are answers of which net/http may quote a part in its error, or that
// are not what they say.
func malformed() (all []Place) {
	fixed := func(name string, write func(string) string) {
		all = append(all, Place{Name: name, Fixed: true, write: func(_ int, text string) string { return write(text) }})
	}
	fixed("malformed status", func(text string) string { return "HTTP/1.1 " + text + "\r\n\r\n" })
	fixed("no status line", func(text string) string { return text + "\r\n\r\n" })
	fixed("malformed header", func(text string) string { return head(200, text) + plainBody("{}") })
	fixed("length", func(text string) string { return head(200, "Content-Length: "+text) + "\r\n{}" })
	fixed("lengths", func(text string) string { return head(200, "Content-Length: 2", "Content-Length: "+text) + "\r\n{}" })
	fixed("transfer encoding", func(text string) string { return head(200, "Transfer-Encoding: "+text) + "\r\n{}" })
	fixed("chunk", func(text string) string { return head(200, "Transfer-Encoding: chunked") + "\r\n" + text + "\r\n" })
	fixed("malformed trailer", func(text string) string {
		return head(200, "Transfer-Encoding: chunked", "Trailer: "+text) + "\r\n2\r\n{}\r\n0\r\n" + text + "\r\n\r\n"
	})
	fixed("encoding", func(text string) string {
		return head(200, "Content-Encoding: "+text, "Content-Type: "+text) + plainBody("{}")
	})
	fixed("wrong types", func(text string) string {
		return head(200, "Content-Type: application/json") + plainBody(strings.ReplaceAll(`{"choices":"TEXT","created":"TEXT","id":["TEXT"],"TEXT":{"TEXT":"TEXT"}}`, "TEXT", inJSON(text)))
	})
	return all
}

func head(status int, lines ...string) string {
	text := fmt.Sprintf("HTTP/1.1 %d %s\r\nConnection: close\r\n", status, http.StatusText(status))
	for _, line := range lines {
		text += line + "\r\n"
	}
	return text
}

func plainBody(text string) string {
	return fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(text), text)
}

// headers are those that somebody reads, or may.
func headers(text string) (lines []string) {
	for _, name := range []string{
		"X-Request-Id", "Apim-Request-Id", "X-Ms-Request-Id", "X-Amzn-Requestid", "X-Ratelimit-Limit-Requests", "X-Ratelimit-Remaining-Tokens", "X-Ratelimit-Reset-Requests",
		"X-Named", "Retry-After", "Retry-After-Ms", "Date", "Server", "Set-Cookie", "Etag", "Openai-Organization", "Openai-Version", "X-Should-Retry",
		"X-Amzn-Errortype", "X-Ms-Error-Code", "X-Vault-Index", "Warning",
	} {
		lines = append(lines, name+": "+text)
	}
	return lines
}

func challenges(text string) []string {
	return []string{
		"Www-Authenticate: Bearer " + text,
		`Www-Authenticate: Bearer authorization="https://login.microsoftonline.com/` + text + `", resource="https://vault.azure.net", scope="` + text + `", error_description="` + text + `"`,
		"Www-Authenticate: Basic realm=" + text, "Proxy-Authenticate: " + text,
	}
}

// document says the text in each member that somebody reads as one of an error,
// or of a version of a secret.
func document(text string) string {
	deep := map[string]any{
		"message": text, "code": text, "type": text, "param": text, "status": text, "reason": text,
		"innererror": map[string]string{"code": text}, "details": []any{map[string]string{"reason": text}},
	}
	out, err := json.Marshal(map[string]any{
		"error": deep, "errors": []any{text, deep}, "detail": text, "message": text, "code": text, "type": text, "title": text, "__type": text, "Code": text, "Message": text,
		"error_description": text, "error_codes": []any{text}, "status": text, "request_id": text, "lease_id": text, "warnings": []any{text}, "VersionId": text, "ARN": text, "Name": text,
		"id": "https://myvault.vault.azure.net/secrets/openai/" + text, "token_type": text, "expires_in": text,
	})
	if err != nil {
		return "{}"
	}
	return string(out)
}

// version is the answer of a store that gives a secret, and what it says beside
// it is the text.
func version(text string) string {
	const secret = "sk-CANARY-other-0001"
	out, err := json.Marshal(map[string]any{
		"SecretString": secret, "VersionId": text, "VersionStages": []string{text}, "Name": text, "ARN": text,
		"value": secret, "id": "https://myvault.vault.azure.net/secrets/openai/" + text, "contentType": text, "tags": map[string]string{"version": text},
		"data":         map[string]any{"data": map[string]string{"key": secret}, "metadata": map[string]any{"version": text, "created_time": text}},
		"access_token": secret, "token_type": "Bearer", "expires_in": 3600, "expires_on": text, "resource": text, "issued_token_type": text, "scope": text, "lease_id": text,
	})
	if err != nil {
		return "{}"
	}
	return string(out)
}
