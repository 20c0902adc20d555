package client_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/client"
)

// A chatty type quotes what it does not take.
type chatty struct{}

func (*chatty) UnmarshalText(text []byte) error { return errors.New("no " + string(text)) }

type wordy struct{}

func (*wordy) UnmarshalJSON(text []byte) error { return errors.New("no " + string(text)) }

func TestADecodeErrorDoesNotQuoteTheAnswer(t *testing.T) {
	const text = `"sk-CANARY-0001"`
	for name, out := range map[string]any{
		"a number":           new(json.Number),
		"a time":             new(time.Time),
		"a text unmarshaler": new(chatty),
		"a JSON unmarshaler": new(wordy),
		"a key of a map":     new(map[int]string),
		"an integer":         new(int),
		"a small integer":    new(int8),
		"a boolean":          new(bool),
		"a slice":            new([]string),
		"bytes":              new([]byte),
		"a field as a string": new(struct {
			A int `json:"a,string"`
		}),
		"a float as a string": new(struct {
			A float64 `json:"a,string"`
		}),
		"a boolean as a string": new(struct {
			A bool `json:"a,string"`
		}),
		"a number in a struct": new(struct {
			A json.Number `json:"a"`
		}),
		"a time in a struct": new(struct {
			A time.Time `json:"a"`
		}),
	} {
		for _, body := range []string{text, `{"a":` + text + `}`, `{` + text + `:1}`, `{"a":"CANARY`, `CANARY`, `[` + text + `]`, `123456789CANARY`} {
			err := json.Unmarshal([]byte(body), out)
			if err == nil {
				continue
			}
			if got := client.DecodeError(err); got == nil || strings.Contains(got.Error(), "CANARY") || errors.Is(got, err) && strings.Contains(err.Error(), "CANARY") {
				t.Errorf("%s, %d bytes: the error quotes the answer, or is none", name, len(body))
			}
		}
	}
	if err := client.DecodeError(nil); err != nil {
		t.Errorf("%v is made of no error", err)
	}
	if err := client.DecodeError(&json.InvalidUnmarshalError{}); err == nil || !strings.Contains(err.Error(), "Unmarshal") {
		t.Errorf("got %v, want what is wrong with out", err)
	}
	if err := client.DecodeError(json.Unmarshal([]byte(`{"a":"x"}`), new(struct{ A int }))); err == nil || !strings.Contains(err.Error(), "byte 8") || !strings.Contains(err.Error(), "int") {
		t.Errorf("got %v, want the position and the Go type", err)
	}
}

func TestAnAnswerThatHoldsOnlyAnErrorIsTheServicesOwn(t *testing.T) {
	resp := &http.Response{StatusCode: 200, Header: http.Header{"X-Request-Id": {"req-1"}, "Retry-After": {"3"}}}
	for body, want := range map[string]string{
		`{"error":{"message":"m","code":"c"}}`: "c", `{"object":"error","message":"m","code":"c"}`: "c",
		`{"error":null,"choices":[]}`: "", `{"choices":[{}],"error":{"code":"c"}}`: "", `{}`: "", ``: "",
	} {
		err := client.OnlyError(resp, []byte(body))
		if (err != nil) != (want != "") || err != nil && (err.Code != want || err.StatusCode != 200 || err.RequestID != "req-1" || err.RetryAfter != 3*time.Second) {
			t.Errorf("%s: %+v", body, err)
		}
	}
}
