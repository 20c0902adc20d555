package main

import (
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/client/clienttest"
)

// A memory is the network between the client and the places.
type memory []place

func (m memory) RoundTrip(req *http.Request) (*http.Response, error) {
	for _, p := range m {
		if strings.HasPrefix(p.url, "http://"+req.URL.Host+"/") {
			return p.service.RoundTrip(req)
		}
	}
	return nil, errors.New("nobody at " + req.URL.Host)
}

// played returns the account of the whole show, in fake time.
func played(t *testing.T, out io.Writer, live bool) *account {
	t.Helper()
	s := &stage{}
	for i, name := range []string{"east", "west", "openai"} {
		s.add(name, "http://127.0.0.1:"+string(rune('1'+i)), clienttest.NewService("key-of-"+name))
	}
	s.account = newAccount(out, live, s.places)
	if err := s.play(t.Context(), memory(s.places)); err != nil {
		t.Fatal(err)
	}
	return s.account
}

func TestNoCallFailsWhileAnyEndpointServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		a := played(t, &out, false)
		a.table()
		if err := a.verdict(); err != nil {
			t.Fatal(err)
		}
		if want := int(length.Seconds()) * rate; a.calls < want-rate || a.calls > want+rate {
			t.Errorf("%d calls, want about %d", a.calls, want)
		}
		if a.most > 3 {
			t.Errorf("a call was sent %d times", a.most)
		}
		if served := a.total[east].served + a.total[west].served + a.total[vendor].served; served != a.calls {
			t.Errorf("%d sends were served, and %d calls", served, a.calls)
		}
		for _, tt := range []struct {
			second int
			is     string
			ok     func(e, w, v tally) bool
		}{
			{1, "all is well", func(e, w, v tally) bool { return e.served > 55 && w.served+v.served+e.refused == 0 }},
			{5, "what is provisioned is used, and the rest spills", func(e, w, v tally) bool { return e.served >= 33 && w.served > 20 && e.spilled == e.refused }},
			{10, "east is dead", func(e, w, v tally) bool { return e.served == 0 && e.refused < 3 && w.served > 55 }},
			{12, "west is throttled as well", func(e, w, v tally) bool { return w.served > 0 && v.served > 25 && w.refused < 20 }},
			{17, "east is back", func(e, w, v tally) bool { return e.served > 55 && w.served == 0 }},
			{19, "streams break before their content", func(e, w, v tally) bool { return e.served > 30 && e.refused > 0 && w.served > 10 }},
			{23, "all is well again", func(e, w, v tally) bool { return e.served > 55 && e.refused == 0 }},
		} {
			h := a.history[tt.second]
			if !tt.ok(h[east], h[west], h[vendor]) {
				t.Errorf("second %d, in which %s: %+v", tt.second, tt.is, h)
			}
		}
		for _, want := range []string{"-> west: throttled", "east is left alone", "one call asks east", "east is back", "calls spilled"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("the account does not say %q:\n%s", want, out.String())
			}
		}
		if strings.Contains(out.String(), "\x1b") || strings.Contains(out.String(), "key-of") {
			t.Error("the account has what is for a terminal, or a key")
		}
		chart := a.chart(script())
		d := xml.NewDecoder(strings.NewReader(chart))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%v\n%s", err, chart)
			}
		}
		for _, f := range script() {
			if !strings.Contains(chart, f.what) {
				t.Errorf("the chart does not mark %q", f.what)
			}
		}
	})
}

func TestOnATerminalTheLinesOfTheEndpointsStayAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		a := newAccount(&out, true, []place{{name: "one"}, {name: "two"}})
		time.Sleep(1500 * time.Millisecond)
		a.mu.Lock()
		a.draw(0)
		a.mu.Unlock()
		a.say("news")
		parts := strings.Split(out.String(), "\x1b[2A\x1b[J")
		if len(parts) != 2 || !strings.Contains(parts[1], "news\n    1s     one") || strings.Count(parts[1], "\n") != 3 {
			t.Errorf("the terminal gets %q", out.String())
		}
	})
}

func TestTheVerdictIsThatOfTheCallers(t *testing.T) {
	a := newAccount(io.Discard, false, nil)
	if a.verdict() == nil {
		t.Error("no call was made, and all is said to be well")
	}
	a.called(time.Second, nil)
	if err := a.verdict(); err != nil {
		t.Error(err)
	}
	a.called(time.Second, errors.New("a fault"))
	if err := a.verdict(); err == nil || !strings.Contains(err.Error(), "1 of 2 calls failed, the first: a fault") {
		t.Error(err)
	}
}
