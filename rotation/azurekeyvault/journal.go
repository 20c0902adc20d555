package azurekeyvault

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/latchkey-go/latchkey/internal/rotationdoc"
	"github.com/latchkey-go/latchkey/rotation"
)

const (
	// afterTag is the version that one of the journal follows, changeTag a name for the
	// change that made it.
	afterTag  = "LatchkeyAfter"
	changeTag = "LatchkeyChange"
	// beginning is what the first version of the journal follows.
	beginning = "none"
	// settle is how old a version has to be so that none can be created with the same
	// time: a second, and one for clocks that differ.
	settle = 2 * time.Second
	// mostRounds is how often the versions are listed until none has come meanwhile.
	mostRounds = 10
)

// A link is a version of the journal, without what is in it.
type link struct {
	id, after, change string
	created           time.Time
}

// before reports whether l counts, of two that follow the same version.
func (l link) before(other link) bool {
	return l.created.Before(other.created) || l.created.Equal(other.created) && l.id < other.id
}

// An entry is what a version of the journal holds. taken is the version of the secret
// of readers that somebody else has made and that was taken over last.
type entry struct {
	id, taken string
	state     rotation.State
}

// document is an entry as it is kept.
type document struct {
	Taken string `json:",omitempty"`
	State json.RawMessage
}

// revision names an entry, and what has been taken over by then.
func revision(id, taken string) string {
	if id == beginning && taken == "" {
		return ""
	}
	return id + "/" + taken
}

func parse(revision string) (id, taken string) {
	if revision == "" {
		return beginning, ""
	}
	id, taken, _ = strings.Cut(revision, "/")
	return id, taken
}

// read returns the newest entry that counts.
func (s *Store) read(ctx context.Context) (entry, error) {
	links, err := s.links(ctx)
	if err != nil || len(links) == 0 {
		return entry{id: beginning}, err
	}
	e := entry{id: links[len(links)-1].id}
	secret, err := s.get(ctx, s.journal, e.id)
	if err != nil {
		return entry{}, err
	}
	var d document
	if json.Unmarshal([]byte(*secret.Value), &d) != nil {
		return entry{}, fmt.Errorf("rotation/azurekeyvault: %s version %s is no state of a rotation; give the journal a secret of its own", s.journal, e.id)
	}
	e.taken = d.Taken
	if e.state, err = rotationdoc.Decode(d.State); err != nil {
		return entry{}, fmt.Errorf("rotation/azurekeyvault: %s version %s: %w", s.journal, e.id, err)
	}
	return e, nil
}

// save makes the entry that follows the one that state.Revision names.
func (s *Store) save(ctx context.Context, state rotation.State) error {
	after, taken := parse(state.Revision)
	text, err := rotationdoc.Encode(state)
	if err == nil {
		text, err = json.Marshal(document{Taken: taken, State: text})
	}
	if err != nil {
		return fmt.Errorf("rotation/azurekeyvault: %w", err)
	}
	change := rand.Text()
	_, setErr := s.set(ctx, s.journal, azsecrets.SetSecretParameters{
		Value: to.Ptr(string(text)), ContentType: to.Ptr("application/json"),
		Tags: map[string]*string{afterTag: &after, changeTag: &change},
	})
	// Whatever the answer, the versions tell.
	links, err := s.links(ctx)
	if err != nil {
		return errors.Join(setErr, err)
	}
	for _, l := range links {
		if l.change == change {
			return nil
		}
	}
	for _, l := range links {
		if l.after == after {
			return rotation.ErrConflict
		}
	}
	if setErr == nil {
		setErr = fmt.Errorf("rotation/azurekeyvault: %s does not list the version that it has just taken, or was deleted meanwhile", s.journal)
	}
	return setErr
}

// links returns the versions of the journal that count, oldest first, when no other
// one can come before them.
func (s *Store) links(ctx context.Context) ([]link, error) {
	known := -1
	for range mostRounds {
		all, now, err := s.list(ctx)
		if err != nil {
			return nil, err
		}
		newest := time.Time{}
		for _, l := range all {
			if l.created.After(newest) {
				newest = l.created
			}
		}
		if len(all) == 0 || len(all) == known || now.Sub(newest) >= settle {
			return chain(all), nil
		}
		known = len(all)
		timer := time.NewTimer(settle)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, fmt.Errorf("rotation/azurekeyvault: wait for the order of the versions of %s: %w", s.journal, context.Cause(ctx))
		}
	}
	return nil, rotation.ErrConflict
}

// chain returns those that count: the first of those that follow the last one that
// counts.
func chain(all []link) (counts []link) {
	first := map[string]link{}
	for _, l := range all {
		if other, ok := first[l.after]; !ok || l.before(other) {
			first[l.after] = l
		}
	}
	for at := beginning; ; {
		l, ok := first[at]
		if !ok {
			return counts
		}
		counts, at = append(counts, l), l.id
	}
}

// list returns all versions of the journal, in no order, and the time at the vault, zero
// if it does not tell. A version that is not ours is left out.
func (s *Store) list(ctx context.Context) (all []link, now time.Time, err error) {
	pager := s.sdk().NewListSecretPropertiesVersionsPager(s.journal, nil)
	for pager.More() {
		var resp *http.Response
		page, err := ask(ctx, s, listing, s.journal, func(ctx context.Context) (azsecrets.ListSecretPropertiesVersionsResponse, error) {
			return pager.NextPage(policy.WithCaptureResponse(ctx, &resp)) //nolint:wrapcheck // ask does
		})
		if errors.Is(err, errAbsent) {
			return nil, time.Time{}, s.gone(ctx, s.journal)
		}
		if err != nil {
			return nil, time.Time{}, err
		}
		now, _ = http.ParseTime(resp.Header.Get("Date"))
		for _, v := range page.Value {
			if v == nil || v.ID == nil || v.Attributes == nil || v.Attributes.Created == nil || v.Tags[afterTag] == nil || v.Tags[changeTag] == nil {
				continue
			}
			all = append(all, link{v.ID.Version(), *v.Tags[afterTag], *v.Tags[changeTag], *v.Attributes.Created})
		}
	}
	return all, now, nil
}
