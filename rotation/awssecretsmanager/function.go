package awssecretsmanager

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-lambda-go/events"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/rotation"
)

// Rotate takes the step that Secrets Manager asks for in e, with
// [rotation.Rotator.Take]
// (https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html):
//
//	createSecret   the previous key is retired, and a new one is issued and pending
//	setSecret      nothing more: the service knows the key already
//	testSecret     the service accepts the pending key
//	finishSecret   it is proved once more, and is the current key; the one before works on
//	retire         the previous key is revoked, if its overlap is over; and orphans
//
// The last one is not of Secrets Manager: let a schedule send {"Step":"retire"} once
// an hour. Without it, the old key lives until the next rotation.
//
// Events may come twice, late and at once. A step for a version that is current is no
// error. It is one if the version is not pending, or the secret is another one. Give
// the function more time than opts.ProveFor.
func (s *Store) Rotate(ctx context.Context, e events.SecretsManagerSecretRotationEvent, issuer rotation.Issuer, opts *rotation.Options) (*rotation.Report, error) {
	directed := *s
	if e.RotationToken != "" {
		directed.rotationToken = credential.NewSecret(e.RotationToken)
	}
	r, err := rotation.New(issuer, &directed, opts)
	if err != nil {
		return &rotation.Report{}, fmt.Errorf("rotation/awssecretsmanager: %w", err)
	}
	var step rotation.Step
	switch e.Step {
	case "retire":
		return r.Take(ctx, "", rotation.Retire) //nolint:wrapcheck // it says what has failed
	case "createSecret", "setSecret":
		step = rotation.Issue
	case "testSecret":
		step = rotation.Prove
	case "finishSecret":
		step = rotation.Promote
	default:
		return &rotation.Report{}, errors.New("rotation/awssecretsmanager: an event without a step that is known: is this function called by Secrets Manager?")
	}
	if !s.is(e.SecretID) {
		return &rotation.Report{}, fmt.Errorf("rotation/awssecretsmanager: the event is for another secret than %s: each secret needs a function of its own", s.id)
	}
	return r.Take(ctx, e.ClientRequestToken, step) //nolint:wrapcheck // it says what has failed
}

// is reports whether an id is that of the secret. An ARN ends in the name, a dash and
// six characters.
func (s *Store) is(id string) bool {
	name := func(id string) string {
		if part := strings.SplitN(id, ":", 7); len(part) == 7 && part[0] == "arn" {
			return part[6]
		}
		return id
	}
	if strings.HasPrefix(s.id, "arn:") && strings.HasPrefix(id, "arn:") {
		return id == s.id
	}
	a, b := name(s.id), name(id)
	return a == b || len(b) == len(a)+7 && strings.HasPrefix(b, a+"-") || len(a) == len(b)+7 && strings.HasPrefix(a, b+"-")
}
