package awstest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A ParameterStore is the Parameter Store of AWS Systems Manager: GetParameter
// and DescribeParameters. Its methods are safe for concurrent use.
type ParameterStore struct {
	service
	parameters map[string]*parameter
}

type parameter struct {
	kind     string
	versions []string // version n is at n-1
	labels   map[string]int
	expires  time.Time
}

// NewParameterStore returns an empty one in eu-west-1 that admits [Caller].
func NewParameterStore() *ParameterStore {
	s := &ParameterStore{service: newService("ssm", "AmazonSSM."), parameters: map[string]*parameter{}}
	s.read = func(op string, body []byte) (Call, func() (any, error)) {
		var in parameterInput
		_ = json.Unmarshal(body, &in) // what is not there is empty
		return in.call(op), func() (any, error) { return s.do(op, in) }
	}
	return s
}

// Put makes text the latest version of the parameter, a SecureString unless it
// is a String already, and returns the version.
func (s *ParameterStore) Put(name, text string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.parameters[name]
	if p == nil {
		p = &parameter{kind: "SecureString", labels: map[string]int{}}
		s.parameters[name] = p
	}
	p.versions = append(p.versions, text)
	return int64(len(p.versions))
}

// PutString makes the parameter a String, which is not encrypted.
func (s *ParameterStore) PutString(name, text string) int64 {
	n := s.Put(name, text)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parameters[name].kind = "String"
	return n
}

// Label puts the label on a version. A label is on one version at most.
func (s *ParameterStore) Label(name, label string, version int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.parameters[name]; p != nil {
		p.labels[label] = int(version)
	}
}

// Expire gives the latest version a policy of expiration at that time.
func (s *ParameterStore) Expire(name string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.parameters[name]; p != nil {
		p.expires = at
	}
}

// Delete removes the parameter.
func (s *ParameterStore) Delete(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.parameters, name)
}

// ARN returns the ARN of the parameter.
func (s *ParameterStore) ARN(name string) string {
	return "arn:aws:ssm:" + s.Region + ":" + account + ":parameter/" + strings.TrimPrefix(name, "/")
}

// Reads returns how many GetParameter have arrived.
func (s *ParameterStore) Reads() int { return s.Calls("GetParameter") }

// parameterInput has the members of all requests.
type parameterInput struct {
	Name             string
	WithDecryption   bool
	ParameterFilters []struct {
		Key, Option string
		Values      []string
	}
}

func (in parameterInput) call(op string) Call {
	name, selector := splitSelector(in.Name)
	call := Call{Op: op, SecretID: name}
	if _, err := strconv.Atoi(selector); err == nil {
		call.VersionID = selector
	} else {
		call.Stage = selector
	}
	return call
}

// splitSelector takes the version or the label off a name or an ARN.
func splitSelector(name string) (base, selector string) {
	if strings.HasPrefix(name, "arn:") {
		part := strings.SplitN(name, ":", 7)
		if len(part) == 7 {
			return strings.Join(part[:6], ":"), part[6]
		}
		return name, ""
	}
	base, selector, _ = strings.Cut(name, ":")
	return base, selector
}

// find returns the parameter and its name. s.mu is held.
func (s *ParameterStore) find(id string) (string, *parameter) {
	if p := s.parameters[id]; p != nil {
		return id, p
	}
	for name, p := range s.parameters {
		if s.ARN(name) == id {
			return name, p
		}
	}
	return "", nil
}

func refuse(kind, message string) error {
	return &refusal{http.StatusBadRequest, kind, message}
}

func (s *ParameterStore) do(op string, in parameterInput) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch op {
	case "GetParameter":
		return s.get(in)
	case "DescribeParameters":
		return s.describe(in)
	}
	return nil, refuse("UnknownOperationException", "")
}

func (s *ParameterStore) get(in parameterInput) (any, error) {
	id, selector := splitSelector(in.Name)
	if strings.Contains(id, "/") && id[0] != '/' && !strings.HasPrefix(id, "arn:") {
		return nil, refuse("ValidationException", "Parameter name must be a fully qualified name.")
	}
	name, p := s.find(id)
	if p == nil {
		return nil, refuse("ParameterNotFound", "")
	}
	version := len(p.versions)
	if selector != "" {
		version = p.labels[selector]
		if n, err := strconv.Atoi(selector); err == nil {
			version = n
		}
		if version < 1 || version > len(p.versions) {
			return nil, refuse("ParameterVersionNotFound", "Systems Manager could not find version "+selector+" of "+name+".")
		}
	}
	out := map[string]any{
		"ARN": s.ARN(name), "Name": name, "DataType": "text", "LastModifiedDate": unix(time.Now()),
		"Type": p.kind, "Version": version, "Value": p.versions[version-1],
	}
	if selector != "" {
		out["Selector"] = ":" + selector
	}
	if p.kind == "SecureString" && !in.WithDecryption {
		out["Value"] = "AQICAHencrypted=="
	}
	return map[string]any{"Parameter": out}, nil
}

// describe follows DescribeParameters with a filter by name. It has the
// policies of the latest version.
func (s *ParameterStore) describe(in parameterInput) (any, error) {
	if len(in.ParameterFilters) != 1 || in.ParameterFilters[0].Key != "Name" || in.ParameterFilters[0].Option != "Equals" {
		return nil, refuse("InvalidFilterKey", "")
	}
	found := []any{}
	for name, p := range s.parameters {
		if !slices.Contains(in.ParameterFilters[0].Values, name) {
			continue
		}
		policies := []any{}
		if !p.expires.IsZero() {
			policies = append(policies, map[string]string{"PolicyType": "ExpirationNotification", "PolicyStatus": "Pending",
				"PolicyText": `{"Type":"ExpirationNotification","Version":"1.0","Attributes":{"Before":"15","Unit":"Days"}}`})
			policies = append(policies, map[string]string{"PolicyType": "Expiration", "PolicyStatus": "Pending",
				"PolicyText": `{"Type":"Expiration","Version":"1.0","Attributes":{"Timestamp":"` + p.expires.UTC().Format("2006-01-02T15:04:05.000Z") + `"}}`})
		}
		found = append(found, map[string]any{"Name": name, "Type": p.kind, "Version": len(p.versions), "Policies": policies})
	}
	return map[string]any{"Parameters": found}, nil
}
