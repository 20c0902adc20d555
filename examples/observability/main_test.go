package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// shown plays half a minute of the script in a tenth of the time.
func shown(t *testing.T) *world {
	t.Helper()
	w, err := newWorld(100 * time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if err := w.play(ctx); err != nil {
		t.Fatal(err)
	}
	return w
}

func TestThePageShowsWhatTheServicesHaveCounted(t *testing.T) {
	w := shown(t)
	v, _ := w.account.now()
	east, west := w.east.Stats(), w.west.Stats()
	if v.Sends != east.Requests+west.Requests {
		t.Errorf("%d sends on the page, the services got %d", v.Sends, east.Requests+west.Requests)
	}
	if v.Calls != east.OK+west.OK || v.Calls == 0 {
		t.Errorf("%d calls on the page, the services answered %d", v.Calls, east.OK+west.OK)
	}
	if v.Refused != east.Unauthorized+west.Unauthorized {
		t.Errorf("%d refused keys on the page, the services refused %d", v.Refused, east.Unauthorized+west.Unauthorized)
	}
	if v.Failed != 0 || v.Over == 0 || v.Rotations == 0 || v.Cost <= 0 || len(v.Alerts) == 0 || len(v.Tenants) != 4 || len(v.Endpoints) != 3 {
		t.Errorf("%+v", v)
	}
	metrics := map[string]metricRow{}
	for _, m := range v.Metrics {
		metrics[m.Name] = m
	}
	const tokens = "gen_ai.client.token.usage"
	if in, out := metrics[tokens+" input"], metrics[tokens+" output"]; int64(in.Sum) != v.Input || int64(out.Sum) != v.Output {
		t.Errorf("%v and %v tokens in the metrics, %d and %d on the page", in.Sum, out.Sum, v.Input, v.Output)
	}
	if n := metrics["gen_ai.client.operation.duration"].Count; n != v.Calls+v.Failed+v.Over {
		t.Errorf("%d calls in the metrics, %d on the page", n, v.Calls+v.Failed+v.Over)
	}
	if !strings.Contains(fmt.Sprint(v.Alerts), "old-version") {
		t.Errorf("nobody has noticed the old key: %v", v.Alerts)
	}
	seconds := int64(0)
	for _, s := range v.Load {
		seconds += s.Calls
	}
	if seconds != v.Calls {
		t.Errorf("the chart has %d calls of %d", seconds, v.Calls)
	}
	page, err := w.account.page()
	if err != nil {
		t.Fatal(err)
	}
	inBrowser(t, page, v)
}

// inBrowser opens the page in Chromium, where it is installed: CI sees to that.
func inBrowser(t *testing.T, page []byte, v view) {
	t.Helper()
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Log("no chromium: the page was not opened")
		return
	}
	file := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(file, page, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--user-data-dir="+t.TempDir(), "--dump-dom", "file://"+file)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("chromium: %v", err)
	}
	for id, want := range map[string]int64{"calls": v.Calls, "failed": v.Failed, "over": v.Over, "sends": v.Sends, "tokens": v.Input + v.Output, "rotations": v.Rotations} {
		found := regexp.MustCompile(`id="` + id + `"[^>]*>([0-9,]+)<`).FindSubmatch(out)
		if found == nil {
			t.Errorf("%s is not on the page", id)
			continue
		}
		if got, err := strconv.ParseInt(strings.ReplaceAll(string(found[1]), ",", ""), 10, 64); err != nil || got != want {
			t.Errorf("%s is %d on the page, want %d", id, got, want)
		}
	}
}

func TestTheNumbersComeAsTheyHappen(t *testing.T) {
	a := newAccount()
	server := httptest.NewServer(a.routes())
	defer server.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	next := func() (v view) {
		for lines.Scan() {
			if text, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				if err := json.Unmarshal([]byte(text), &v); err != nil {
					t.Fatal(err)
				}
				return v
			}
		}
		t.Fatal("no event")
		return v
	}
	if v := next(); len(v.Load) != 1 {
		t.Errorf("%+v", v)
	}
	a.say("script", "</script><b>")
	a.turn()
	if v := next(); len(v.Load) != 2 || len(v.Events) != 1 || v.Events[0].Text != "</script><b>" {
		t.Errorf("%+v", v)
	}
	page, err := a.page()
	if err != nil || strings.Count(string(page), "</script>") != 1 {
		t.Errorf("a text ends the script of the page: %v", err)
	}
}

func TestThePageIsForThisMachineOnly(t *testing.T) {
	if l, err := listen(t.Context(), "0.0.0.0:0"); err == nil {
		_ = l.Close()
		t.Error("it listens to the network")
	}
}

func TestThePageIsWrittenAsOneFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "page.html")
	var out strings.Builder
	if err := run(t.Context(), &out, "localhost:0", time.Second, file); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(page), `const snapshot = {"Seconds":`) {
		t.Errorf("%v, %d bytes", err, len(page))
	}
}
