package main

import (
	"errors"
	"strings"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/awssecretsmanager"
	"github.com/latchkey-go/latchkey/rotation"
	store "github.com/latchkey-go/latchkey/rotation/awssecretsmanager"
)

func openSecretsManager(rest string) (rotation.Store, credential.Source, error) {
	id, field, _ := strings.Cut(rest, "#")
	if id == "" {
		return nil, nil, errors.New("want awssecretsmanager:ARN or awssecretsmanager:ARN#FIELD")
	}
	s, err := store.New(id, &store.Options{Field: field})
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // it names itself
	}
	src, err := awssecretsmanager.New(id, &awssecretsmanager.Options{Field: field, StandbyStage: "AWSPENDING"})
	return s, src, err //nolint:wrapcheck // it names itself
}
