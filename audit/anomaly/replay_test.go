package anomaly_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/latchkey-go/latchkey/audit/anomaly"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

const sendLine = `{"n":2,"prev":"00","time":"2026-06-01T00:00:00Z","kind":"send","process":"a","source":"s","version":"v1","send":{"number":1,"status":200,"ms":5}}` + "\n"

func TestReplayTakesTheLinesOfAllFilesInTheOrderOfTime(t *testing.T) {
	at := func(after time.Duration, process, version string) string {
		line := strings.Replace(sendLine, "2026-06-01T00:00:00Z", monday.Add(after).Format(time.RFC3339), 1)
		return strings.NewReplacer(`"process":"a"`, `"process":"`+process+`"`, "v1", version).Replace(line)
	}
	a := at(0, "a", "v1") + at(2*time.Hour, "a", "v2") + at(4*time.Hour, "a", "v2")
	b := at(time.Hour, "b", "v1") + at(3*time.Hour, "b", "v1")
	for _, files := range [][]string{{a, b}, {b, a}} {
		w, told := watch(t, nil)
		if err := w.Replay(strings.NewReader(files[0]), strings.NewReader(files[1])); err != nil {
			t.Fatal(err)
		}
		if len(*told) != 1 || (*told)[0].Rule != anomaly.OldVersion || (*told)[0].Process != "b" || (*told)[0].Version != "v1" {
			t.Errorf("told:\n%s", list(*told))
		}
	}
}

func TestReplayOfWhatIsNoLogIsAnError(t *testing.T) {
	start := `{"n":1,"prev":"00","time":"2026-06-01T00:00:00Z","kind":"start","process":"a"}` + "\n"
	for name, c := range map[string]struct{ text, want string }{
		"text":     {start + sendLine + "hello CANARY\n", "file 1, line 3"},
		"no kind":  {`{"time":"2026-06-01T00:00:00Z"}` + "\n", "line 1"},
		"no time":  {`{"kind":"send"}` + "\n", "line 1"},
		"bad time": {`{"kind":"send","time":"CANARY"}` + "\n", "line 1"},
		"long":     {start + strings.Repeat("x", 65<<10), "line 2 is longer"},
	} {
		w, _ := watch(t, nil)
		err := w.Replay(strings.NewReader(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v", name, err)
		}
	}
	w, _ := watch(t, nil)
	broken := errors.New("disk")
	if err := w.Replay(io.MultiReader(strings.NewReader(sendLine), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Error(err)
	}
	if err := w.Replay(strings.NewReader(start + sendLine + sendLine[:20])); err != nil {
		t.Errorf("a process that was killed: %v", err)
	}
	if err := w.Replay(); err != nil {
		t.Errorf("no files: %v", err)
	}
}

func FuzzReplay(f *testing.F) {
	f.Add([]byte(sendLine))
	f.Add([]byte(strings.ReplaceAll(sendLine, `"ms":5`, `"ms":9223372036854775807,"input_tokens":9223372036854775807,"output_tokens":-1`)))
	f.Add([]byte(strings.ReplaceAll(sendLine, "2026", "9999") + sendLine))
	f.Fuzz(func(t *testing.T, text []byte) {
		w, _ := watch(t, rotates)
		_ = w.Replay(bytes.NewReader(text), bytes.NewReader(text))
	})
}

func TestReplayJudgesTheRefusalsOfItsLastMinute(t *testing.T) {
	line := strings.Replace(sendLine, `"status":200`, `"status":401,"refused":true`, 1)
	for n, want := range map[int]int{9: 0, 10: 1} {
		w, told := watch(t, nil)
		if err := w.Replay(strings.NewReader(strings.Repeat(line, n))); err != nil {
			t.Fatal(err)
		}
		if len(*told) != want || want == 1 && ((*told)[0].Rule != anomaly.Refusals || (*told)[0].Version != "v1" || (*told)[0].Process != "a") {
			t.Errorf("%d refusals: %+v", n, *told)
		}
		*told = nil
		(&bench{t, w, told}).send(on(9, 0), "v1", func(s *middleware.Send) { s.Credential.Source, s.Model = "s", ""; s.Host = "" })
		if len(*told) > 0 {
			t.Errorf("judged again: %+v", *told)
		}
	}
}

func TestAProcessThatLearnsFromItsLogTellsOnlyWhatIsNew(t *testing.T) {
	started := on(1, 0)
	w, told := watch(t, func(o *anomaly.Options) { o.Since, o.RotateEvery = started, time.Hour })
	b := &bench{t, w, told}
	if err := w.Replay(strings.NewReader(sendLine + strings.Replace(sendLine, "00:00:00", "23:00:00", 1))); err != nil {
		t.Fatal(err)
	}
	b.wants("the source was late before")
	b.send(started.Add(time.Minute), "v1", func(s *middleware.Send) { s.Credential.Source = "s" })
	b.wants("it still is")
	b.event(credential.EventExpiring, "v1", started.Add(time.Minute))
	b.wants("something else", anomaly.Expiring)
}
