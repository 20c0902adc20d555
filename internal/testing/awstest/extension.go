package awstest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
)

// An Extension is the AWS Parameters and Secrets Lambda Extension in front of
// a [SecretsManager] and a [ParameterStore], or, with Agent set, the Secrets Manager Agent. It keeps
// what it has read until it is asked to refresh. Its methods are safe for
// concurrent use.
type Extension struct {
	// Store has the secrets. Faults are its own, not the store's.
	Store *SecretsManager
	// Parameters has the parameters; nil if there are none. Set it before use.
	Parameters *ParameterStore
	// Token is what requests have to carry. Set it before use.
	Token string
	// Agent makes errors look as the agent's do. Set it before use.
	Agent bool

	mu       sync.Mutex
	cache    map[string]any
	notReady int
	faults   []*Fault
	queries  []string
}

// NewExtension returns one that admits the session token of [Caller].
func NewExtension(store *SecretsManager) *Extension {
	return &Extension{Store: store, Token: Caller().SessionToken, cache: map[string]any{}}
}

// NotReady makes the next n requests meet an extension that is still starting;
// negative is all of them.
func (e *Extension) NotReady(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.notReady = n
}

// Fail makes all requests meet f from now on.
func (e *Extension) Fail(f Fault) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.faults = append(e.faults, &f)
}

// Heal ends all faults.
func (e *Extension) Heal() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.faults = nil
}

// Forget empties the cache, as time does.
func (e *Extension) Forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.cache)
}

// Queries returns the queries that have arrived, oldest first.
func (e *Extension) Queries() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.queries)
}

// ServeHTTP answers r.
func (e *Extension) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	e.queries = append(e.queries, r.URL.RawQuery)
	starting := e.notReady != 0
	if e.notReady > 0 {
		e.notReady--
	}
	var fault *Fault
	if len(e.faults) > 0 {
		fault = e.faults[0]
	}
	e.mu.Unlock()

	switch {
	case r.Method != http.MethodGet || r.URL.Path != secretPath && (r.URL.Path != parameterPath || e.Parameters == nil):
		http.Error(w, "Not found", http.StatusNotFound)
	case r.Header.Get("X-Forwarded-For") != "":
		http.Error(w, "Forwarded", http.StatusBadRequest)
	case r.Header.Get("X-Aws-Parameters-Secrets-Token") != e.Token:
		http.Error(w, "Bad Token", http.StatusForbidden)
	case starting && e.Agent:
		http.Error(w, "Serving not enabled. Hit the /start_serving endpoint to enable serving requests.", http.StatusServiceUnavailable)
	case starting:
		http.Error(w, "not ready to serve traffic, please wait", http.StatusBadRequest)
	case fault != nil && fault.Hang:
		<-r.Context().Done()
	case fault != nil:
		fault.write(w)
	case r.URL.Path == parameterPath:
		e.getParameter(w, r)
	default:
		e.get(w, r)
	}
}

const (
	secretPath    = "/secretsmanager/get"
	parameterPath = "/systemsmanager/parameters/get"
)

// known reports whether all parameters are among names, and refuses r if not.
func known(w http.ResponseWriter, r *http.Request, names ...string) bool {
	for name := range r.URL.Query() {
		if !slices.Contains(names, name) {
			http.Error(w, "unknown parameter: "+name, http.StatusBadRequest)
			return false
		}
	}
	return true
}

// cached returns what is kept under key, or what read gets, which it then keeps.
func (e *Extension) cached(key string, fresh bool, read func() (any, error)) (any, error) {
	e.mu.Lock()
	out, ok := e.cache[key]
	e.mu.Unlock()
	if ok && !fresh {
		return out, nil
	}
	out, err := read()
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cache[key] = out
	return out, nil
}

func (e *Extension) getParameter(w http.ResponseWriter, r *http.Request) {
	if !known(w, r, "name", "version", "label", "withDecryption") {
		return
	}
	q := r.URL.Query()
	in := parameterInput{Name: q.Get("name"), WithDecryption: q.Get("withDecryption") == "true"}
	if selector := q.Get("version") + q.Get("label"); selector != "" {
		in.Name += ":" + selector
	}
	out, err := e.cached("parameter "+r.URL.RawQuery, false, func() (any, error) {
		e.Parameters.arrive(in.call("GetParameter"))
		return e.Parameters.do("GetParameter", in)
	})
	if err != nil {
		e.refuse(w, "SSM: GetParameter", err)
		return
	}
	_ = json.NewEncoder(w).Encode(out)
}

func (e *Extension) get(w http.ResponseWriter, r *http.Request) {
	if !known(w, r, "secretId", "versionId", "versionStage", "refreshNow") {
		return
	}
	q := r.URL.Query()
	in := input{SecretId: q.Get("secretId"), VersionId: q.Get("versionId"), VersionStage: q.Get("versionStage")}
	key := fmt.Sprint(in.SecretId, "|", in.VersionId, "|", in.VersionStage)
	out, err := e.cached(key, q.Get("refreshNow") == "true", func() (any, error) {
		e.Store.arrive(in.call("GetSecretValue"))
		return e.Store.do("GetSecretValue", in)
	})
	if err != nil {
		e.refuse(w, "Secrets Manager: GetSecretValue", err)
		return
	}
	_ = json.NewEncoder(w).Encode(out)
}

// refuse answers as the agent does, or with the text of an error of the AWS SDK
// for Go, in which the extension is written.
func (e *Extension) refuse(w http.ResponseWriter, op string, err error) {
	no := &refusal{http.StatusInternalServerError, "InternalFailure", ""}
	_ = errors.As(err, &no)
	if e.Agent {
		w.WriteHeader(no.status)
		_ = json.NewEncoder(w).Encode(map[string]string{"__type": no.kind, "message": no.message})
		return
	}
	http.Error(w, fmt.Sprintf("operation error %s, https response error StatusCode: %d, RequestID: 0, %s: %s",
		op, no.status, no.kind, no.message), no.status)
}
