package chaos_test

import (
	"math/rand/v2"
	"os"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/testing/rotationtest"
	"github.com/latchkey-go/latchkey/rotation/file"
)

// rotator runs rotations that are killed anywhere. Their clock is their own: each
// account lives for about four years.
func (w *world) rotator(r *rand.Rand) {
	for !w.over() {
		w.account(r)
	}
}

func (w *world) account(r *rand.Rand) {
	dir := w.t.TempDir()
	err := os.Chmod(dir, 0o700)
	if err != nil {
		w.t.Error(err)
		return
	}
	store, err := file.New(dir)
	if err != nil {
		w.t.Error(err)
		return
	}
	lab := rotationtest.New(w.t, store)
	lab.Source = credential.File(store.Key())
	lab.MustRun()
	alone := lab.Service.Clock() // when a run was last left alone
	for range 1000 {
		if !w.pause(10 * time.Millisecond) {
			break
		}
		before := lab.Readers("")
		fault := &rotationtest.Fault{At: r.IntN(20), Answer: r.IntN(2) == 0}
		// A key outlives a rotation that is late by rotation.Options.Slack, 7 days. Who
		// kills all runs for longer than that breaks no promise.
		if now := lab.Service.Clock(); fault.At == 0 || now.Sub(alone) > 4*rotationtest.Day {
			fault.At, alone = 0, now
		}
		_, _ = lab.Run(fault) // it is killed, or not
		if now := lab.Readers(""); now == "" || before == "" {
			w.breaks("P14", "a reader has no key")
		}
		lab.Service.Pass(between(r, 0, 3*rotationtest.Day))
	}
	// Left alone, it ends with one current key, and the one before at the most.
	lab.MustRun()
	lab.Service.Pass(2 * rotationtest.Day)
	lab.MustRun()
	lab.Readers("")
	state, err := store.Load(w.t.Context())
	if err != nil || state.Current == nil || state.Pending != nil || len(lab.Service.Alive()) > 2 {
		w.breaks("P14", "%d keys work in the end: %v", len(lab.Service.Alive()), err)
	}
}
