package anomaly_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"time"

	"github.com/latchkey-go/latchkey/audit"
	"github.com/latchkey-go/latchkey/audit/anomaly"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

// Two processes have written logs. One of them goes on with a version that the other
// one has long replaced.
func ExampleWatch_Replay() {
	ctx := context.Background()
	noon := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	written := func(process string, does func(l *audit.Log)) *bytes.Buffer {
		var file bytes.Buffer
		l, err := audit.New(ctx, &audit.Options{Writer: &file, Process: process})
		if err != nil {
			log.Fatal(err)
		}
		does(l)
		if err := l.Close(ctx); err != nil {
			log.Fatal(err)
		}
		return &file
	}
	sends := func(l *audit.Log, version string, at time.Time) {
		l.Observe(ctx, &middleware.Send{Status: 200, Started: at, Credential: middleware.Identity{Source: "vault:openai", Version: version}})
	}
	billing := written("billing", func(l *audit.Log) {
		sends(l, "4", noon)
		l.OnEvent(credential.Event{Kind: credential.EventRotated, Time: noon.Add(time.Hour), Source: "vault:openai", Version: "5"})
		sends(l, "5", noon.Add(2*time.Hour))
	})
	laptop := written("laptop", func(l *audit.Log) { sends(l, "4", noon.Add(3*time.Hour)) })

	watch, err := anomaly.New(&anomaly.Options{OnAlert: func(a anomaly.Alert) { fmt.Printf("%s: %s\n", a.Rule, a.Text) }})
	if err != nil {
		log.Fatal(err)
	}
	if err := watch.Replay(billing, laptop); err != nil {
		log.Fatal(err)
	}
	// Output:
	// old-version: version "4" of "vault:openai" is still used by "laptop": version "5" has replaced it at 2026-11-26T13:00:00Z
}

// A Watch of a process takes what the client observes. It would be given to
// client.Config.Observe and credential.CacheOptions.OnEvent, after it has learned from
// what the process has logged before.
func ExampleNew() {
	watch, err := anomaly.New(&anomaly.Options{
		OnAlert:     func(a anomaly.Alert) { fmt.Println(a.Rule, a.Source, a.Version, a.Value, "hours left") },
		RotateEvery: 90 * 24 * time.Hour,
	})
	if err != nil {
		log.Fatal(err)
	}
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	watch.OnEvent(credential.Event{Kind: credential.EventExpiring, Time: now, Source: "vault:openai", Version: "5", Expires: now.Add(36 * time.Hour)})
	// Output:
	// expiring vault:openai 5 36 hours left
}
