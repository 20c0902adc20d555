package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReplayPrintsTheAlerts(t *testing.T) {
	_, files := logged(t) // 20 minutes, and two versions one after the other
	var out, errs bytes.Buffer
	if status := run(append([]string{"replay"}, files...), &out, &errs); status != 0 || out.String() != "nothing unusual\n" || errs.Len() > 0 {
		t.Errorf("status %d: %s%s", status, out.String(), errs.String())
	}
	out.Reset()
	status := run(append([]string{"replay", "-rotate", "5m"}, files...), &out, &errs)
	if status != found || !strings.HasPrefix(out.String(), `2026-11-26T12:06:00Z  late: "vault:openai" has had no new version since 2026-11-26T12:00:00Z`) || errs.Len() > 0 {
		t.Errorf("status %d: %s%s", status, out.String(), errs.String())
	}
}

func TestWhatCannotBeReplayedIsAnErrorOfItsOwn(t *testing.T) {
	_, files := logged(t)
	other := filepath.Join(t.TempDir(), "other.txt")
	if err := os.WriteFile(other, []byte("no log\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"replay"}, {"replay", files[0], other}, {"replay", "-rotate", "often", files[0]}, {"replay", "-rotate", "-1h", files[0]}, {"replay", files[0] + ".gone"}} {
		var out, errs bytes.Buffer
		if status := run(args, &out, &errs); status != unchecked || errs.Len() == 0 {
			t.Errorf("%q: status %d, %q", args, status, errs.String())
		}
	}
}
