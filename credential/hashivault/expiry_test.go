package hashivault_test

import (
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/credential/hashivault"
)

func TestTheCustomMetadataSaysWhenTheKeyEnds(t *testing.T) {
	const tag = "key-expires"
	s := newStub(t)
	s.fields = map[string]any{"key": firstKey, "next": "sk-CANARY-2"}
	end := time.Now().Add(48 * time.Hour).UTC().Truncate(time.Second)
	type options = hashivault.Options
	for name, c := range map[string]struct {
		custom any
		opts   options
		want   time.Time
		says   string
	}{
		"a time":                {map[string]any{tag: end.Format(time.RFC3339), "owner": "CANARY"}, options{ExpiryTag: tag}, end, ""},
		"a day":                 {map[string]any{tag: "2999-01-31"}, options{ExpiryTag: tag}, time.Date(2999, 1, 31, 0, 0, 0, 0, time.UTC), ""},
		"a time that is past":   {map[string]any{tag: "2020-01-31"}, options{ExpiryTag: tag}, time.Time{}, ""},
		"a pinned version":      {map[string]any{tag: "2999-01-31"}, options{ExpiryTag: tag, Version: "7"}, time.Time{}, ""},
		"it is not asked for":   {map[string]any{tag: "CANARY"}, options{}, time.Time{}, ""},
		"other metadata":        {map[string]any{"owner": "CANARY"}, options{ExpiryTag: tag}, time.Time{}, ""},
		"no metadata":           {nil, options{ExpiryTag: tag}, time.Time{}, ""},
		"metadata of no object": {[]string{"CANARY"}, options{ExpiryTag: tag}, time.Time{}, ""},
		"no time":               {map[string]any{tag: "CANARY"}, options{ExpiryTag: tag}, time.Time{}, `the custom metadata "key-expires" does not say`},
	} {
		t.Run(name, func(t *testing.T) {
			s.do(func() { s.custom = c.custom })
			c.opts.Field, c.opts.StandbyField = "key", "next"
			src := s.source(&c.opts)
			v, err := src.Retrieve(t.Context())
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "CANARY") {
					t.Error("the error is missing, shows the metadata, or does not say which is wrong")
				}
				return
			}
			if err != nil || !v.Expires.Equal(c.want) || v.Fixed != (c.opts.Version != "") {
				t.Errorf("expires %v, Fixed %t, %v; want %v", v.Expires, v.Fixed, err, c.want)
			}
			if v, err := src.Standby().Retrieve(t.Context()); err != nil || !v.Expires.IsZero() {
				t.Errorf("the key of StandbyField expires at %v, %v", v.Expires, err)
			}
		})
	}
	if _, err := hashivault.New("secret/openai", &options{ExpiryTag: tag, KVVersion: 1}); err == nil {
		t.Error("an ExpiryTag for KV version 1 was accepted")
	}
	s.do(func() { s.kv = 1 })
	if _, err := s.source(&options{ExpiryTag: tag, Field: "key"}).Retrieve(t.Context()); err == nil || !strings.Contains(err.Error(), "not KV version 2") {
		t.Errorf("an engine of version 1: %v", err)
	}
}
