package azurekeyvault_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/testing/azuretest"
	"github.com/latchkey-go/latchkey/internal/testing/rotationtest"
	"github.com/latchkey-go/latchkey/rotation"
	"github.com/latchkey-go/latchkey/rotation/azurekeyvault"
)

const byHand = "sk-CANARY-by-hand"

func TestAKeyThatAPersonHasPutThereIsTakenOver(t *testing.T) {
	in(t, func(w *world) {
		w.vault.Put(name, byHand)
		if s := w.load(); s.Current == nil || s.Current.Token != "found" || s.Current.Secret.Reveal() != byHand || len(w.vault.Versions(journal)) != 0 {
			w.T.Fatal("it is not the current version, or Load has written")
		}
		w.MustRun() // due at once
		s := w.load()
		if s.Previous == nil || s.Previous.Secret.Reveal() != byHand || w.Readers("") != s.Current.Secret.Reveal() {
			w.T.Error("it is not the previous version")
		}
		w.Service.Pass(day)
		if r := w.MustRun(); !slices.Equal(r.Steps, []rotation.Step{"retire"}) {
			w.T.Errorf("%+v", r)
		}
	})
}

func TestAVaultWithoutTheSecretOrWithAnEmptyOneWorks(t *testing.T) {
	for _, empty := range []bool{false, true} {
		in(t, func(w *world) {
			if empty {
				w.vault.Put(name, "")
			}
			if s := w.load(); s != (rotation.State{}) {
				w.T.Errorf("%+v", s)
			}
			w.MustRun()
			w.Readers("")
		})
	}
}

// What a person puts there later is the current key as well: theirs may be the only one
// that works.
func TestAKeyThatAPersonPutsThereLaterIsTakenOver(t *testing.T) {
	in(t, func(w *world) {
		w.MustRun()
		w.Service.Pass(30 * day)
		w.MustRun()
		tags := w.newest().Tags
		w.vault.Put(name, byHand, azuretest.Attributes{Tags: tags}) // a tool may copy tags
		if s := w.load(); s.Current.Token != "found" || s.Current.Secret.Reveal() != byHand || s.Previous != nil || s.Pending != nil {
			w.T.Fatal("it was not taken over")
		}
		if n := w.newest(); n.Value != byHand {
			w.T.Error("it was overwritten")
		}
		w.MustRun()
		if s := w.load(); s.Previous.Secret.Reveal() != byHand || w.Readers("") == byHand {
			w.T.Error("it was not rotated")
		}
	})
}

// A person who goes back to the previous key does not lose it as an orphan.
func TestAPersonMayGoBackToThePreviousKey(t *testing.T) {
	in(t, func(w *world) {
		w.MustRun()
		first := w.Readers("")
		w.Service.Pass(30 * day)
		w.MustRun()
		w.Readers(first)
		w.Service.Pass(2 * time.Hour)
		w.vault.Put(name, first)
		w.MustRun()
		if s := w.load(); s.Current.Secret.Reveal() != first || s.Current.KeyID == "" || w.Readers("") != first {
			w.T.Error("the key is not the current one, or it is not known any more")
		}
	})
}

// A rotator that dies between its change of the journal and the publication.
func unpublished(w *world, after time.Duration) (before string) {
	w.T.Helper()
	w.MustRun()
	before = w.Readers("")
	w.Service.Pass(30 * day)
	w.Store = open(w.T, dead{w.transport}, nil)
	w.Under = nil
	if _, err := w.Run(&rotationtest.Fault{}); err == nil {
		w.T.Fatal("it was published")
	}
	w.Store = w.store
	if w.Readers("") != before {
		w.T.Fatal("readers have the new key")
	}
	w.Service.Pass(after)
	return before
}

// dead loses what is published.
type dead struct{ to http.RoundTripper }

func (d dead) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPut && !strings.Contains(r.URL.Path, journal) {
		return nil, rotationtest.ErrLost
	}
	return d.to.RoundTrip(r)
}

// The previous key is not revoked because it was promoted long ago: readers have had
// it until now.
func TestTheOverlapBeginsWhenReadersCanHaveTheKey(t *testing.T) {
	in(t, func(w *world) {
		before := unpublished(w, 2*day)
		if r := w.MustRun(); r.Previous == "" {
			w.T.Error("the key that readers have was revoked")
		}
		if w.Readers(before) == before {
			w.T.Error("the current key was not published")
		}
		w.Service.Pass(2 * day)
		if r := w.MustRun(); r.Previous != "" || w.Service.Accepts(before) {
			w.T.Errorf("%+v", r)
		}
	})
}

// A rotator that was held up publishes a key of old.
func TestReadersGetTheCurrentKeyBack(t *testing.T) {
	in(t, func(w *world) {
		w.MustRun()
		old := w.newest()
		w.Service.Pass(30 * day)
		w.MustRun()
		current := w.Readers("")
		w.vault.Put(name, old.Value, azuretest.Attributes{Tags: old.Tags})
		w.Service.Pass(23 * time.Hour)
		s := w.load()
		if w.Readers(old.Value) != current || s.Current.Secret.Reveal() != current {
			w.T.Error("readers keep the old key")
		}
		w.Service.Pass(2 * time.Hour)
		if r := w.MustRun(); r.Previous == "" {
			w.T.Error("the old key was revoked two hours after readers had it")
		}
	})
}

// If the journal is lost, the tags tell whose key it is.
func TestALostJournalLosesNoKey(t *testing.T) {
	in(t, func(w *world) {
		w.MustRun()
		before := w.load()
		w.vault.Delete(journal, true)
		w.Service.Pass(2 * time.Hour)
		r := w.MustRun()
		after := w.load()
		if len(r.Steps) != 0 || r.Orphans != 0 || after.Current.Token != before.Current.Token || after.Current.KeyID != before.Current.KeyID {
			w.T.Errorf("%+v, %s", r, after.Current.KeyID)
		}
		w.Readers("")
	})
}

func TestASecretThatIsDeletedIsAClearError(t *testing.T) {
	for _, secret := range []string{name, journal} {
		in(t, func(w *world) {
			w.MustRun()
			w.vault.Delete(secret, false)
			w.Service.Pass(31 * day)
			_, err := w.Run(&rotationtest.Fault{})
			if err == nil || !strings.Contains(err.Error(), "az keyvault secret recover --vault-name myvault --name "+secret) {
				w.T.Errorf("%s: %v", secret, err)
			}
			if made := w.Service.Made(); made != 1 {
				w.T.Errorf("%s: %d keys made", secret, made)
			}
			w.vault.Recover(secret)
			w.MustRun()
			w.Readers("")
		})
	}
}

func TestErrorsSayWhichRightIsMissing(t *testing.T) {
	for label, tc := range map[string]struct {
		set   func(*azuretest.Vault)
		wants []string
	}{
		"read":     {func(v *azuretest.Vault) { v.Deny(http.MethodGet) }, []string{"read openai-key in", "secrets/getSecret/action", "permission Get"}},
		"list":     {func(v *azuretest.Vault) { v.Deny("LIST") }, []string{"list the versions of openai-key-rotation", "secrets/readMetadata/action", "permission List"}},
		"write":    {func(v *azuretest.Vault) { v.Deny(http.MethodPut) }, []string{"write openai-key-rotation", "secrets/setSecret/action", "permission Set"}},
		"disabled": {func(v *azuretest.Vault) { v.Put(name, byHand, azuretest.Attributes{Disabled: true}) }, []string{"disabled", "enable it"}},
		"firewall": {func(v *azuretest.Vault) {
			v.Fail(403, azuretest.VaultError("Forbidden", "ForbiddenByFirewall", "CANARY"))
		}, []string{"firewall", "privatelink.vaultcore.azure.net"}},
		"throttled": {func(v *azuretest.Vault) { v.Fail(429, azuretest.VaultError("Throttled", "", "CANARY")) }, []string{"throttles (429)"}},
		"down":      {func(v *azuretest.Vault) { v.Fail(500, azuretest.VaultError("InternalServerError", "", "CANARY")) }, []string{"500", "InternalServerError"}},
		"no vault":  {func(v *azuretest.Vault) { v.Fail(200, `{"CANARY":1}`) }, []string{"not one of Key Vault"}},
		"a proxy":   {func(v *azuretest.Vault) { v.Fail(403, "<html>CANARY") }, []string{"status 403", "proxy or firewall"}},
	} {
		in(t, func(w *world) {
			tc.set(w.vault)
			_, err := w.Run(&rotationtest.Fault{})
			if err == nil || w.Service.Made() != 0 {
				w.T.Fatalf("%s: %v", label, err)
			}
			if strings.Contains(err.Error(), "CANARY") {
				w.T.Fatalf("%s: the error shows a secret or a body", label)
			}
			for _, want := range append(tc.wants, "myvault.vault.azure.net") {
				if !strings.Contains(err.Error(), want) {
					w.T.Errorf("%s: %v\ndoes not say %q", label, err, want)
				}
			}
		})
	}
}

func TestAJournalThatIsSomethingElseIsNotShown(t *testing.T) {
	in(t, func(w *world) {
		for _, text := range []string{"CANARY", `{"State":"CANARY"}`} {
			w.vault.Put(journal, text, azuretest.Attributes{Tags: map[string]string{"LatchkeyAfter": "none", "LatchkeyChange": "x"}})
			if _, err := w.store.Load(w.T.Context()); err == nil || strings.Contains(err.Error(), "CANARY") {
				w.T.Error("no error, or one with the text")
			}
			w.vault.Delete(journal, true)
		}
	})
}

func TestNewRefusesWhatIsNoVault(t *testing.T) {
	for label, tc := range map[string]struct {
		url, name string
		opts      azurekeyvault.Options
	}{
		"plain http":   {"http://myvault.vault.azure.net", name, azurekeyvault.Options{}},
		"a secret":     {azuretest.VaultURL + "/secrets/x", name, azurekeyvault.Options{}},
		"a user":       {"https://u:CANARY@myvault.vault.azure.net", name, azurekeyvault.Options{}},
		"no name":      {azuretest.VaultURL, "", azurekeyvault.Options{}},
		"a path":       {azuretest.VaultURL, "../CANARY", azurekeyvault.Options{}},
		"too long":     {azuretest.VaultURL, strings.Repeat("x", 120), azurekeyvault.Options{}},
		"one secret":   {azuretest.VaultURL, name, azurekeyvault.Options{Journal: "OpenAI-key"}},
		"a negative":   {azuretest.VaultURL, name, azurekeyvault.Options{ValidityPeriodDays: -1}},
		"a long tag":   {azuretest.VaultURL, name, azurekeyvault.Options{ProviderAddress: strings.Repeat("x", 257)}},
		"no transport": {azuretest.VaultURL, name, azurekeyvault.Options{ClientOptions: withTransport()}},
	} {
		if _, err := azurekeyvault.New(tc.url, tc.name, &tc.opts); err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: no error, or one that quotes", label)
		}
	}
	if _, err := azurekeyvault.New(azuretest.VaultURL, name, nil); err != nil {
		t.Error(err)
	}
}

// It stays due, and what another rotator is about to issue stays pending.
func TestTakingOverEndsNoRotation(t *testing.T) {
	in(t, func(w *world) {
		w.vault.Put(name, byHand)
		if err := w.store.Stage(w.T.Context(), w.load(), rotation.Version{Token: "a", Prepared: w.Options.Now()}); err != nil {
			w.T.Fatal(err)
		}
		w.vault.Put(name, byHand+"-2")
		s := w.load()
		if s.Pending == nil || s.Current.Secret.Reveal() != byHand+"-2" {
			w.T.Error("another rotator has lost its time")
		}
		if err := w.store.Abandon(w.T.Context(), s); err != nil {
			w.T.Fatal(err)
		}
		if s := w.load(); s.Pending != nil || !s.Current.Promoted.IsZero() {
			w.T.Error("it is not due any more")
		}
	})
}

// It is found out before a key is made that cannot be published.
func TestASecretThatIsDeletedCostsNoKey(t *testing.T) {
	in(t, func(w *world) {
		w.vault.Put(name, byHand)
		w.vault.Delete(name, false)
		if _, err := w.Run(&rotationtest.Fault{}); err == nil || !strings.Contains(err.Error(), "is deleted") || w.Service.Made() != 0 {
			w.T.Errorf("%d keys made, %v", w.Service.Made(), err)
		}
	})
}

// A tag has at most 256 characters.
func TestAKeyWithALongNameIsPublishedWithoutIt(t *testing.T) {
	in(t, func(w *world) {
		v := rotation.Version{Token: "a", KeyID: strings.Repeat("x", 300), Secret: credential.NewSecret(byHand)}
		if err := w.store.Stage(w.T.Context(), w.load(), v); err != nil {
			w.T.Fatal(err)
		}
		if err := w.store.Promote(w.T.Context(), w.load(), w.Options.Now()); err != nil {
			w.T.Fatal(err)
		}
		if s := w.load(); s.Current.KeyID != v.KeyID || w.newest().Value != byHand {
			w.T.Error("it was not published")
		}
	})
}
