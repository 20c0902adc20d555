package awssecret

import (
	"errors"
	"fmt"
	"strings"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/document"
)

// Check reports what is wrong with ref, or returns the region of an ARN; it is
// empty for a name.
func (ref *Ref) Check() (region string, err error) {
	check := checkSecret
	if ref.Parameter {
		check = checkParameter
	}
	region, err = check(ref.ID)
	if err != nil {
		return "", err
	}
	return region, ref.check()
}

func checkSecret(id string) (region string, err error) {
	const hint = "want a secret's name, for example prod/openai, or its ARN"
	switch {
	case id == "":
		return "", errors.New("the secret's id is empty: " + hint)
	case strings.HasPrefix(id, "sk-"):
		return "", errors.New("the secret's id starts like a key: " + hint)
	}
	name := id
	if strings.HasPrefix(id, "arn:") {
		part := strings.SplitN(id, ":", 7)
		if len(part) != 7 || part[2] != "secretsmanager" || part[3] == "" || part[5] != "secret" {
			return "", errors.New("the ARN is not one of a secret: want arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME")
		}
		region, name = part[3], part[6]
		if err := CheckRegion(region); err != nil {
			return "", fmt.Errorf("the region in the ARN is malformed: %w", err)
		}
	}
	if len(name) == 0 || len(name) > 512 {
		return "", fmt.Errorf("the secret's name has %d characters, AWS takes 1 to 512: %s", len(name), hint)
	}
	for i, c := range name {
		if !nameChar(c) {
			return "", fmt.Errorf("character %d of the secret's name is not a letter, a digit or one of /_+=.@!-: %s", i+1, hint)
		}
	}
	return region, nil
}

// nameChar admits what CreateSecret does, and the ! of secrets that other
// services of AWS manage.
func nameChar(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("/_+=.@!-", c)
}

// CheckRegion reports why text is no region. A region becomes a part of a
// host's name.
func CheckRegion(text string) error {
	if text == "" || strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return errors.New("want lower case letters, digits and -, as in eu-west-1")
	}
	return nil
}

// checkParameter is checkSecret for the name or ARN of a parameter.
// https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-parameter-name-constraints.html
func checkParameter(id string) (region string, err error) {
	const hint = "want a parameter's name, for example /prod/openai, or its ARN"
	switch {
	case id == "":
		return "", errors.New("the parameter's name is empty: " + hint)
	case strings.HasPrefix(id, "sk-"):
		return "", errors.New("the parameter's name starts like a key: " + hint)
	}
	name := id
	if strings.HasPrefix(id, "arn:") {
		part := strings.SplitN(id, ":", 6)
		if len(part) != 6 || part[2] != "ssm" || part[3] == "" || !strings.HasPrefix(part[5], "parameter/") {
			return "", errors.New("the ARN is not one of a parameter: want arn:aws:ssm:REGION:ACCOUNT:parameter/NAME")
		}
		region, name = part[3], strings.TrimPrefix(part[5], "parameter")
		if err := CheckRegion(region); err != nil {
			return "", fmt.Errorf("the region in the ARN is malformed: %w", err)
		}
	}
	switch {
	case strings.Trim(name, "/") == "" || len(name) > 1011:
		return "", fmt.Errorf("the parameter's name has %d characters, AWS takes 1 to 1011: %s", len(name), hint)
	case strings.Contains(name, ":"):
		return "", errors.New("the parameter's name has a colon: a version or a label is an option of its own")
	case strings.Contains(name, "/") && name[0] != '/':
		return "", errors.New("a parameter's name with a / in it begins with one, as in /prod/openai")
	}
	for i, c := range name {
		if !nameChar(c) || strings.ContainsRune("+=@!", c) {
			return "", fmt.Errorf("character %d of the parameter's name is not a letter, a digit or one of /_.-: %s", i+1, hint)
		}
	}
	return region, nil
}

func (ref *Ref) check() error {
	for name, field := range map[string]string{"Field": ref.Field, "StandbyField": ref.StandbyField} {
		if err := document.Check(field); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for name, v := range map[string]string{"Stage": ref.Stage, "StandbyStage": ref.StandbyStage, "Version": ref.Version} {
		if len(v) > 256 || strings.ContainsFunc(v, func(c rune) bool { return c <= ' ' || c > '~' || ref.Parameter && c == ':' }) {
			return fmt.Errorf("%s is malformed: AWS takes up to 256 characters without spaces", name)
		}
	}
	stage, next := ref.Stage, "the label of another version"
	if !ref.Parameter {
		next = "another one, for example AWSPENDING"
		if stage == "" {
			stage = "AWSCURRENT"
		}
	}
	switch {
	case ref.Version != "" && ref.Stage != "":
		return errors.New("Version pins a version and Stage follows one: leave one of them out")
	case ref.Parameter && strings.Trim(ref.Version, "0123456789") != "":
		return errors.New("Version is not a number: the versions of a parameter are 1, 2, 3 and so on; a label is a Stage")
	case ref.StandbyField != "" && ref.Field == "":
		return errors.New("StandbyField needs Field: without it the whole secret is the key")
	case ref.StandbyField != "" && ref.StandbyField == ref.Field:
		return errors.New("StandbyField is Field: name the field of another key")
	case ref.Scheme > credential.BearerToken:
		return fmt.Errorf("unknown Scheme %d", ref.Scheme)
	case ref.Version == "" && ref.StandbyStage != "" && ref.StandbyStage == stage:
		return fmt.Errorf("StandbyStage %q is the stage that is read anyway: name %s", stage, next)
	}
	return nil
}
