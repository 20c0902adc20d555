package awssecretsmanager

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/rotation"
)

const (
	stageCurrent  = "AWSCURRENT"
	stagePending  = "AWSPENDING"
	stagePrevious = "AWSPREVIOUS"
	// ours begins the labels that say what a version is.
	ours = "latchkey:"
	// found begins the token of a version that is not of a rotation, or that Secrets
	// Manager has prepared.
	found = "found/"
	// longestLabel is what Secrets Manager takes.
	longestLabel = 256
	// note is the text of a version without a key. Readers take no JSON document for a
	// key, and there is no field of theirs in this one.
	note = `{"latchkey":"no key yet"}`
	// leftover is how old a version has to be that no label of Secrets Manager is on, so
	// that it is not one that another run is about to stage.
	leftover = time.Hour
)

// A view is which labels are on which versions.
type view struct {
	stages   map[string][]string
	meta     map[string]*rotation.Version // what our labels say, without the keys
	promoted map[string]time.Time
	notes    map[string]bool
}

func newView(stages map[string][]string) *view {
	v := &view{stages: stages, meta: map[string]*rotation.Version{}, promoted: map[string]time.Time{}, notes: map[string]bool{}}
	for id, labels := range stages {
		for _, label := range labels {
			text, ok := strings.CutPrefix(label, ours)
			if !ok {
				continue
			}
			values, err := url.ParseQuery(text)
			if err != nil {
				continue
			}
			if at := when(values.Get("promoted")); at.After(v.promoted[id]) {
				v.promoted[id] = at
			}
			v.notes[id] = v.notes[id] || values.Has("note")
			if values.Has("token") {
				v.meta[id] = &rotation.Version{
					Token: values.Get("token"), KeyID: values.Get("key"), Urgent: values.Has("urgent"),
					Prepared: when(values.Get("prepared")), Issued: when(values.Get("issued")), Expires: when(values.Get("expires")),
				}
			}
		}
	}
	return v
}

func when(seconds string) time.Time {
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(n, 0).UTC()
}

// at returns the version that the label is on; empty for none.
func (v *view) at(label string) string {
	for id, labels := range v.stages {
		if slices.Contains(labels, label) {
			return id
		}
	}
	return ""
}

// isNote reports whether the version is one that we have prepared and that has no key.
func (v *view) isNote(id string) bool { return v.notes[id] }

// current is where AWSCURRENT is. Secrets Manager puts that on the first version of
// any secret: a note there is no current version.
func (v *view) current() string {
	if id := v.at(stageCurrent); !v.isNote(id) {
		return id
	}
	return ""
}

// pending is where AWSPENDING is, unless a rotation has left it behind.
func (v *view) pending() string {
	if id := v.at(stagePending); id != v.current() && id != v.at(stagePrevious) {
		return id
	}
	return ""
}

// previous is where AWSPREVIOUS is. A version that no rotation has replaced is left to
// those who have made it.
func (v *view) previous() string {
	if id := v.at(stagePrevious); v.meta[id] != nil && !v.isNote(id) {
		return id
	}
	return ""
}

func (v *view) revision() string {
	pending := v.pending()
	return fmt.Sprintf("%s/%s/%s/%t", v.at(stageCurrent), pending, v.previous(), v.meta[pending] != nil)
}

// state is what the labels say.
func (v *view) state() rotation.State {
	return rotation.State{Revision: v.revision(), Current: v.version(v.current(), true), Pending: v.version(v.pending(), false), Previous: v.version(v.previous(), true)}
}

func (v *view) version(id string, promoted bool) *rotation.Version {
	if id == "" {
		return nil
	}
	out := rotation.Version{Token: found + id}
	if m := v.meta[id]; m != nil {
		out = *m
		if promoted {
			out.Promoted = v.promoted[id]
		}
	}
	return &out
}

// labelOf is what there is to know of a version.
func labelOf(p rotation.Version) (string, error) {
	values := url.Values{"token": {p.Token}}
	if p.KeyID != "" {
		values.Set("key", p.KeyID)
	} else if p.Secret.IsZero() {
		values.Set("note", "1")
	}
	if p.Urgent {
		values.Set("urgent", "1")
	}
	for name, at := range map[string]time.Time{"prepared": p.Prepared, "issued": p.Issued, "expires": p.Expires} {
		if !at.IsZero() {
			values.Set(name, strconv.FormatInt(at.Unix(), 10))
		}
	}
	text := ours + values.Encode()
	switch {
	case p.Token == "":
		return "", errors.New("rotation/awssecretsmanager: a version without a Token")
	case p.Secret.IsZero() && p.KeyID != "":
		return "", errors.New("rotation/awssecretsmanager: the id of a key without the key")
	case len(text) > longestLabel:
		return "", fmt.Errorf("rotation/awssecretsmanager: the names of version and key are too long by %d bytes for a label: use a shorter rotation.Options.Name", len(text)-longestLabel)
	}
	return text, nil
}

func promotedLabel(id string, now time.Time) string {
	return ours + url.Values{"promoted": {strconv.FormatInt(now.Unix(), 10)}, "version": {id}}.Encode()
}

// versionID is the name of a version, in the form of a UUID: ClientRequestToken takes
// 32 to 64 characters.
func versionID(token, keyID string) string {
	sum := sha256.Sum256([]byte(token + "\x00" + keyID))
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}
