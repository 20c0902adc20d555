package azurename

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"unicode"
)

// An Address is where an API is.
type Address struct {
	// Origin is the scheme, the host and the port: https://host[:port].
	Origin string
	// Path is escaped, and begins and ends with a slash.
	Path string
	// Query is what has to stand in the query of each call, without an
	// api-version.
	Query string
	// APIVersion is the api-version of the address; it may be empty.
	APIVersion string
	// Azure reports whether the host or the path belongs to Azure.
	Azure bool
	// Known reports whether the host is a service's own name, of OpenAI or Azure.
	Known bool
	// Foundry reports whether the path is that of a project of Azure AI Foundry.
	Foundry bool
	// Cloud is the cloud of the host; the zero Cloud if nothing tells.
	Cloud Cloud
}

// Scope is what a token for the address is for; empty if it is none of Azure,
// or in a cloud that the host does not tell.
func (a Address) Scope() string {
	if a.Foundry {
		return a.Cloud.FoundryScope
	}
	return a.Cloud.Scope
}

// Parse reads an address as people paste it: in quotes, with slashes or a
// scheme too many, with the operation of an example behind it. It resolves
// what has one meaning. Other addresses are errors, which tell what would be
// right and never quote what may be a secret.
func Parse(text string) (Address, error) { return parse(text, want) }

// parse calls want for what would be right.
func parse(text string, want func(right string) string) (Address, error) {
	text, err := unwrap(text)
	if err != nil {
		return Address{}, err
	}
	u, err := url.Parse(text)
	if err != nil {
		return Address{}, wrongScheme(&url.URL{}, text, want)
	}
	if err := checkParts(u, text, want); err != nil {
		return Address{}, err
	}
	a := Address{Origin: u.Scheme + "://" + u.Host, Path: u.EscapedPath()}
	if err := CheckPath(a.Path); err != nil {
		return Address{}, fmt.Errorf("the path %w", err)
	}
	for segment := range strings.SplitSeq(u.Path, "/") {
		if LooksLikeKey(segment) {
			return Address{}, errors.New("the path holds what looks like a key; give the key to Source")
		}
	}
	if err := a.takeQuery(u.RawQuery); err != nil {
		return Address{}, err
	}
	if right := page(u); right != "" {
		return Address{}, fmt.Errorf("is a page for people, not the API; want %s", right)
	}
	a.Path = single(a.Path)
	a.Cloud, a.Azure = OfInference(u.Host)
	a.Known = a.Azure || openAI(plain(u.Host))
	if !a.Azure {
		a.Cloud, _ = OfGateway(u.Host)
	}
	a.withoutOperation()
	if a.Azure {
		return a, a.complete()
	}
	if openAI(plain(u.Host)) && a.Path == "/" {
		a.Path = "/v1/"
	}
	a.Azure = strings.Contains(a.Path, "/openai/deployments/")
	return a, nil
}

// unwrap takes off what is around an address: blanks, quotes, the name of a
// variable, a second scheme.
func unwrap(text string) (string, error) {
	const around = " \t\r\n\"'`<>,;\u201c\u201d\u2018\u2019\u00a0\u200b\ufeff"
	text = strings.Trim(text, around)
	if name, rest, ok := strings.Cut(text, "="); ok && name != "" && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == "" {
		text = strings.Trim(rest, around)
	}
	for {
		rest, inner := text, false
		for _, scheme := range [...]string{"https://", "http://"} {
			if len(text) > len(scheme) && strings.EqualFold(text[:len(scheme)], scheme) {
				rest = strings.TrimLeft(text[len(scheme):], "/")
				inner = hasScheme(rest)
				if !inner && len(rest) < len(text)-len(scheme) {
					rest, inner = text[:len(scheme)]+rest, true // https:///host
				}
			}
		}
		if !inner {
			break
		}
		text = rest
	}
	if strings.ContainsAny(text, "{}<>$") {
		return "", errors.New("holds a placeholder; put what it stands for in its place")
	}
	return text, nil
}

func hasScheme(text string) bool {
	lower := strings.ToLower(text[:min(len(text), len("https://"))])
	return strings.HasPrefix(lower, "https://") || strings.HasPrefix(lower, "http://")
}

func checkParts(u *url.URL, text string, want func(string) string) error {
	switch {
	case placeholder(u.Hostname()):
		return errors.New("holds a placeholder; put the name of your resource in its place")
	case u.User != nil:
		return errors.New("holds user information; give the key to Source")
	case u.Scheme == "wss" || u.Scheme == "ws":
		return fmt.Errorf("has the scheme of a WebSocket%s", want("https://"+u.Host+u.EscapedPath()))
	case u.Scheme != "https" && u.Scheme != "http" || u.Opaque != "" || u.Host == "":
		return wrongScheme(u, text, want)
	case u.Fragment != "":
		return errors.New("holds a fragment; remove it")
	case !PlainHost(u.Hostname()):
		return errors.New("has a host that is neither a DNS name nor an IP address; write names beyond ASCII in punycode, without a final dot")
	}
	return nil
}

// PlainHost reports whether a host, without its port, is made of what DNS names
// and IP addresses are made of, and of nothing that a resolver, a proxy and we
// could read differently.
func PlainHost(host string) bool {
	if host == "" || len(host) > 253 || host[len(host)-1] == '.' {
		return false
	}
	for i := range len(host) {
		switch c := host[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_', c == ':':
		default:
			return false
		}
	}
	return true
}

// placeholder reports whether a host is that of an example.
func placeholder(host string) bool {
	name, _, _ := strings.Cut(host, ".")
	switch strings.ToLower(name) {
	case "your-resource", "your-resource-name", "your-resource-here", "your-endpoint", "your-project", "your_resource_name", "yourresource", "yourresourcename", "resource-name":
		return true
	}
	return name == "RESOURCE" || name == "NAME" || name == "REGION" || name == "ENDPOINT"
}

// wrongScheme tells what is meant by an address without a scheme, or with one
// slash behind it.
func wrongScheme(u *url.URL, text string, want func(string) string) error {
	rest := strings.TrimLeft(text, "/")
	for _, scheme := range [...]string{"https:", "http:", "https", "http"} {
		if len(rest) > len(scheme) && strings.EqualFold(rest[:len(scheme)], scheme) && strings.IndexByte("/:", rest[len(scheme)]) >= 0 {
			rest = strings.TrimLeft(rest[len(scheme):], ":/")
			break
		}
	}
	host, _, _ := strings.Cut(rest, "/")
	name, _, _ := strings.Cut(host, ":")
	switch {
	case u.Host != "" && u.Scheme != "":
		return errors.New("has another scheme than https; want https://host[:port]/path/")
	case loopback(name):
		return fmt.Errorf("has no scheme%s", want("http://"+rest))
	case strings.Contains(name, ".") && !strings.ContainsAny(host, "@ ?#"):
		return fmt.Errorf("has no scheme%s", want("https://"+rest))
	}
	return errors.New("is not a URL; want https://host[:port]/path/")
}

// want shows the right address, if it can be shown.
func want(right string) string {
	a, err := parse(right, func(string) string { return "" })
	if err != nil || a.Query != "" {
		return "; want https://host[:port]/path/"
	}
	if a.Azure && a.APIVersion == "" && (a.Path == "/" || a.Path == "/openai/") {
		a.Path = "/openai/v1/"
	}
	right = a.Origin + Shown(a.Path)
	if a.APIVersion != "" {
		right += "?api-version=" + url.QueryEscape(a.APIVersion)
	}
	return "; want " + right
}

// takeQuery takes the api-version out of the query. A credential must not stand
// there: every log on the way has it.
func (a *Address) takeQuery(query string) error {
	q, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("has a malformed query")
	}
	var keep []string
	for part := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(part, "=")
		plainName, _ := url.QueryUnescape(name)
		plainValue, _ := url.QueryUnescape(value)
		switch {
		case part == "":
		case strings.EqualFold(plainName, "api-version"):
			a.APIVersion = plainValue
		case credentialName(plainName), LooksLikeKey(plainName), LooksLikeKey(plainValue):
			return errors.New("holds what looks like a key in its query; give the key to Source, and set KeyHeader if it belongs in a header of its own")
		default:
			keep = append(keep, part)
		}
	}
	if a.APIVersion == "" && q.Has("api-version") {
		return errors.New("has an empty api-version in its query; give it a date, or remove it")
	}
	a.Query = strings.Join(keep, "&")
	return nil
}

func credentialName(name string) bool {
	name = strings.Map(func(r rune) rune {
		if strings.ContainsRune("-_.", r) {
			return -1
		}
		return unicode.ToLower(r)
	}, name)
	for _, known := range [...]string{
		"key", "apikey", "xapikey", "subscriptionkey", "ocpapimsubscriptionkey", "code", "sig", "signature", "token", "accesstoken", "idtoken",
		"auth", "authorization", "password", "passwd", "pwd", "secret", "clientsecret", "sas", "sastoken", "bearer", "credential", "jwt",
	} {
		if name == known {
			return true
		}
	}
	return false
}

// page returns the right address for that of a portal; empty if it is none.
func page(u *url.URL) string {
	switch host := plain(u.Host); {
	case host == "platform.openai.com", host == "chatgpt.com", host == "chat.openai.com", host == "openai.com", host == "www.openai.com", host == "developers.openai.com":
		return "https://api.openai.com/v1/"
	case host == "ai.azure.com", host == "oai.azure.com", host == "learn.microsoft.com":
		return "https://RESOURCE.openai.azure.com/openai/v1/"
	default:
		for _, c := range Clouds() {
			if host == c.Portal {
				return "https://RESOURCE" + c.inference[0] + "/openai/v1/"
			}
		}
	}
	return ""
}

// openAI reports whether the host belongs to OpenAI, such as
// api.openai.com or eu.api.openai.com.
func openAI(host string) bool {
	return host == "api.openai.com" || strings.HasSuffix(host, ".api.openai.com")
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// single collapses slashes, and puts one at either end.
func single(path string) string {
	var b strings.Builder
	b.WriteByte('/')
	for segment := range strings.SplitSeq(path, "/") {
		if segment != "" {
			b.WriteString(segment)
			b.WriteByte('/')
		}
	}
	return b.String()
}

// withoutOperation cuts off what a call would put behind the address.
func (a *Address) withoutOperation() {
	for _, op := range [...]string{
		"chat/completions", "completions", "responses", "embeddings", "images/generations", "images/edits", "images/variations",
		"audio/speech", "audio/transcriptions", "audio/translations", "moderations", "realtime",
	} {
		if base, ok := strings.CutSuffix(a.Path, "/"+op+"/"); ok {
			a.Path = base + "/"
			return
		}
	}
	// A list is an operation only behind a version: other services have their
	// API below a path of that name.
	for _, op := range [...]string{"models/", "files/", "batches/", "assistants/", "deployments/"} {
		if base, ok := strings.CutSuffix(a.Path, op); ok && (strings.HasSuffix(base, "/v1/") || a.Azure && strings.HasSuffix(base, "/openai/")) {
			a.Path = base
			return
		}
	}
}

// complete resolves a path that is none of the API of a resource.
func (a *Address) complete() error {
	right := fmt.Errorf("is not the address of the OpenAI API of this resource; want %s/openai/v1/", a.Origin)
	segments := strings.Split(strings.Trim(a.Path, "/"), "/")
	switch segments[0] {
	case "", "models":
		return unless(len(segments) == 1, right)
	case "v1": // as at api.openai.com
		a.Path = "/openai" + a.Path
		return unless(len(segments) == 1, right)
	case "deployments":
		a.Path = "/openai" + a.Path
		return unless(len(segments) > 1, right)
	case "openai":
		return unless(len(segments) == 1 || segments[1] == "v1" && len(segments) == 2 || segments[1] == "deployments" && len(segments) > 2, right)
	case "api":
		return a.completeProject(segments)
	}
	return right
}

// completeProject adds the path of the API behind that of a project of Azure AI
// Foundry: /api/projects/NAME.
func (a *Address) completeProject(segments []string) error {
	right := fmt.Errorf("is not the address of an OpenAI API; want %s/openai/v1/, or %[1]s/api/projects/PROJECT/openai/v1/", a.Origin)
	if len(segments) < 3 || segments[1] != "projects" {
		return right
	}
	a.Foundry = true
	switch rest := strings.Join(segments[3:], "/"); rest {
	case "":
		a.Path += "openai/v1/"
	case "openai":
		a.Path += "v1/"
	case "openai/v1":
	default:
		return right
	}
	return nil
}

func unless(ok bool, err error) error {
	if ok {
		return nil
	}
	return err
}
