package redislimit_test

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/latchkey-go/latchkey/middleware/limit"
	"github.com/latchkey-go/latchkey/middleware/redislimit"
)

func TestTwoPrefixesCountApart(t *testing.T) {
	s := start(t)
	a, _ := s.counter(redislimit.Options{Prefix: "a"})
	b, _ := s.counter(redislimit.Options{Prefix: "b"})
	reserve(t, a, day("x", 1, 1))
	reserve(t, b, day("x", 1, 1))
	refused(t, a, 0, day("x", 1, 1))
}

func TestNonsenseIsAnErrorOfNew(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer client.Close()
	for name, opts := range map[string]redislimit.Options{
		"braces":  {Prefix: "a{b"},
		"long":    {Prefix: strings.Repeat("x", 200)},
		"timeout": {Timeout: -1},
	} {
		if _, err := redislimit.New(client, &opts); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	var none *redis.Client
	if _, err := redislimit.New(none, nil); err == nil {
		t.Error("no error for a nil *redis.Client")
	}
	if _, err := redislimit.New(nil, nil); err == nil {
		t.Error("no error for nil")
	}
	if _, err := redislimit.New(client, nil); err != nil {
		t.Error(err)
	}
}

func TestAllKeysAreInOneSlotOfACluster(t *testing.T) {
	s := start(t, "--port", "0", "--cluster-enabled", "yes")
	single := s.client(s.socket)
	if err := single.Do(t.Context(), "cluster", "addslotsrange", 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool {
		return strings.Contains(single.ClusterInfo(t.Context()).Val(), "cluster_state:ok")
	})
	c := newCounter(t, single, redislimit.Options{})
	got := reserve(t, c, minute("a", 10, 5), day("b{c}", 10, 5), minute(strings.Repeat("x", 1000), 10, 5))
	c.Settle([]limit.Charge{settle(got[0], -1), settle(got[1], -1)})
	reserve(t, c, minute("a", 10, 6), day("b{c}", 10, 6))
}

// The package documentation says what the user needs.
func TestTheUserNeedsNoMoreThanDocumented(t *testing.T) {
	s := start(t)
	source, err := os.ReadFile("redislimit.go")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(source), "needs the commands")
	text, _, _ = strings.Cut(text, ", for the keys")
	rules := []any{"acl", "setuser", "app", "on", ">CANARY-word", "~{latchkey:limit:}*"}
	for _, command := range regexp.MustCompile(`[A-Z]{2,}`).FindAllString(text, -1) {
		rules = append(rules, "+"+command)
	}
	if err := s.client(s.socket).Do(t.Context(), rules...).Err(); err != nil || len(rules) < 15 {
		t.Fatalf("%d rules: %v", len(rules), err)
	}
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: s.socket, Username: "app", Password: "CANARY-word"})
	defer client.Close()
	c := newCounter(t, client, redislimit.Options{})
	got := reserve(t, c, minute("a", 10, 8), day("b", 10, 8))
	c.Settle([]limit.Charge{settle(got[0], -1), settle(got[1], -1)})
	refused(t, c, 0, minute("a", 10, 8))
	if _, _, err := newCounter(t, client, redislimit.Options{Prefix: "other"}).Reserve(t.Context(), got); err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("keys of another prefix: %v", err)
	}
}

func TestErrorsAndPrintersShowNoSecretAndNoTenant(t *testing.T) {
	s := start(t, "--requirepass", "CANARY-right")
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: s.socket, Password: "CANARY-wrong"})
	defer client.Close()
	c := newCounter(t, client, redislimit.Options{})
	_, _, err := c.Reserve(t.Context(), []limit.Charge{minute("CANARY-tenant", 1, 1)})
	if err == nil || !strings.Contains(err.Error(), "WRONGPASS") || !strings.Contains(err.Error(), s.socket) {
		t.Errorf("%d bytes of an error without WRONGPASS and the address", len(fmt.Sprint(err)))
	}
	ch := minute("CANARY-tenant", 1, 1)
	c.Settle([]limit.Charge{ch})
	for _, text := range []string{fmt.Sprint(err), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c), fmt.Sprintf("%+v", *c)} {
		if strings.Contains(text, "CANARY") {
			t.Error("a secret is shown")
		}
	}
	url := redis.NewClient(&redis.Options{Addr: "redis://:CANARY@127.0.0.1:1"})
	defer url.Close()
	if _, err := redislimit.New(url, nil); err == nil || strings.Contains(err.Error(), "CANARY") {
		t.Error("a URL for an address: no error, or one that shows it")
	}
	gone := redis.NewClient(&redis.Options{Network: "unix", Addr: s.socket + "-gone", MaxRetries: -1, DialerRetries: 1})
	defer gone.Close()
	_, _, err = newCounter(t, gone, redislimit.Options{}).Reserve(t.Context(), []limit.Charge{ch})
	if err == nil || errors.Is(err, redislimit.ErrForgot) || !strings.Contains(err.Error(), s.socket+"-gone") {
		t.Errorf("no Redis: %d bytes of an error", len(fmt.Sprint(err)))
	}
}
