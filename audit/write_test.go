package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/latchkey-go/latchkey/audit"
)

// stuck is a writer that waits.
type stuck struct {
	gate  chan struct{}
	began chan struct{}
	mu    sync.Mutex
	out   bytes.Buffer
	lines int
}

func (w *stuck) Write(b []byte) (int, error) {
	if w.lines++; w.lines == 2 {
		close(w.began)
		<-w.gate
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Write(b)
}

// A writer that hangs holds nobody up, and a line tells what was lost for it.
func TestASlowWriterLosesRecordsAndSaysSo(t *testing.T) {
	w := &stuck{gate: make(chan struct{}), began: make(chan struct{})}
	l := newLog(t, audit.Options{Writer: w, Queue: 5, SigningKey: signingKey()})
	l.Observe(t.Context(), send(0))
	<-w.began // the first record is out of the queue
	for i := range 100 {
		l.Observe(t.Context(), send(i+1))
	}
	if got := l.Dropped(); got != 95 {
		t.Errorf("%d dropped, want 95", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Close: %v", err)
	}
	l.Observe(t.Context(), send(999)) // it is closed: one more is lost
	close(w.gate)
	closeLog(t, l)
	report, err := verify(t, w.out.Bytes(), audit.VerifyOptions{Closed: true})
	if err != nil || report.Dropped != 96 || report.Uses == nil {
		t.Errorf("%+v, %v", report, err)
	}
}

// failing is a disk that is full from time to time.
type failing struct {
	bytes.Buffer
	fails int
}

func (w *failing) Write(b []byte) (int, error) {
	if w.fails > 0 {
		w.fails--
		return 0, errors.New("no space left on device")
	}
	return w.Buffer.Write(b)
}

func TestLinesThatCannotBeWrittenAreCounted(t *testing.T) {
	w := &failing{}
	var told []error
	l := newLog(t, audit.Options{Writer: w, SigningKey: signingKey(), OnError: func(err error) { told = append(told, err) }})
	l.Observe(t.Context(), send(0))
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.fails = 5
	for i := range 10 {
		l.Observe(t.Context(), send(i+1))
	}
	closeLog(t, l)
	report, err := verify(t, w.Bytes(), audit.VerifyOptions{Closed: true})
	if err != nil || len(told) != 5 {
		t.Fatalf("%v, %d errors", err, len(told))
	}
	sends := int64(0)
	for _, u := range report.Uses {
		sends += u.Sends
	}
	if sends+report.Dropped != 11 {
		t.Errorf("%d sends and %d dropped, want 11 together", sends, report.Dropped)
	}
}

func TestAFileGoesOnWhereItEnded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	for run := range 3 {
		f, err := audit.OpenFile(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		l := newLog(t, audit.Options{Writer: f, SigningKey: signingKey()})
		l.Observe(t.Context(), send(run))
		closeLog(t, l)
	}
	// A process that was killed while it wrote.
	add(t, path, `{"n":10,"prev":"`)
	report, err := verify(t, readFile(t, path), audit.VerifyOptions{})
	if err != nil || report.Lines != 9 || report.Incomplete == 0 || !report.Closed {
		t.Fatalf("%+v, %v", report, err)
	}
	f, err := audit.OpenFile(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	closeLog(t, newLog(t, audit.Options{Writer: f, SigningKey: signingKey()}))
	if report, err := verify(t, readFile(t, path), audit.VerifyOptions{Closed: true}); err != nil || report.Lines != 11 {
		t.Errorf("%+v, %v", report, err)
	}
	if about, err := os.Stat(path); err != nil || about.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", about, err)
	}
	add(t, path, "something else\n")
	if f, err = audit.OpenFile(path, nil); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := audit.New(t.Context(), &audit.Options{Writer: f}); err == nil {
		t.Error("a file that is no log was taken")
	}
}

func add(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(text)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Files that were rotated are one chain.
func TestRotatedFilesAreOneChain(t *testing.T) {
	dir := t.TempDir()
	f, err := audit.OpenFile(filepath.Join(dir, "audit.jsonl"), &audit.FileOptions{MaxSize: 4000})
	if err != nil {
		t.Fatal(err)
	}
	l := newLog(t, audit.Options{Writer: f, SigningKey: signingKey()})
	for i := range 100 {
		l.Observe(t.Context(), send(i))
	}
	closeLog(t, l)
	files, err := filepath.Glob(filepath.Join(dir, "audit.*.jsonl"))
	if err != nil || len(files) < 5 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	files = append(files, filepath.Join(dir, "audit.jsonl"))
	after, lines := "", int64(0)
	for i, path := range files {
		text := readFile(t, path)
		if len(text) > 4000 {
			t.Errorf("%s has %d bytes", path, len(text))
		}
		report, err := verify(t, text, audit.VerifyOptions{After: after, Closed: i == len(files)-1})
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		after, lines = report.LastHash, lines+report.Lines
	}
	if lines != 102 {
		t.Errorf("%d lines", lines)
	}
	var tampered *audit.TamperError
	if _, err := verify(t, readFile(t, files[2]), audit.VerifyOptions{}); !errors.As(err, &tampered) || tampered.Line != 1 {
		t.Errorf("a file without those before it: %v", err)
	}
}

// A process that is killed while it writes leaves a log that verifies up to its
// last whole line.
func TestAKilledProcessLeavesALogThatVerifies(t *testing.T) {
	if path := os.Getenv("AUDIT_TEST_FILE"); path != "" {
		f, err := audit.OpenFile(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		l := newLog(t, audit.Options{Writer: f, SigningKey: signingKey(), Every: 20})
		for i := 0; ; i++ {
			l.Observe(t.Context(), send(i))
			if i == 500 {
				fmt.Println("ready")
			}
		}
	}
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	for round := range 3 {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), "AUDIT_TEST_FILE="+path)
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAtLeast(out, make([]byte, 5), 5); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		report, err := verify(t, readFile(t, path), audit.VerifyOptions{})
		if err != nil || report.Lines == 0 || report.Closed {
			t.Fatalf("round %d: %+v, %v", round, report, err)
		}
	}
}

func BenchmarkObserve(b *testing.B) {
	f, err := audit.OpenFile(filepath.Join(b.TempDir(), "audit.jsonl"), nil)
	if err != nil {
		b.Fatal(err)
	}
	l := newLog(b, audit.Options{Writer: f, SigningKey: signingKey()})
	s := send(1)
	b.ReportAllocs()
	for b.Loop() {
		l.Observe(b.Context(), s)
	}
}
