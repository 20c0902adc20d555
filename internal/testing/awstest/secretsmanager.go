package awstest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// The stages that Secrets Manager moves by itself.
const (
	Current  = "AWSCURRENT"
	Pending  = "AWSPENDING"
	Previous = "AWSPREVIOUS"
)

// account is what the ARNs name.
const account = "123456789012"

// A SecretsManager is AWS Secrets Manager: CreateSecret, PutSecretValue,
// UpdateSecretVersionStage, DescribeSecret, TagResource and GetSecretValue, over the
// wire or as methods. Its methods are safe for concurrent use.
type SecretsManager struct {
	service
	// RotationToken, if not empty, is what PutSecretValue has to bring, as where the
	// function of another account rotates. Set it before use.
	RotationToken string
	secrets       map[string]*secret
}

type secret struct {
	arn      string
	tags     map[string]string
	versions map[string]*version
	order    []string
}

type version struct {
	text   *string
	binary []byte
	stages []string
}

// NewSecretsManager returns an empty one in eu-west-1 that admits [Caller].
func NewSecretsManager() *SecretsManager {
	s := &SecretsManager{service: newService("secretsmanager", "secretsmanager."), secrets: map[string]*secret{}}
	s.read = func(op string, body []byte) (Call, func() (any, error)) {
		var in input
		_ = json.Unmarshal(body, &in) // what is not there is empty
		return in.call(op), func() (any, error) { return s.do(op, in) }
	}
	return s
}

// Put makes text the current version of the secret, which it creates if need
// be, and returns the version's id. The version before becomes AWSPREVIOUS.
func (s *SecretsManager) Put(name, text string) string { return s.PutAt(name, text, Current) }

// PutAt makes text a version with that stage.
func (s *SecretsManager) PutAt(name, text, stage string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.add(name, &version{text: &text}, stage)
}

// PutBinary makes b the current version of the secret.
func (s *SecretsManager) PutBinary(name string, b []byte) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.add(name, &version{binary: b}, Current)
}

// Promote makes the pending version the current one, as finishSecret does.
func (s *SecretsManager) Promote(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	sec := s.find(name)
	if sec == nil {
		return errors.New("awstest: no such secret")
	}
	pending := sec.at(Pending)
	if pending == "" {
		return errors.New("awstest: no pending version")
	}
	sec.move(Current, pending)
	sec.drop(Pending)
	return nil
}

// Tag puts a tag on the secret.
func (s *SecretsManager) Tag(name, key, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sec := s.find(name); sec != nil {
		sec.tags[key] = value
	}
}

// Delete removes the secret.
func (s *SecretsManager) Delete(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.secrets, name)
}

// ARN returns the ARN of the secret.
func (s *SecretsManager) ARN(name string) string {
	return "arn:aws:secretsmanager:" + s.Region + ":" + account + ":secret:" + name + "-AbCdEf"
}

// Reads returns how many GetSecretValue have arrived.
func (s *SecretsManager) Reads() int { return s.Calls("GetSecretValue") }

// WaitReads waits until n GetSecretValue have arrived in all, or done closes.
func (s *SecretsManager) WaitReads(done <-chan struct{}, n int) bool {
	for {
		s.mu.Lock()
		reads, heard := s.calls["GetSecretValue"], s.heard
		s.mu.Unlock()
		if reads >= n {
			return true
		}
		select {
		case <-heard:
		case <-done:
			return false
		}
	}
}

func (s *SecretsManager) find(id string) *secret {
	if sec := s.secrets[id]; sec != nil {
		return sec
	}
	for _, sec := range s.secrets {
		// An ARN may lack the six random characters.
		if id == sec.arn || id+"-AbCdEf" == sec.arn {
			return sec
		}
	}
	return nil
}

// add is called with s.mu held.
func (s *SecretsManager) add(name string, v *version, stages ...string) string {
	sec := s.find(name)
	if sec == nil {
		sec = &secret{arn: s.ARN(name), versions: map[string]*version{}, tags: map[string]string{}}
		s.secrets[name] = sec
	}
	id := fmt.Sprintf("00000000-0000-4000-8000-%012d", len(sec.order)+1)
	sec.order = append(sec.order, id)
	sec.versions[id] = v
	for _, stage := range stages {
		sec.move(stage, id)
	}
	return id
}

func (sec *secret) at(stage string) string {
	for id, v := range sec.versions {
		if slices.Contains(v.stages, stage) {
			return id
		}
	}
	return ""
}

func (sec *secret) drop(stage string) (from string) {
	from = sec.at(stage)
	if from != "" {
		v := sec.versions[from]
		v.stages = slices.DeleteFunc(v.stages, func(s string) bool { return s == stage })
	}
	return from
}

// move puts the stage on a version. A stage is on one version at most, and
// AWSPREVIOUS is where AWSCURRENT was last.
func (sec *secret) move(stage, id string) {
	from := sec.drop(stage)
	v := sec.versions[id]
	v.stages = append(v.stages, stage)
	if stage == Current && from != "" && from != id {
		sec.drop(Previous)
		old := sec.versions[from]
		old.stages = append(old.stages, Previous)
	}
}

func unix(t time.Time) json.Number {
	return json.Number(strconv.FormatInt(t.Unix(), 10))
}
