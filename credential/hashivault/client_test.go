package hashivault_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/latchkey-go/latchkey/credential/hashivault"
)

// A log is what a client of the user's writes.
type logged struct{ lines atomic.Int32 }

func (l *logged) Error(string, ...any) { l.lines.Add(1) }
func (l *logged) Info(string, ...any)  { l.lines.Add(1) }
func (l *logged) Debug(string, ...any) { l.lines.Add(1) }
func (l *logged) Warn(string, ...any)  { l.lines.Add(1) }

func TestAClientsLogIsNotWrittenToAndItsTimeoutMayBeNone(t *testing.T) {
	s := newStub(t)
	out := &logged{}
	cfg := api.DefaultConfig()
	cfg.Address, cfg.Logger = s.URL, out
	client, err := api.NewClient(cfg)
	if err != nil {
		t.Fatal("no client")
	}
	client.SetToken(firstToken)
	client.SetClientTimeout(0)
	wants(t, s.source(&hashivault.Options{Client: client}), firstKey)
	if n := out.lines.Load(); n > 0 {
		t.Errorf("%d lines were logged", n)
	}
}

func TestARequestEndsAtTheClientsTimeout(t *testing.T) {
	s := newStub(t)
	client := s.client()
	client.SetClientTimeout(20 * time.Millisecond)
	src := s.source(&hashivault.Options{Client: client})
	s.on("", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	refuses(t, src, true, "did not answer in time")
}
