package anomaly_test

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/audit"
	"github.com/latchkey-go/latchkey/audit/anomaly"
)

// watch returns a Watch with the defaults, and what it has told.
func watch(t testing.TB, change func(*anomaly.Options)) (w *anomaly.Watch, told *[]anomaly.Alert) {
	t.Helper()
	told = new([]anomaly.Alert)
	opts := anomaly.Options{OnAlert: func(a anomaly.Alert) { *told = append(*told, a) }}
	if change != nil {
		change(&opts)
	}
	w, err := anomaly.New(&opts)
	if err != nil {
		t.Fatal(err)
	}
	return w, told
}

func rotates(o *anomaly.Options) { o.RotateEvery = rotateEvery }

// live gives the records to a Watch while they happen.
func live(t testing.TB, records []*record) []anomaly.Alert {
	t.Helper()
	w, told := watch(t, rotates)
	for i := range records {
		r := records[i]
		anomaly.As(w, r.process)
		if r.event.Kind != "" {
			w.OnEvent(r.event)
			continue
		}
		w.Observe(t.Context(), &r.send)
	}
	return *told
}

// logged writes the records as the audit logs of their processes.
func logged(t testing.TB, records []*record) []io.Reader {
	t.Helper()
	files, logs := map[string]*bytes.Buffer{}, map[string]*audit.Log{}
	var names []string
	for i := range records {
		r := records[i]
		l := logs[r.process]
		if l == nil {
			files[r.process] = new(bytes.Buffer)
			var err error
			if l, err = audit.New(t.Context(), &audit.Options{Writer: files[r.process], Process: r.process, Queue: len(records) + 1}); err != nil {
				t.Fatal(err)
			}
			logs[r.process], names = l, append(names, r.process)
		}
		if r.event.Kind != "" {
			l.OnEvent(r.event)
			continue
		}
		l.Observe(t.Context(), &r.send)
	}
	var readers []io.Reader
	for _, name := range names {
		if err := logs[name].Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		readers = append(readers, files[name])
	}
	return readers
}

func replayed(t testing.TB, files []io.Reader) []anomaly.Alert {
	t.Helper()
	w, told := watch(t, rotates)
	if err := w.Replay(files...); err != nil {
		t.Fatal(err)
	}
	return *told
}

func list(alerts []anomaly.Alert) string {
	var b strings.Builder
	for _, a := range alerts {
		fmt.Fprintf(&b, "%s %s: %s (value %.1f, norm %.1f)\n", a.Time.Format("Mon 02 15:04:05"), a.Rule, a.Text, a.Value, a.Norm)
	}
	return b.String()
}

// badMonth is a month with trouble. It is one of those in which, as the test of a
// hundred quiet months counts them, nothing else is told.
func badMonth() (records []*record, troubles []trouble) {
	m := newMonth(2, map[string]int{"batch": 3})
	troubles = m.trouble()
	return m.sorted(), troubles
}

func TestEachTroubleOfAMonthIsNoticedAndNothingElse(t *testing.T) {
	records, troubles := badMonth()
	alerts := replayed(t, logged(t, records))
	left := slices.Clone(troubles)
	for _, a := range alerts {
		i := slices.IndexFunc(left, func(w trouble) bool {
			return w.rule == string(a.Rule) && w.tenant == a.Tenant && !a.Time.Before(w.began)
		})
		if i < 0 {
			t.Errorf("an alert about nothing: %s", list([]anomaly.Alert{a}))
			continue
		}
		t.Logf("%-15s %-6s after %v", a.Rule, a.Tenant, a.Time.Sub(left[i].began).Round(time.Second))
		if took := a.Time.Sub(left[i].began); took > 2*time.Hour {
			t.Errorf("%s was noticed after %v", a.Rule, took)
		}
		left = slices.Delete(left, i, i+1)
	}
	if len(left) > 0 {
		t.Errorf("not noticed: %+v, of\n%s", left, list(alerts))
	}
}

func TestWhatHappensNowAndWhatIsLoggedGiveTheSameAlerts(t *testing.T) {
	records, _ := badMonth()
	now, then := live(t, records), replayed(t, logged(t, records))
	if list(now) != list(then) || len(now) == 0 {
		t.Errorf("while it happens:\n%slogged:\n%s", list(now), list(then))
	}
}

// falseAlarms counts what is told about quiet months, by rule.
func falseAlarms(t testing.TB, months int) map[anomaly.Rule]int {
	t.Helper()
	count := map[anomaly.Rule]int{}
	for seed := range months {
		for _, a := range live(t, newMonth(uint64(seed)+1000, nil).sorted()) {
			count[a.Rule]++
			t.Logf("month %d: %s", seed, strings.TrimSpace(list([]anomaly.Alert{a})))
		}
	}
	return count
}

// TestTheDocumentsSayWhatTheMonthsMeasured holds the last two columns of the table of
// rules to what the simulation gives: the time until an alert and, as a hundred months
// take long, with LATCHKEY_PROOFS alone, the false alarms.
func TestTheDocumentsSayWhatTheMonthsMeasured(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the sums of another architecture differ in the last bit, and so does the month")
	}
	proofs := os.Getenv("LATCHKEY_PROOFS") != "" && !raceEnabled // .ci/run sets the variable
	text, err := os.ReadFile("../../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	records, troubles := badMonth()
	took := map[anomaly.Rule]time.Duration{}
	for _, a := range replayed(t, logged(t, records)) {
		for _, w := range troubles {
			if w.rule == string(a.Rule) && w.tenant == a.Tenant {
				took[a.Rule] = max(took[a.Rule], a.Time.Sub(w.began))
			}
		}
	}
	var alarms map[anomaly.Rule]int
	if proofs {
		alarms = falseAlarms(t, 100)
	}
	for _, rule := range []anomaly.Rule{
		anomaly.OldVersion, anomaly.RefusedWidely, anomaly.Refusals, anomaly.Rate, anomaly.NewName, anomaly.UnusualHour, anomaly.Expiring, anomaly.Late,
	} {
		at := strings.Index(string(text), "| `"+string(rule)+"` |")
		if at < 0 {
			t.Errorf("no row for %s", rule)
			continue
		}
		row, _, _ := strings.Cut(string(text[at:]), "\n")
		cells := strings.Split(strings.TrimSuffix(row, " |"), " | ")
		alert, falsely := cells[len(cells)-2], cells[len(cells)-1]
		if want := cmp.Or(took[rule].Round(time.Second), 0).String(); alert != want {
			t.Errorf("%s: the table has an alert after %s, measured were %s", rule, alert, want)
		}
		if want := strconv.Itoa(alarms[rule]); proofs && falsely != want {
			t.Errorf("%s: the table has %s false alarms, measured were %s", rule, falsely, want)
		}
	}
}
