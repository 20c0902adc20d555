package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

func TestTheAccountSaysWhatTheServiceSaw(t *testing.T) {
	service := clienttest.NewServer("sk-CANARY-1")
	t.Cleanup(service.Close)
	key := "1"
	var out strings.Builder
	a := newAccount(&out)
	c, err := client.New(client.Config{
		BaseURL: service.URL,
		Source: credential.SourceFunc(func(context.Context) (credential.Value, error) {
			return credential.Value{Secret: credential.NewSecret("sk-CANARY-" + key), Source: "test", Version: "key " + key}, nil
		}),
		Retry:   &middleware.RetryOptions{BaseDelay: time.Millisecond},
		Observe: a.sent,
	})
	if err != nil {
		t.Fatal(err)
	}
	oai := openai.NewClient(c.Options()...)
	call := func(kind func(context.Context, openai.Client) error) {
		t.Helper()
		err := kind(t.Context(), oai)
		a.called(time.Second, err)
		if err != nil {
			t.Error(err)
		}
	}
	call(chat)
	call(stream)
	key = "2"
	service.Rotate("sk-CANARY-2")
	call(stream)
	service.Inject(clienttest.Fault{Status: 503})
	call(embeddings)
	if err := a.verdict(); err != nil {
		t.Error(err)
	}
	if a.calls != 4 || a.sends != 6 || a.replays != 1 || a.retries != 1 || a.failed != 0 {
		t.Errorf("%d calls, %d sends, %d replays, %d retries, %d failed", a.calls, a.sends, a.replays, a.retries, a.failed)
	}
	if stats := service.Stats(); stats.Requests != int64(a.sends) || stats.Unauthorized != int64(a.replays) {
		t.Errorf("the service counts %+v", stats)
	}
	if len(a.keys) != 2 || *a.keys[0] != (usage{"key 1", 2, 1}) || *a.keys[1] != (usage{"key 2", 2, 0}) {
		t.Errorf("the keys served %+v and %+v", *a.keys[0], *a.keys[len(a.keys)-1])
	}
	a.table()
	if text := out.String(); !strings.Contains(text, "key 2") || strings.Contains(text, "CANARY") {
		t.Error("the table does not name the versions, or it shows a secret")
	}
}

func TestTheVerdictPassesOnlyIfEveryCallSucceededAndWasObserved(t *testing.T) {
	first, retry := &middleware.Send{Number: 1, Status: 200}, &middleware.Send{Number: 2, Reason: "retry 503", Status: 200}
	for name, c := range map[string]struct {
		sends []*middleware.Send
		calls []error
		says  string
	}{
		"all succeeded":            {[]*middleware.Send{first, retry}, []error{nil}, ""},
		"none was made":            {nil, nil, "no call was made"},
		"one failed":               {[]*middleware.Send{first, first}, []error{nil, errors.New("a fault")}, "1 of 2 calls failed, the first: a fault"},
		"one is not in the record": {[]*middleware.Send{first}, []error{nil, nil}, "2 calls returned"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAccount(&strings.Builder{})
			for _, s := range c.sends {
				a.sent(t.Context(), s)
			}
			for _, err := range c.calls {
				a.called(time.Second, err)
			}
			got := ""
			if err := a.verdict(); err != nil {
				got = err.Error()
			}
			if !strings.HasPrefix(got, c.says) || c.says == "" && got != "" {
				t.Errorf("got %q, want %q", got, c.says)
			}
		})
	}
}
