package azurekeyvault_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/latchkey-go/latchkey/rotation"
)

// gridEvent is an event in the schema of Event Grid, cloudEvent one of CloudEvents.
func gridEvent(kind, vault, object, version string) string {
	return fmt.Sprintf(`{"id":"00000000-0000-4000-8000-000000000001","topic":"/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/%[2]s",`+
		`"subject":%[3]q,"eventType":%[1]q,"data":%[4]s,"dataVersion":"1","metadataVersion":"1","eventTime":"2026-11-26T12:00:00.0000000Z"}`, kind, vault, object, data(vault, object, version))
}

func cloudEvent(kind, vault, object, version string) string {
	return fmt.Sprintf(`{"id":"00000000-0000-4000-8000-000000000001","source":"/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/%[2]s",`+
		`"subject":%[3]q,"type":%[1]q,"data":%[4]s,"time":"2026-11-26T12:00:00.0000000Z","specversion":"1.0"}`, kind, vault, object, data(vault, object, version))
}

func data(vault, object, version string) string {
	return fmt.Sprintf(`{"Id":"https://%[1]s.vault.azure.net/secrets/%[2]s/%[3]s","VaultName":%[1]q,"ObjectType":"Secret","ObjectName":%[2]q,"Version":%[3]q,"NBF":null,"EXP":1798761600}`, vault, object, version)
}

const expiry = "Microsoft.KeyVault.SecretNearExpiry"

func send(h http.Handler, method, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/api/events", strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// An event starts a run if it is about the version that readers have. What is late,
// comes twice or is about something else does not, and is not delivered again.
func TestAnEventStartsARunOnlyForTheCurrentVersion(t *testing.T) {
	in(t, func(w *world) {
		old := w.vault.Put(name, byHand)
		w.MustRun()
		current := w.newest().ID
		runs := 0
		h := w.store.Events(func(context.Context) error { runs++; return nil })
		for label, tc := range map[string]struct {
			body string
			runs int
		}{
			"Event Grid's schema":   {"[" + gridEvent(expiry, "myvault", name, current) + "]", 1},
			"CloudEvents":           {cloudEvent(expiry, "myvault", name, current), 1},
			"a batch":               {"[" + cloudEvent(expiry, "myvault", name, old) + "," + cloudEvent(expiry, "MyVault", name, current) + "," + cloudEvent(expiry, "myvault", name, current) + "]", 1},
			"expired":               {cloudEvent("Microsoft.KeyVault.SecretExpired", "myvault", name, current), 1},
			"an older version":      {"[" + gridEvent(expiry, "myvault", name, old) + "]", 0},
			"no version":            {"[" + gridEvent(expiry, "myvault", name, "") + "]", 0},
			"another secret":        {"[" + gridEvent(expiry, "myvault", journal, current) + "]", 0},
			"another vault":         {"[" + gridEvent(expiry, "evil", name, current) + "]", 0},
			"a key":                 {strings.Replace(cloudEvent(expiry, "myvault", name, current), `"Secret"`, `"Key"`, 1), 0},
			"another type":          {cloudEvent("Microsoft.KeyVault.SecretNewVersionCreated", "myvault", name, current), 0},
			"another specification": {strings.Replace(cloudEvent(expiry, "myvault", name, current), `"1.0"`, `"9.9"`, 1), 0},
		} {
			runs = 0
			answer := send(h, http.MethodPost, tc.body)
			if want := label != "another specification"; (answer.Code == http.StatusOK) != want || runs != tc.runs {
				w.T.Errorf("%s: status %d, %d runs", label, answer.Code, runs)
			}
		}
	})
}

// A forged event, with the version guessed right, does nothing that is not due.
func TestAForgedEventRotatesNothing(t *testing.T) {
	in(t, func(w *world) {
		w.MustRun()
		r, err := rotation.New(w.Service, w.store, &w.Options)
		if err != nil {
			w.T.Fatal(err)
		}
		h := w.store.Events(func(ctx context.Context) error { _, err := r.Run(ctx); return err })
		for range 3 {
			if answer := send(h, http.MethodPost, cloudEvent(expiry, "myvault", name, w.newest().ID)); answer.Code != http.StatusOK {
				w.T.Fatal(answer.Code)
			}
		}
		if made := w.Service.Made(); made != 1 {
			w.T.Errorf("%d keys made", made)
		}
		w.Service.Pass(30 * day) // now it is
		version := w.newest().ID
		for range 3 { // it comes again
			_ = send(h, http.MethodPost, cloudEvent(expiry, "myvault", name, version))
		}
		if made := w.Service.Made(); made != 2 {
			w.T.Errorf("%d keys made", made)
		}
	})
}

func TestASubscriptionIsValidatedInBothSchemas(t *testing.T) {
	in(t, func(w *world) {
		h := w.store.Events(func(context.Context) error { w.T.Error("a run"); return nil })
		validation := `[{"id":"1","topic":"t","subject":"","data":{"validationCode":%q,"validationUrl":"https://rp-westeurope.eventgrid.azure.net/eventsubscriptions/x/validate?id=1"},` +
			`"eventType":"Microsoft.EventGrid.SubscriptionValidationEvent","eventTime":"2026-11-26T12:00:00Z","metadataVersion":"1","dataVersion":"2"}]`
		answer := send(h, http.MethodPost, fmt.Sprintf(validation, "512D38B6-C7B8-40C8-89FE-F46F9E9622B6"), "Aeg-Event-Type", "SubscriptionValidation")
		if answer.Code != 200 || strings.TrimSpace(answer.Body.String()) != `{"validationResponse":"512D38B6-C7B8-40C8-89FE-F46F9E9622B6"}` {
			w.T.Errorf("%d: %s", answer.Code, answer.Body)
		}
		for _, code := range []string{"", "<script>", strings.Repeat("x", 300)} {
			if answer := send(h, http.MethodPost, fmt.Sprintf(validation, code)); answer.Code != 400 || strings.Contains(answer.Body.String(), "script") {
				w.T.Errorf("%d: %s", answer.Code, answer.Body)
			}
		}
		answer = send(h, http.MethodOptions, "", "WebHook-Request-Origin", "eventgrid.azure.net", "WebHook-Request-Rate", "1000")
		if answer.Code != 200 || answer.Header().Get("WebHook-Allowed-Origin") != "eventgrid.azure.net" || answer.Header().Get("WebHook-Allowed-Rate") == "" || answer.Header().Get("Allow") != "POST" {
			w.T.Errorf("%d: %v", answer.Code, answer.Header())
		}
		for _, origin := range []string{"", "a b", "*"} {
			if answer := send(h, http.MethodOptions, "", "WebHook-Request-Origin", origin); answer.Code != 400 || answer.Header().Get("WebHook-Allowed-Origin") != "" {
				w.T.Errorf("origin %q: %d", origin, answer.Code)
			}
		}
	})
}

func TestWhatIsNoEventIsRefused(t *testing.T) {
	in(t, func(w *world) {
		h := w.store.Events(func(context.Context) error { w.T.Error("a run"); return nil })
		for label, tc := range map[string]struct {
			method, body string
			want         int
		}{
			"no JSON":   {http.MethodPost, "CANARY", 400},
			"nothing":   {http.MethodPost, "", 400},
			"no events": {http.MethodPost, "[]", 400},
			"no type":   {http.MethodPost, "{}", 400},
			"a number":  {http.MethodPost, `[{"eventType":7}]`, 400},
			"too large": {http.MethodPost, "[" + strings.Repeat(" ", 300<<10) + "]", 413},
			"a read":    {http.MethodGet, "", 405},
		} {
			if answer := send(h, tc.method, tc.body); answer.Code != tc.want || strings.Contains(answer.Body.String(), "CANARY") {
				w.T.Errorf("%s: status %d, want %d", label, answer.Code, tc.want)
			}
		}
	})
}

// Event Grid delivers an event again after an error, and not while a run is under way.
func TestAnEventThatDidNotHelpComesAgain(t *testing.T) {
	in(t, func(w *world) {
		w.MustRun()
		body := cloudEvent(expiry, "myvault", name, w.newest().ID)
		for err, want := range map[error]int{nil: 200, rotation.ErrConflict: 200, errors.New("CANARY"): 500} {
			answer := send(w.store.Events(func(context.Context) error { return err }), http.MethodPost, body)
			if answer.Code != want || strings.Contains(answer.Body.String(), "CANARY") {
				w.T.Errorf("%d, want %d", answer.Code, want)
			}
		}
		if answer := send(w.store.Events(nil), http.MethodPost, body); answer.Code != 500 {
			w.T.Errorf("without a rotator: %d", answer.Code)
		}
		under := make(chan struct{})
		h := w.store.Events(func(context.Context) error { <-under; return nil })
		first := make(chan int, 1)
		go func() { first <- send(h, http.MethodPost, body).Code }()
		synctest.Wait()
		if answer := send(h, http.MethodPost, body); answer.Code != 503 || answer.Header().Get("Retry-After") == "" {
			w.T.Errorf("while a run is under way: %d", answer.Code)
		}
		close(under)
		if code := <-first; code != 200 {
			w.T.Errorf("%d", code)
		}
		w.vault.Deny(http.MethodGet)
		if answer := send(h, http.MethodPost, body); answer.Code != 500 {
			w.T.Errorf("the vault cannot be read: %d", answer.Code)
		}
	})
}
