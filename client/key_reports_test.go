package client_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/client/clienttest"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/credentialtest"
)

// The tests of this file are failures of other clients, around a key and a retry,
// that their users have reported. docs/reports.md lists them.

// TestARetryHasTheKeyOfItsMoment: openai/openai-python#1526 and #2992, and
// Azure/azure-sdk-for-net#44804. The retries of a call carried the credential of its
// first send, or one that was put on wrongly, and a 429 ended as a 401.
func TestARetryHasTheKeyOfItsMoment(t *testing.T) {
	for name, tc := range map[string]struct {
		ttl  time.Duration
		want []string
	}{
		"the wait is longer than the key is kept": {5 * time.Second, []string{keyOf(0), keyOf(1)}},
		"the key is kept for longer":              {time.Hour, []string{keyOf(0), keyOf(0), keyOf(1)}},
	} {
		synctest.Test(t, func(t *testing.T) {
			store, accepted := credentialtest.NewStore(keyOf(0)), keyOf(0)
			var sent []string
			c := inMemory(t, client.Config{Source: store, Cache: &credential.CacheOptions{TTL: tc.ttl}}, func(req *http.Request) (*http.Response, error) {
				values := req.Header.Values("Authorization")
				sent = append(sent, strings.Join(values, " and "))
				switch {
				case len(sent) == 1:
					store.Rotate(keyOf(1))
					accepted = keyOf(1)
					return answer(req, 429, `{"error":{"message":"slow down"}}`, "Retry-After", "10"), nil
				case sent[len(sent)-1] != "Bearer "+accepted:
					return answer(req, 401, `{"error":{"code":"invalid_api_key"}}`), nil
				}
				return answer(req, 200, "{}"), nil
			})
			if _, err := c.Post(t.Context(), "chat/completions", chatRequest, nil); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			for i := range tc.want {
				tc.want[i] = "Bearer " + tc.want[i]
			}
			if !slices.Equal(sent, tc.want) {
				t.Errorf("%s: %d sends, or other keys than those of their moments", name, len(sent))
			}
		})
	}
}

// TestARetryHasTheBodyOfItsCall: CVE-2023-45286 of go-resty. A buffer that went
// back into a pool twice gave a retry the body of another call.
func TestARetryHasTheBodyOfItsCall(t *testing.T) {
	const callers, calls = 30, 20
	var sends, mixed atomic.Int64
	c := inMemory(t, client.Config{}, func(req *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		_ = req.Body.Close()
		if string(body) != bodyOf(req.Header.Get("X-Call")) {
			mixed.Add(1)
		}
		if sends.Add(1)%2 == 1 {
			return answer(req, 500, "again", "Retry-After-Ms", "0"), nil
		}
		return answer(req, 200, "{}"), nil
	})
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for n := range calls {
				id := fmt.Sprint(i, "-", n)
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.BaseURL()+"chat/completions", strings.NewReader(bodyOf(id)))
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("X-Call", id)
				resp, err := c.HTTPClient().Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				_ = resp.Body.Close()
			}
		})
	}
	wg.Wait()
	if n := mixed.Load(); n != 0 || sends.Load() <= callers*calls {
		t.Errorf("%d of %d sends had the body of another call", n, sends.Load())
	}
}

// bodyOf is larger than the buffers that are kept.
func bodyOf(call string) string { return strings.Repeat(call+" ", 2000) }

// TestTheProgramsOtherRequestsGetNoKey: CVE-2024-28110 of CloudEvents' SDK. An option
// put its round tripper into http.DefaultClient, and all requests of the program had
// the token.
func TestTheProgramsOtherRequestsGetNoKey(t *testing.T) {
	service := clienttest.NewServer(key)
	defer service.Close()
	var headers []http.Header
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { headers = append(headers, req.Header) }))
	defer other.Close()
	transport, shared := http.DefaultTransport, http.DefaultClient
	for name, given := range map[string]http.RoundTripper{"a transport of its own": nil, "the default one": http.DefaultTransport} {
		c, err := client.New(client.Config{Source: static(), BaseURL: service.URL, Transport: given})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Post(t.Context(), "chat/completions", chatRequest, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if http.DefaultTransport != transport || http.DefaultClient != shared || http.DefaultClient.Transport != nil {
			t.Errorf("%s: the defaults of net/http are changed", name)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, other.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	if len(headers) != 2 || strings.Contains(fmt.Sprint(headers), "CANARY") {
		t.Errorf("%d requests elsewhere, or one of them carries the key", len(headers))
	}
}

// TestAWaitOfADayIsNotWaitedFor: Azure/azure-sdk-for-net#44222 and
// earendil-works/pi#4991. A service asked for a day, and the client slept.
func TestAWaitOfADayIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sends := 0
		c := inMemory(t, client.Config{}, func(req *http.Request) (*http.Response, error) {
			sends++
			return answer(req, 429, `{"error":{"message":"slow down"}}`, "Retry-After", "86400"), nil
		})
		begin := time.Now()
		_, err := c.Post(t.Context(), "chat/completions", chatRequest, nil)
		var refused *client.Error
		if !errors.As(err, &refused) || refused.StatusCode != 429 || refused.RetryAfter != 24*time.Hour || time.Since(begin) != 0 || sends != 1 {
			t.Errorf("%v after %v and %d sends, want the 429 of the service at once", err, time.Since(begin), sends)
		}
	})
}
