package awstest

import (
	"errors"
	"fmt"
	"slices"
)

// maxLabels is how many labels a secret may have, and maxLabel how long each is.
// https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html
const (
	maxLabels = 20
	maxLabel  = 256
)

// errBusy is what RotateSecret answers while a rotation is under way.
var errBusy = errors.New("InvalidRequestException: A previous rotation isn't complete. That rotation will be reattempted")

func (v *version) empty() bool { return v.text == nil && v.binary == nil }

// room reports whether the secret may have these labels, too.
func (sec *secret) room(more []string) bool {
	labels := map[string]bool{}
	for _, stage := range more {
		labels[stage] = true
		if len(stage) > maxLabel {
			return false
		}
	}
	for _, v := range sec.versions {
		for _, stage := range v.stages {
			labels[stage] = true
		}
	}
	return len(labels) <= maxLabels
}

// Stages returns the labels of each version that has some.
func (s *SecretsManager) Stages(name string) map[string][]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string][]string{}
	if sec := s.find(name); sec != nil {
		for id, v := range sec.versions {
			if len(v.stages) > 0 {
				out[id] = slices.Clone(v.stages)
			}
		}
	}
	return out
}

// Text returns the text of the version with that stage; empty if there is none.
func (s *SecretsManager) Text(name, stage string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	sec := s.find(name)
	if sec == nil {
		return ""
	}
	if v := sec.versions[sec.at(stage)]; v != nil && v.text != nil {
		return *v.text
	}
	return ""
}

// TagOf returns a tag of the secret.
func (s *SecretsManager) TagOf(name, key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sec := s.find(name); sec != nil {
		return sec.tags[key]
	}
	return ""
}

// Create makes a secret without a value.
func (s *SecretsManager) Create(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets[name] = &secret{arn: s.ARN(name), versions: map[string]*version{}, tags: map[string]string{}}
}

// A RotationEvent is what Secrets Manager sends to the rotation function.
type RotationEvent struct{ Step, SecretId, ClientRequestToken, RotationToken string } //nolint:revive // as AWS spells it

// Begin is the beginning of RotateSecret: a version without a value is AWSPENDING. It
// returns the event of the first step, whose Step may be changed to that of another
// one. A rotation that has not come to its end is begun again with again; without, that
// is an error.
func (s *SecretsManager) Begin(name string, again bool) (RotationEvent, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sec := s.find(name)
	if sec == nil {
		return RotationEvent{}, errors.New("ResourceNotFoundException")
	}
	id := sec.at(Pending)
	switch {
	case id == "" || id == sec.at(Current):
		id = s.add(name, &version{}, Pending)
	case !again:
		return RotationEvent{}, errBusy
	}
	return RotationEvent{Step: "createSecret", SecretId: sec.arn, ClientRequestToken: id, RotationToken: s.RotationToken}, nil
}

// Rotate is RotateSecret, and calls the function for each step. A step that fails ends
// it; Rotate again reattempts the rotation from its beginning, with the same token.
// With test it is RotateImmediately=false: a copy of the current version is pending for
// testSecret alone.
func (s *SecretsManager) Rotate(name string, test bool, function func(RotationEvent) error) error {
	e, err := s.Begin(name, !test)
	if err != nil {
		return err
	}
	steps := []string{"createSecret", "setSecret", "testSecret", "finishSecret"}
	if test {
		steps = []string{"testSecret"}
		s.mu.Lock()
		sec := s.find(name)
		if current := sec.versions[sec.at(Current)]; current != nil {
			pending := sec.versions[e.ClientRequestToken]
			pending.text, pending.binary = current.text, current.binary
		}
		s.mu.Unlock()
	}
	for _, e.Step = range steps {
		if err = function(e); err != nil {
			err = fmt.Errorf("%s: %w", e.Step, err)
			break
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sec := s.find(name)
	if test || err == nil && sec.at(Current) == e.ClientRequestToken {
		sec.drop(Pending)
		return err
	}
	if err == nil {
		err = errors.New("the rotation function was successful, and the new version is not AWSCURRENT")
	}
	return err
}
