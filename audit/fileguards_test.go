package audit_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/audit"
	"github.com/latchkey-go/latchkey/credential"
)

func TestAFileThatIsNoLogIsLeftAsItIs(t *testing.T) {
	for name, text := range map[string]string{
		"one line without an end":     `{"settings":"of another program"}`,
		"lines, the last without end": "a: 1\nb: 2",
		"lines":                       "a: 1\nb: 2\n",
		"many bytes without a line":   strings.Repeat("x", 300<<10),
		"much that begins as a line":  strings.Repeat(`{"n":`, 60<<10),
		"numbers that no line has":    `{"n":0}` + "\n",
	} {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := audit.OpenFile(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := audit.New(t.Context(), &audit.Options{Writer: f}); err == nil || !strings.Contains(err.Error(), "no audit log") {
			t.Errorf("%s: New returned %v", name, err)
		}
		if got := readFile(t, path); string(got) != text {
			t.Errorf("%s: %d bytes became %d", name, len(text), len(got))
		}
		_ = f.Close()
	}
}

func TestOfTheFirstLineAProcessMayHaveLeftAnyPart(t *testing.T) {
	for _, text := range []string{"", "{", `{"n":`, `{"n":1,"prev":"00`} {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := audit.OpenFile(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		closeLog(t, newLog(t, audit.Options{Writer: f, SigningKey: signingKey()}))
		if report, err := verify(t, readFile(t, path), audit.VerifyOptions{Closed: true}); err != nil || report.Lines != 2 {
			t.Errorf("behind %q: %+v, %v", text, report, err)
		}
	}
}

func TestSendsThatEndInAnotherOrderAreOfTheirTime(t *testing.T) {
	var out strings.Builder
	l := newLog(t, audit.Options{Writer: &out, SigningKey: signingKey()})
	first, last := send(0), send(0)
	last.Started, last.Ended = last.Started.Add(time.Hour), last.Ended.Add(time.Hour)
	l.Observe(t.Context(), last)
	l.Observe(t.Context(), first)
	closeLog(t, l)
	report, err := verify(t, []byte(out.String()), audit.VerifyOptions{})
	if err != nil || len(report.Uses) != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	if u := report.Uses[0]; u.Sends != 2 || u.Last.Sub(u.First) != time.Hour {
		t.Errorf("%d sends from %v to %v, want 2 an hour apart", u.Sends, u.First, u.Last)
	}
}

type named struct{ credential.Source }

func (named) String() string { return "vault:acme" }

func TestASourceOfALogIsCalledAsTheOneBehindIt(t *testing.T) {
	l := newLog(t, audit.Options{Writer: io.Discard})
	src := l.Source("acme", named{secret(canary)})
	if got, ok := src.(fmt.Stringer); !ok || got.String() != "vault:acme" {
		t.Errorf("it is called %v", src)
	}
}
