package azurekeyvault

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/latchkey-go/latchkey/rotation"
)

const (
	// mostBody is the size in bytes of the largest request that is read. An event of a
	// secret has less than 2 KiB, and a subscription sends one at a time if it is not
	// told otherwise.
	mostBody = 256 << 10
	// mostWord is how long a code or a host may be that is sent back.
	mostWord = 253
)

// The types of events: https://learn.microsoft.com/azure/event-grid/event-schema-key-vault
const (
	validation = "Microsoft.EventGrid.SubscriptionValidationEvent"
	nearExpiry = "Microsoft.KeyVault.SecretNearExpiry"
	expired    = "Microsoft.KeyVault.SecretExpired"
)

// Events returns a handler for the events of Event Grid that a secret expires soon, or
// has expired. It calls run, which is to call [rotation.Rotator.Run], if an event is
// about the newest version of the secret of readers; what is late, comes again or is
// about something else is ignored. So an event that somebody has forged does no more
// than start a run, which does what is due.
//
// It takes events in the schemas of Event Grid and of CloudEvents 1.0, alone or in an
// array, and answers the validation of a subscription in both
// (https://learn.microsoft.com/azure/event-grid/end-point-validation-event-grid-events-schema).
// It does not authenticate the sender: that is for what stands before it, such as the
// key of a function.
//
// The answer is 200 when run has returned nil or [rotation.ErrConflict], and 500 for
// another error; then Event Grid delivers the event again. While run is under way,
// further events get 503. Event Grid waits 30 seconds for an answer and then repeats
// the event, which does no harm.
func (s *Store) Events(run func(context.Context) error) http.Handler {
	return &events{store: s, run: run, busy: make(chan struct{}, 1)}
}

type events struct {
	store *Store
	run   func(context.Context) error
	busy  chan struct{}
}

// An event is one of either schema.
type event struct {
	EventType   string `json:"eventType"`
	Type        string `json:"type"`
	SpecVersion string `json:"specversion"`
	Data        struct {
		ValidationCode string `json:"validationCode"`
		VaultName      string `json:"VaultName"`
		ObjectType     string `json:"ObjectType"`
		ObjectName     string `json:"ObjectName"`
		Version        string `json:"Version"`
	} `json:"data"`
}

func (e *event) kind() string {
	if e.SpecVersion == "1.0" {
		return e.Type
	}
	return e.EventType
}

// ServeHTTP answers one request.
func (h *events) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodOptions:
		allow(w, r)
	case http.MethodPost:
		h.post(w, r)
	default:
		w.Header().Set("Allow", "POST, OPTIONS")
		http.Error(w, "events come by POST", http.StatusMethodNotAllowed)
	}
}

// allow answers the handshake of CloudEvents webhooks:
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/http-webhook.md#4-abuse-protection
func allow(w http.ResponseWriter, r *http.Request) {
	origin := r.Header.Get("Webhook-Request-Origin")
	if !word(origin) {
		http.Error(w, "WebHook-Request-Origin has to be a host", http.StatusBadRequest)
		return
	}
	w.Header().Set("Webhook-Allowed-Origin", origin)
	w.Header().Set("Allow", "POST")
	if r.Header.Get("Webhook-Request-Rate") != "" {
		w.Header().Set("Webhook-Allowed-Rate", "60")
	}
	w.WriteHeader(http.StatusOK)
}

// word reports whether text can be sent back: it has nothing that HTML, JSON or a
// header knows.
func word(text string) bool {
	return text != "" && len(text) <= mostWord &&
		strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") == ""
}

func (h *events) post(w http.ResponseWriter, r *http.Request) {
	all, status := decode(w, r)
	if status != http.StatusOK {
		http.Error(w, "no events of Event Grid", status)
		return
	}
	due := false
	for _, e := range all {
		switch e.kind() {
		case validation:
			if !word(e.Data.ValidationCode) {
				http.Error(w, "no validation code", http.StatusBadRequest)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]string{"validationResponse": e.Data.ValidationCode}) // the sender may have left
			return
		case nearExpiry, expired:
			current, err := h.store.isNewest(r.Context(), e)
			if err != nil {
				http.Error(w, "the vault cannot be read", http.StatusInternalServerError)
				return
			}
			due = due || current
		}
	}
	if due {
		h.start(w, r)
	}
}

// decode reads the events, and returns the status if there are none.
func decode(w http.ResponseWriter, r *http.Request) ([]event, int) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostBody))
	if err != nil {
		return nil, http.StatusRequestEntityTooLarge
	}
	var all []event
	if text := strings.TrimSpace(string(body)); strings.HasPrefix(text, "[") {
		err = json.Unmarshal(body, &all)
	} else {
		all = make([]event, 1)
		err = json.Unmarshal(body, &all[0])
	}
	if err != nil || len(all) == 0 {
		return nil, http.StatusBadRequest
	}
	for _, e := range all {
		if e.kind() == "" {
			return nil, http.StatusBadRequest
		}
	}
	return all, http.StatusOK
}

// isNewest reports whether the event is about the version that readers have now.
func (s *Store) isNewest(ctx context.Context, e event) (bool, error) {
	vault, _, _ := strings.Cut(s.host, ".")
	if e.Data.ObjectType != "Secret" || !strings.EqualFold(e.Data.ObjectName, s.name) || !strings.EqualFold(e.Data.VaultName, vault) || e.Data.Version == "" {
		return false, nil
	}
	seen, err := s.published(ctx)
	return seen != nil && strings.EqualFold(seen.id, e.Data.Version), err
}

func (h *events) start(w http.ResponseWriter, r *http.Request) {
	select {
	case h.busy <- struct{}{}:
		defer func() { <-h.busy }()
	default:
		w.Header().Set("Retry-After", "30")
		http.Error(w, "a run is under way", http.StatusServiceUnavailable)
		return
	}
	if h.run == nil {
		http.Error(w, "there is no rotator", http.StatusInternalServerError)
		return
	}
	if err := h.run(r.Context()); err != nil && !errors.Is(err, rotation.ErrConflict) {
		http.Error(w, "the rotation has failed", http.StatusInternalServerError)
	}
}
