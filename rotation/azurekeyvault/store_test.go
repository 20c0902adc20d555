package azurekeyvault_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/internal/testing/azuretest"
	"github.com/latchkey-go/latchkey/internal/testing/rotationtest"
	"github.com/latchkey-go/latchkey/rotation"
	"github.com/latchkey-go/latchkey/rotation/azurekeyvault"
)

const day = rotationtest.Day

// in runs f in a bubble with a world.
func in(t *testing.T, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(newWorld(t)) })
}

func (w *world) load() rotation.State {
	w.T.Helper()
	s, err := w.store.Load(w.T.Context())
	if err != nil {
		w.T.Fatal(err)
	}
	return s
}

// newest is the newest version of the secret of readers.
func (w *world) newest() azuretest.VaultVersion {
	w.T.Helper()
	all := w.vault.Versions(name)
	if len(all) == 0 {
		w.T.Fatal("there is no secret")
	}
	return all[len(all)-1]
}

func TestReadersGetThePlainKeyWithItsTagsAndItsEnd(t *testing.T) {
	in(t, func(w *world) {
		const account = "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/a"
		for _, days := range []int{0, 20, 400} {
			w.Store = open(w.T, w.transport, func(o *azurekeyvault.Options) { o.ProviderAddress, o.ValidityPeriodDays = account, days })
			w.Under = nil
			w.Service.Pass(31 * day)
			w.MustRun()
			v, state := w.newest(), w.load()
			want := map[string]string{"CredentialId": state.Current.KeyID, "ProviderAddress": account, "LatchkeyToken": state.Current.Token}
			end := state.Current.Expires.Truncate(time.Second)
			if days > 0 {
				want["ValidityPeriodDays"] = fmt.Sprint(days)
			}
			if days == 20 {
				end = state.Current.Promoted.Add(20 * day).Truncate(time.Second)
			}
			if fmt.Sprint(v.Tags) != fmt.Sprint(want) || !v.Expires.Equal(end) || !v.Enabled || end.IsZero() {
				w.T.Errorf("%d days: %v, %v; want %v, %v", days, v.Tags, v.Expires, want, end)
			}
			if w.Readers("") != v.Value || v.Value != state.Current.Secret.Reveal() {
				w.T.Error("the secret of readers is not the current key")
			}
		}
		for _, secret := range []string{name, journal} {
			for _, v := range w.vault.Versions(secret) {
				if strings.Contains(fmt.Sprint(v.Tags), "CANARY") {
					w.T.Errorf("a tag of %s holds a key", secret)
				}
			}
		}
	})
}

// At no step do readers have a key that is not proved.
func TestReadersNeverGetAPendingKey(t *testing.T) {
	in(t, func(w *world) {
		w.MustRun()
		key := w.Readers("")
		w.Service.Pass(30 * day)
		w.Service.Lag(time.Minute, 0)
		if _, err := w.Run(&rotationtest.Fault{}); !errors.Is(err, rotation.ErrNotAccepted) {
			w.T.Fatal(err)
		}
		if s := w.load(); s.Pending == nil || s.Pending.Secret.IsZero() || w.Readers("") != key || len(w.vault.Versions(name)) != 1 {
			w.T.Error("the pending key is not pending")
		}
	})
}

// Two changes of one state, in the same second: whichever identifiers the vault gives.
func TestOfTwoChangesOfOneStateOneIsMade(t *testing.T) {
	in(t, func(w *world) {
		from := w.load()
		for round := range 20 {
			var wg sync.WaitGroup
			errs := make([]error, 2)
			for i := range errs {
				wg.Go(func() {
					time.Sleep(time.Duration(i) * 100 * time.Millisecond)
					errs[i] = w.store.Stage(w.T.Context(), from, rotation.Version{Token: fmt.Sprint(round, i)})
				})
			}
			loaded := rotation.State{}
			wg.Go(func() {
				time.Sleep(50 * time.Millisecond)
				loaded = w.load()
			})
			wg.Wait()
			from = w.load()
			winner := 0
			if errs[0] != nil {
				winner = 1
			}
			if errs[winner] != nil || !errors.Is(errs[1-winner], rotation.ErrConflict) || from.Pending.Token != fmt.Sprint(round, winner) {
				w.T.Fatalf("round %d: %v; pending %s", round, errs, from.Pending.Token)
			}
			if loaded.Revision != from.Revision {
				w.T.Fatalf("round %d: a Load before the order was known has told one", round)
			}
		}
	})
}

// A change of a state that has gone by is not made, however late its request comes.
func TestALateChangeIsNotMade(t *testing.T) {
	in(t, func(w *world) {
		from := w.load()
		for _, token := range []string{"a", "b", "c"} {
			if err := w.store.Stage(w.T.Context(), w.load(), rotation.Version{Token: token}); err != nil {
				w.T.Fatal(err)
			}
		}
		time.Sleep(time.Hour)
		if err := w.store.Stage(w.T.Context(), from, rotation.Version{Token: "late"}); !errors.Is(err, rotation.ErrConflict) {
			w.T.Errorf("%v, want ErrConflict", err)
		}
		if s := w.load(); s.Pending.Token != "c" {
			w.T.Errorf("pending %s", s.Pending.Token)
		}
	})
}

// lossy loses one request that writes, or its answer.
type lossy struct {
	to   http.RoundTripper
	lost *int
	// answer tells that the request is carried out.
	answer bool
}

func (l lossy) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodPut || r.Header.Get("Authorization") == "" || *l.lost == 0 {
		return l.to.RoundTrip(r)
	}
	*l.lost--
	if l.answer {
		resp, err := l.to.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		_ = resp.Body.Close()
	}
	return nil, rotationtest.ErrLost
}

func TestALostAnswerIsFoundOutByReading(t *testing.T) {
	for _, answer := range []bool{false, true} {
		in(t, func(w *world) {
			lost := 1
			store := open(w.T, lossy{w.transport, &lost, answer}, nil)
			err := store.Stage(w.T.Context(), w.load(), rotation.Version{Token: "a"})
			if made := w.load().Pending != nil; made != answer || (err == nil) != answer || errors.Is(err, rotation.ErrConflict) {
				w.T.Errorf("answer lost %t: made %t, %v", answer, made, err)
			}
		})
	}
}

// The SDK repeats a request whose answer got lost: the vault then has two versions.
func TestARepeatedRequestHasItsEffectOnce(t *testing.T) {
	in(t, func(w *world) {
		lost := 2
		store := open(w.T, lossy{w.transport, &lost, true}, func(o *azurekeyvault.Options) { o.ClientOptions.Retry.MaxRetries = 3 })
		for _, token := range []string{"a", "b"} {
			if err := store.Stage(w.T.Context(), w.load(), rotation.Version{Token: token}); err != nil {
				w.T.Fatal(err)
			}
			if s := w.load(); s.Pending.Token != token {
				w.T.Errorf("pending %s, want %s", s.Pending.Token, token)
			}
		}
		if n := len(w.vault.Versions(journal)); n != 4 {
			w.T.Errorf("%d versions: nothing was repeated", n)
		}
	})
}

func TestTheJournalMayHaveMoreVersionsThanAnAnswerLists(t *testing.T) {
	in(t, func(w *world) {
		for n := range 60 {
			if err := w.store.Stage(w.T.Context(), w.load(), rotation.Version{Token: fmt.Sprint(n)}); err != nil {
				w.T.Fatal(err)
			}
		}
		if s := w.load(); s.Pending.Token != "59" {
			w.T.Errorf("pending %s", s.Pending.Token)
		}
	})
}

func TestAVersionOfSomebodyElseInTheJournalDoesNotCount(t *testing.T) {
	in(t, func(w *world) {
		w.MustRun()
		before := w.load()
		w.vault.Put(journal, "CANARY by hand")
		if after := w.load(); after.Revision != before.Revision || after.Current.Token != before.Current.Token {
			w.T.Error("it does")
		}
	})
}

func TestNothingIsPromotedWithoutAKey(t *testing.T) {
	in(t, func(w *world) {
		if err := w.store.Stage(w.T.Context(), w.load(), rotation.Version{Token: "a"}); err != nil {
			w.T.Fatal(err)
		}
		if err := w.store.Promote(w.T.Context(), w.load(), time.Now()); err == nil || len(w.vault.Versions(name)) != 0 {
			w.T.Errorf("%v", err)
		}
		if err := w.store.Abandon(w.T.Context(), w.load()); err != nil || w.load().Pending != nil {
			w.T.Errorf("%v", err)
		}
	})
}

func TestPrintingAStoreShowsNothing(t *testing.T) {
	in(t, func(w *world) {
		w.MustRun()
		if text := fmt.Sprintf("%v %+v %#v", w.store, w.store, w.store); strings.Contains(text, "CANARY") {
			w.T.Error("it shows a secret")
		}
		state := w.load()
		if text := fmt.Sprintf("%+v", state.Current); strings.Contains(text, "CANARY") {
			w.T.Error("a version shows its key")
		}
	})
}

// dateless is a proxy that drops the time of the vault.
type dateless struct{ to http.RoundTripper }

func (d dateless) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := d.to.RoundTrip(r)
	if err == nil {
		resp.Header.Del("Date")
	}
	return resp, err
}

func TestTheOrderIsKnownWithoutTheTimeOfTheVault(t *testing.T) {
	in(t, func(w *world) {
		w.Store, w.Under = open(w.T, dateless{w.transport}, nil), nil
		w.MustRun()
		w.Readers("")
	})
}
