package awstest

import (
	"net/http"
	"slices"
	"time"
)

// input has the members of all requests, as AWS spells them.
type input struct {
	SecretId            string //nolint:revive // as AWS spells it
	Name                string
	VersionId           string //nolint:revive // as AWS spells it
	VersionStage        string
	VersionStages       []string
	SecretString        *string
	SecretBinary        []byte
	ClientRequestToken  string
	RotationToken       string
	Tags                []struct{ Key, Value string }
	MoveToVersionId     string //nolint:revive // as AWS spells it
	RemoveFromVersionId string //nolint:revive // as AWS spells it
}

func (in input) call(op string) Call {
	return Call{Op: op, SecretID: in.SecretId, VersionID: in.VersionId, Stage: in.VersionStage}
}

func invalid(message string) error {
	return &refusal{http.StatusBadRequest, "InvalidParameterException", message}
}

func missing(message string) error {
	return &refusal{http.StatusBadRequest, "ResourceNotFoundException", message}
}

func (s *SecretsManager) do(op string, in input) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if op == "CreateSecret" {
		return s.create(in)
	}
	sec := s.find(in.SecretId)
	if sec == nil {
		return nil, missing("Secrets Manager can't find the specified secret.")
	}
	switch op {
	case "GetSecretValue":
		return sec.get(in)
	case "PutSecretValue":
		return s.put(sec, in)
	case "UpdateSecretVersionStage":
		return sec.update(in)
	case "TagResource":
		for _, tag := range in.Tags {
			sec.tags[tag.Key] = tag.Value
		}
		return map[string]any{}, nil
	case "DescribeSecret":
		stages := map[string][]string{}
		for id, v := range sec.versions {
			if len(v.stages) > 0 {
				stages[id] = slices.Clone(v.stages)
			}
		}
		tags := []map[string]string{}
		for key, value := range sec.tags {
			tags = append(tags, map[string]string{"Key": key, "Value": value})
		}
		return map[string]any{"ARN": sec.arn, "Name": in.SecretId, "VersionIdsToStages": stages, "Tags": tags}, nil
	}
	return nil, &refusal{http.StatusBadRequest, "UnknownOperationException", ""}
}

func (s *SecretsManager) create(in input) (any, error) {
	if in.Name == "" {
		return nil, invalid("You must provide a Name.")
	}
	if s.find(in.Name) != nil {
		return nil, &refusal{http.StatusBadRequest, "ResourceExistsException", "The operation failed because the secret already exists."}
	}
	if in.SecretString == nil && in.SecretBinary == nil { // without a version
		s.secrets[in.Name] = &secret{arn: s.ARN(in.Name), versions: map[string]*version{}, tags: map[string]string{}}
		return map[string]any{"ARN": s.ARN(in.Name), "Name": in.Name}, nil
	}
	id := s.add(in.Name, &version{text: in.SecretString, binary: in.SecretBinary}, Current)
	return map[string]any{"ARN": s.ARN(in.Name), "Name": in.Name, "VersionId": id}, nil
}

func (sec *secret) get(in input) (any, error) {
	id := in.VersionId
	stage := in.VersionStage
	if stage == "" && id == "" {
		stage = Current
	}
	if stage != "" {
		at := sec.at(stage)
		if id != "" && id != at {
			return nil, &refusal{http.StatusBadRequest, "InvalidRequestException", "VersionId and VersionStage do not match."}
		}
		if at == "" {
			return nil, missing("Secrets Manager can't find the specified secret value for staging label: " + stage)
		}
		id = at
	}
	v := sec.versions[id]
	if v == nil || v.empty() {
		return nil, missing("Secrets Manager can't find the specified secret value for VersionId: " + id)
	}
	out := map[string]any{
		"ARN": sec.arn, "Name": in.SecretId, "VersionId": id, "VersionStages": slices.Clone(v.stages),
		"CreatedDate": unix(time.Now()),
	}
	if v.text != nil {
		out["SecretString"] = *v.text
	} else if v.binary != nil {
		out["SecretBinary"] = v.binary
	}
	return out, nil
}

// put follows PutSecretValue: without stages the new version becomes the
// current one, as the first of all versions does; a token that was used before names
// the version it made, and a version gets a value once.
func (s *SecretsManager) put(sec *secret, in input) (any, error) {
	stages := in.VersionStages
	switch {
	case in.SecretString == nil && in.SecretBinary == nil:
		return nil, invalid("You must provide either SecretString or SecretBinary.")
	case in.ClientRequestToken != "" && (len(in.ClientRequestToken) < 32 || len(in.ClientRequestToken) > 64):
		return nil, &refusal{http.StatusBadRequest, "ValidationException", "ClientRequestToken must have 32 to 64 characters."}
	case s.RotationToken != "" && in.RotationToken != s.RotationToken:
		return nil, &refusal{http.StatusBadRequest, "AccessDeniedException", "You are not authorized to perform secretsmanager:PutSecretValue."}
	case !sec.room(stages):
		return nil, &refusal{http.StatusBadRequest, "LimitExceededException", "Too many staging labels."}
	case len(stages) == 0:
		stages = []string{Current}
	case len(sec.versions) == 0:
		stages = append(slices.Clone(stages), Current)
	}
	if old := sec.versions[in.ClientRequestToken]; old != nil && !old.empty() {
		if old.text == nil || in.SecretString == nil || *old.text != *in.SecretString {
			return nil, &refusal{http.StatusBadRequest, "ResourceExistsException", "You can't use ClientRequestToken because that value is already in use."}
		}
		return map[string]any{"ARN": sec.arn, "VersionId": in.ClientRequestToken, "VersionStages": slices.Clone(old.stages)}, nil
	}
	v := &version{text: in.SecretString, binary: in.SecretBinary}
	id := in.ClientRequestToken
	switch old := sec.versions[id]; {
	case id == "":
		id = s.add(in.SecretId, v)
	case old != nil:
		v.stages = old.stages
		sec.versions[id] = v
	default:
		sec.versions[id] = v
		sec.order = append(sec.order, id)
	}
	for _, stage := range stages {
		sec.move(stage, id)
	}
	return map[string]any{"ARN": sec.arn, "VersionId": id, "VersionStages": slices.Clone(v.stages)}, nil
}

// update follows UpdateSecretVersionStage: to move a stage, the caller has to
// know where it is.
func (sec *secret) update(in input) (any, error) {
	at := sec.at(in.VersionStage)
	switch {
	case in.VersionStage == "":
		return nil, invalid("You must provide a VersionStage.")
	case in.MoveToVersionId != "" && !sec.room([]string{in.VersionStage}):
		return nil, &refusal{http.StatusBadRequest, "LimitExceededException", "Too many staging labels."}
	case in.RemoveFromVersionId != "" && in.RemoveFromVersionId != at,
		in.RemoveFromVersionId == "" && at != "" && at != in.MoveToVersionId:
		return nil, invalid("The parameter RemoveFromVersionId can't be empty or wrong. Staging label " + in.VersionStage + " is attached to another version.")
	case in.MoveToVersionId == "" && in.VersionStage == Current:
		return nil, invalid("You can't remove AWSCURRENT from a version without moving it to another.")
	case in.MoveToVersionId != "" && sec.versions[in.MoveToVersionId] == nil:
		return nil, missing("Secrets Manager can't find the specified secret version.")
	case in.MoveToVersionId == "":
		sec.drop(in.VersionStage)
	case !slices.Contains(sec.versions[in.MoveToVersionId].stages, in.VersionStage):
		sec.move(in.VersionStage, in.MoveToVersionId)
	}
	return map[string]any{"ARN": sec.arn}, nil
}
