package auto_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/auto"
	"github.com/latchkey-go/latchkey/credential/awsextension"
	"github.com/latchkey-go/latchkey/credential/awsparameterstore"
	"github.com/latchkey-go/latchkey/credential/awssecretsmanager"
	"github.com/latchkey-go/latchkey/credential/azureidentity"
	"github.com/latchkey-go/latchkey/credential/azurekeyvault"
	"github.com/latchkey-go/latchkey/credential/execcommand"
	"github.com/latchkey-go/latchkey/credential/hashivault"
	"github.com/latchkey-go/latchkey/credential/hashivault/awsauth"
	"github.com/latchkey-go/latchkey/credential/hashivault/azureauth"
	"github.com/latchkey-go/latchkey/credential/openaiworkload"
)

// Sources that nobody made with New, and nil ones.
func zeros() map[string]credential.Source {
	return map[string]credential.Source{
		"awsextension": new(awsextension.Source), "nil awsextension": (*awsextension.Source)(nil),
		"awsparameterstore": new(awsparameterstore.Source), "nil awsparameterstore": (*awsparameterstore.Source)(nil),
		"awssecretsmanager": new(awssecretsmanager.Source), "nil awssecretsmanager": (*awssecretsmanager.Source)(nil),
		"azureidentity": new(azureidentity.Source), "nil azureidentity": (*azureidentity.Source)(nil),
		"azurekeyvault": new(azurekeyvault.Source), "nil azurekeyvault": (*azurekeyvault.Source)(nil),
		"execcommand": new(execcommand.Source), "nil execcommand": (*execcommand.Source)(nil),
		"hashivault": new(hashivault.Source), "nil hashivault": (*hashivault.Source)(nil),
		"openaiworkload": new(openaiworkload.Source), "nil openaiworkload": (*openaiworkload.Source)(nil),
		"chain": new(credential.Chain), "nil chain": (*credential.Chain)(nil),
		"cache": new(credential.Cache), "tenants": new(credential.Tenants),
		"static": credential.Static(credential.Secret{}, 0), "env": credential.Env(""), "file": credential.File(""), "standby": credential.Standby(nil, nil),
		"func": credential.SourceFunc(nil),
	}
}

// safely runs f and says whether it panicked.
func safely(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("%s panics: %v", what, p)
		}
	}()
	f()
}

func TestAZeroSourceIsAnErrorAndNoPanic(t *testing.T) {
	clearEnv(t)
	for name, src := range zeros() {
		safely(t, name, func() {
			if v, err := src.Retrieve(t.Context()); err == nil || !v.Secret.IsZero() {
				t.Errorf("%s gives a value", name)
			}
		})
		safely(t, name+".Renew", func() {
			if r, ok := src.(credential.Renewer); ok {
				if v, err := r.Renew(t.Context(), credential.Rejection{}); err == nil || !v.Secret.IsZero() {
					t.Errorf("%s renews a value", name)
				}
			}
		})
		safely(t, name+".String", func() { _ = fmt.Sprintf("%v %+v %#v", src, src, src) })
		safely(t, name+".Standby", func() {
			if s, ok := src.(interface{ Standby() credential.Source }); ok && s.Standby() != nil {
				t.Errorf("%s has a standby", name)
			}
		})
		safely(t, name+".Close", func() {
			if c, ok := src.(interface{ Close(context.Context) error }); ok {
				_ = c.Close(t.Context())
			}
		})
		safely(t, name+" under a Cache", func() {
			cache, err := credential.NewCache(src, nil)
			if err != nil {
				return
			}
			if _, err := cache.Retrieve(t.Context()); err == nil {
				t.Errorf("%s under a Cache gives a value", name)
			}
		})
	}
}

// New without a name says what it wants; where the environment may do, zero
// options are ready to use.
func TestZeroOptionsAreAnErrorOrReadyToUse(t *testing.T) {
	clearEnv(t)
	wrong := func(name string, f func() error) {
		t.Helper()
		safely(t, name, func() {
			if f() == nil {
				t.Errorf("%s takes nothing for a name", name)
			}
		})
	}
	wrong("awsextension", func() error { _, err := awsextension.New("", &awsextension.Options{}); return err })
	wrong("awsextension's parameter", func() error { _, err := awsextension.NewParameter("", &awsextension.Options{}); return err })
	wrong("awsparameterstore", func() error { _, err := awsparameterstore.New("", &awsparameterstore.Options{}); return err })
	wrong("awssecretsmanager", func() error { _, err := awssecretsmanager.New("", &awssecretsmanager.Options{}); return err })
	wrong("azurekeyvault", func() error { _, err := azurekeyvault.New("", "", &azurekeyvault.Options{}); return err })
	wrong("execcommand", func() error { _, err := execcommand.New("", nil, &execcommand.Options{}); return err })
	wrong("hashivault", func() error { _, err := hashivault.New("", &hashivault.Options{}); return err })
	wrong("openaiworkload", func() error { _, err := openaiworkload.New(&openaiworkload.Options{}); return err })
	wrong("openaiworkload without options", func() error { _, err := openaiworkload.New(nil); return err })
	// awsauth takes an empty role for the one that is named like the role of AWS.
	wrong("azureauth", func() error { _, err := azureauth.New("", &azureauth.Options{}); return err })
	wrong("auto", func() error { _, err := auto.New(&auto.Options{}); return err })
	safely(t, "azureidentity", func() {
		src, err := azureidentity.New(&azureidentity.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1") // nothing is asked there
		if _, err := src.Retrieve(t.Context()); !errors.Is(err, credential.ErrUnavailable) {
			t.Errorf("azureidentity: %v", err)
		}
	})
}

// A login that nobody filled in, or that is nil, is refused by New; by itself
// it is an error as well.
func TestAZeroLoginOfVaultIsAnErrorAndNoPanic(t *testing.T) {
	clearEnv(t)
	client, err := api.NewClient(&api.Config{Address: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	for name, auth := range map[string]api.AuthMethod{
		"AppRole": new(hashivault.AppRole), "nil AppRole": (*hashivault.AppRole)(nil), "Kubernetes": new(hashivault.Kubernetes),
		"nil Kubernetes": (*hashivault.Kubernetes)(nil), "JWT": new(hashivault.JWT), "nil JWT": (*hashivault.JWT)(nil),
		"awsauth": new(awsauth.Auth), "nil awsauth": (*awsauth.Auth)(nil), "azureauth": new(azureauth.Auth), "nil azureauth": (*azureauth.Auth)(nil),
	} {
		safely(t, name, func() {
			if _, err := auth.Login(t.Context(), client); err == nil {
				t.Errorf("%s logs in", name)
			}
		})
		safely(t, name+" as an option", func() {
			src, err := hashivault.New("secret/openai", &hashivault.Options{Auth: auth})
			if err != nil {
				return
			}
			if _, err := src.Retrieve(t.Context()); err == nil {
				t.Errorf("%s as an option gives a value", name)
			}
		})
	}
}
