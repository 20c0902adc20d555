package interop_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// talk opens a WebSocket without a key, and says something.
func talk(t *testing.T, r *rig, what string) *websocket.Conn {
	t.Helper()
	conn, resp, err := websocket.Dial(t.Context(), r.srv.URL+"realtime", &websocket.DialOptions{
		HTTPClient:   r.client.HTTPClient(),
		Subprotocols: []string{"realtime"},
	})
	if err != nil {
		t.Fatalf("%s: %s", what, shown(err))
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	if resp.StatusCode != http.StatusSwitchingProtocols || holdsKey(dump(t, resp.Request)) {
		t.Errorf("%s: status %d, or the request shows the key", what, resp.StatusCode)
	}
	say(t, conn, what)
	return conn
}

func say(t *testing.T, conn *websocket.Conn, what string) {
	t.Helper()
	for _, text := range []string{what, strings.Repeat("x", 1<<15)} {
		if err := conn.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
			t.Fatalf("%s: write: %s", what, shown(err))
		}
		if _, got, err := conn.Read(t.Context()); err != nil || string(got) != text {
			t.Fatalf("%s: %d bytes came back of %d: %s", what, len(got), len(text), shown(err))
		}
	}
}

func TestAWebSocketGetsTheKeyOfTheDay(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		first := talk(t, r, "before the rotation")
		reads := r.store.Reads()
		r.rotate()
		second := talk(t, r, "after the rotation")
		if n := r.store.Reads() - reads; n != 1 {
			t.Errorf("%d reads of the store, want 1", n)
		}
		say(t, first, "the first one still stands")
		for _, conn := range []*websocket.Conn{first, second} {
			if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
				t.Errorf("close: %s", shown(err))
			}
		}
	})
}
