package anomaly_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/audit/anomaly"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

func TestNamesThatNeverEndTakeBoundedMemoryAndAreBoundedAlerts(t *testing.T) {
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	w, told := watch(t, rotates)
	before, long := heap(), strings.Repeat("x", 4096)
	n, seen := 40_000, 0
	if raceEnabled {
		n = 10_000
	}
	for i := range n {
		// The number comes first: what is after 512 bytes does not count.
		name := fmt.Sprint(i, long)
		at := monday.Add(time.Duration(i) * time.Minute)
		anomaly.As(w, name)
		for v := range 2 {
			w.Observe(t.Context(), &middleware.Send{
				Status: 200 + 201*v, Model: name, Endpoint: name, Started: at, Credential: middleware.Identity{Tenant: name, Source: name, Version: fmt.Sprint(v, name), Refused: v == 1},
			})
		}
		w.OnEvent(credential.Event{Kind: credential.EventLoaded, Time: at, Source: "one", Version: name})
		w.OnEvent(credential.Event{Kind: credential.EventExpiring, Time: at, Tenant: name, Source: name, Version: name})
		for j := seen; j < len(*told); j++ {
			(*told)[j] = anomaly.Alert{Rule: (*told)[j].Rule, Time: (*told)[j].Time} // the alerts are ours, not the Watch's
		}
		seen = len(*told)
	}
	if grown := int64(heap()) - int64(before); grown > 25<<20 {
		t.Errorf("it holds %d MB", grown>>20)
	}
	runtime.KeepAlive(w)
	perDay := map[string]int{}
	for _, a := range *told {
		perDay[string(a.Rule)+a.Time.Format(time.DateOnly)]++
	}
	for when, n := range perDay {
		if n > 2*101 { // some are closed at any time of the day
			t.Errorf("%d alerts: %s", n, when)
		}
	}
}

func TestAnAlertThatIsNotToldForWantOfRoomIsSpokenOfOnce(t *testing.T) {
	b := newBench(t, nil)
	for i := range 150 {
		b.event(credential.EventExpiring, fmt.Sprint("v", i), monday.Add(time.Duration(i)*time.Second))
	}
	if n := len(*b.told); n != 101 || !strings.Contains((*b.told)[100].Text, "100 alerts of this rule are open") {
		t.Errorf("%d alerts, the last one %+v", n, (*b.told)[n-1])
	}
	*b.told = nil
	b.event(credential.EventExpiring, "v200", on(2, 0))
	if len(*b.told) == 1 && (*b.told)[0].Version != "v200" {
		t.Errorf("%+v", (*b.told)[0])
	}
	b.wants("when they are closed", anomaly.Expiring)
}

func TestAWatchIsSafeForConcurrentUseAndMayBeCalledFromItsAlerts(t *testing.T) {
	var mu sync.Mutex
	var w *anomaly.Watch
	seen := map[anomaly.Rule]int{}
	w, err := anomaly.New(&anomaly.Options{OnAlert: func(a anomaly.Alert) {
		w.OnEvent(credential.Event{Kind: credential.EventLoaded, Time: a.Time, Source: "another", Version: "v1"})
		mu.Lock()
		defer mu.Unlock()
		seen[a.Rule]++
	}})
	if err != nil {
		t.Fatal(err)
	}
	w.Observe(t.Context(), &middleware.Send{Started: monday, Credential: middleware.Identity{Source: source, Version: "v1"}})
	w.OnEvent(credential.Event{Kind: credential.EventRotated, Time: monday.Add(time.Hour), Source: source, Version: "v2"})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 200 {
				at := monday.Add(2*time.Hour + time.Duration(i)*time.Second)
				w.Observe(t.Context(), &middleware.Send{Started: at, Credential: middleware.Identity{Source: source, Version: "v1"}})
				w.OnEvent(credential.Event{Kind: credential.EventExpiring, Time: at, Source: source, Version: "v2"})
				if err := w.Replay(strings.NewReader(sendLine)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if len(seen) != 2 || seen[anomaly.OldVersion] != 1 || seen[anomaly.Expiring] != 1 {
		t.Errorf("%v", seen)
	}
}

// steady is a Watch that has learned, and a send as it had them before.
func steady(t testing.TB) (*anomaly.Watch, *middleware.Send) {
	w, told := watch(t, rotates)
	s := &middleware.Send{
		Status: 200, Model: "gpt-4.1", Host: "api.openai.com", Started: monday, Credential: middleware.Identity{Tenant: "acme", Source: source, Version: "v1"},
		Usage: middleware.Usage{Reported: true, Input: 1, Output: 1},
	}
	for range days * 24 {
		s.Started = s.Started.Add(time.Hour)
		w.Observe(t.Context(), s)
	}
	if len(*told) != 1 || (*told)[0].Rule != anomaly.Late {
		t.Fatal(list(*told))
	}
	return w, s
}

func BenchmarkSend(b *testing.B) {
	w, s := steady(b)
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		s.Started = s.Started.Add(time.Millisecond)
		w.Observe(ctx, s)
	}
}
