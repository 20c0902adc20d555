package awsparameterstore

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/latchkey-go/latchkey/internal/awssdk"
)

// expiry returns the time in the policy of expiration, if the version that was
// read has one. A failure that passes is no error: the key is there, and the
// next read may know more.
func (st *store) expiry(ctx context.Context, a *awssdk.Ready[api], what *attempt, parameter string, version int64) (time.Time, error) {
	if parameter == "" {
		return time.Time{}, nil
	}
	out, err := a.API.describe(ctx, &ssm.DescribeParametersInput{ParameterFilters: []types.ParameterStringFilter{
		{Key: aws.String("Name"), Option: aws.String("Equals"), Values: []string{parameter}}}})
	code, text := awssdk.Code(err)
	switch {
	case strings.HasPrefix(code, "AccessDenied"):
		return time.Time{}, what.Denied(code, text, "the identity may not see when the parameter expires", "ssm:DescribeParameters", what.arnOf("*"))
	case err != nil || out == nil:
		return time.Time{}, nil //nolint:nilerr // as said above
	}
	for _, meta := range out.Parameters {
		if meta.Version != version || aws.ToString(meta.Name) != parameter {
			continue
		}
		for _, policy := range meta.Policies {
			if aws.ToString(policy.PolicyType) != "Expiration" {
				continue
			}
			var p struct{ Attributes struct{ Timestamp time.Time } }
			if err := json.Unmarshal([]byte(aws.ToString(policy.PolicyText)), &p); err != nil || p.Attributes.Timestamp.IsZero() {
				return time.Time{}, what.Fail(errors.New("the policy of expiration has no time that can be read"), "put the parameter again with a policy whose Timestamp is as in RFC 3339")
			}
			return p.Attributes.Timestamp, nil
		}
	}
	return time.Time{}, nil
}
