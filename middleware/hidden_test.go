package middleware_test

import (
	"bytes"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/middleware"
)

// reaches reports whether a printer that walks v by reflection, as spew and
// go-cmp do, comes to a string that holds text. Funcs are where it ends.
func reaches(v reflect.Value, text string, seen map[uintptr]bool) bool {
	switch v.Kind() {
	case reflect.String:
		return strings.Contains(v.String(), text)
	case reflect.Pointer:
		if v.IsNil() || seen[v.Pointer()] {
			return false
		}
		seen[v.Pointer()] = true
		return reaches(v.Elem(), text, seen)
	case reflect.Interface:
		return !v.IsNil() && reaches(v.Elem(), text, seen)
	case reflect.Struct:
		for i := range v.NumField() {
			if reaches(v.Field(i), text, seen) {
				return true
			}
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 && v.Kind() == reflect.Slice {
			return bytes.Contains(v.Bytes(), []byte(text))
		}
		for i := range v.Len() {
			if reaches(v.Index(i), text, seen) {
				return true
			}
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			if reaches(k, text, seen) || reaches(v.MapIndex(k), text, seen) {
				return true
			}
		}
	}
	return false
}

// A wireBody stands for the body of net/http: its buffers have the request.
type wireBody struct {
	io.Reader
	buffer []byte
}

func (*wireBody) Close() error { return nil }

func TestNoPrinterReachesTheSecretThroughALayerOrAnAnswer(t *testing.T) {
	retry, err := middleware.Retry(&middleware.RetryOptions{MaxRetries: -1})
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range []int{200, 400, 429, 500} {
		base := &wireTransport{status: code}
		inner := middleware.Wrap(base, middleware.Log(jsonLogger(io.Discard), nil), middleware.StreamGuard())
		auth, err := middleware.Auth(newCache(t, &keys{key: goodKey}), api, nil)
		if err != nil {
			t.Fatal(err)
		}
		rt := middleware.Wrap(inner, middleware.Replay(), retry, auth)
		resp, err := rt.RoundTrip(post(t, chat, "prompt"))
		if err != nil {
			t.Fatal("the call failed")
		}
		for name, v := range map[string]any{"the chain": rt, "the layers below Auth": inner, "the answer": resp, "its body": resp.Body} {
			if reaches(reflect.ValueOf(v), "CANARY", map[uintptr]bool{}) {
				t.Errorf("%d: a printer reaches the secret through %s", code, name)
			}
		}
		_, _ = io.ReadAll(resp.Body)
		if reaches(reflect.ValueOf(resp), "CANARY", map[uintptr]bool{}) {
			t.Errorf("%d: a printer reaches the secret through the answer that was read", code)
		}
	}
	if !reaches(reflect.ValueOf(&wireTransport{sent: "CANARY"}), "CANARY", map[uintptr]bool{}) {
		t.Error("this test sees nothing")
	}
}

// A wireTransport remembers what it sent, as net/http's buffers do.
type wireTransport struct {
	status int
	sent   string
}

func (w *wireTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	w.sent = req.Header.Get("Authorization")
	resp := answer(req, w.status, "", "Content-Type", "text/event-stream")
	resp.Body = &wireBody{Reader: strings.NewReader("data: [DONE]\n\n"), buffer: []byte(w.sent)}
	return resp, nil
}
