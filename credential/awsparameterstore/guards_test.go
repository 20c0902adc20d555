package awsparameterstore_test

import (
	"testing"

	"github.com/latchkey-go/latchkey/credential/awsparameterstore"
	"github.com/latchkey-go/latchkey/internal/testing/awstest"
)

func TestAnErrorSaysWhichVersionWasAskedFor(t *testing.T) {
	for says, opts := range map[string]*awsparameterstore.Options{
		`read "/prod/openai" version 3 in eu-west-1`:    {Version: "3"},
		`read "/prod/openai" label "live" in eu-west-1`: {Stage: "live"},
		`read "/prod/openai" in eu-west-1`:              nil,
	} {
		ps := onWire(t)
		ps.Fail(awstest.Fault{Status: 500, Type: "InternalServerError"})
		_, err := newSource(t, parameter, opts).Retrieve(t.Context())
		wantError(t, err, nil, says)
	}
}

// Who pastes what the error says into a policy gets the ARN that was configured.
func TestTheAdviceNamesTheARN(t *testing.T) {
	ps := onWire(t)
	for id, says := range map[string]string{
		ps.ARN(parameter): "allow ssm:GetParameter on " + ps.ARN(parameter) + " in",
		parameter:         "allow ssm:GetParameter on arn:aws:ssm:eu-west-1:ACCOUNT:parameter/prod/openai in",
	} {
		ps.Fail(awstest.Fault{Status: 400, Type: "AccessDeniedException", Message: "CANARY is not authorized"})
		_, err := newSource(t, id, nil).Retrieve(t.Context())
		wantError(t, err, nil, says)
	}
}
