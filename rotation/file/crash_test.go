package file_test

import (
	"os"
	"testing"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/testing/rotationtest"
	"github.com/latchkey-go/latchkey/rotation/file"
)

func TestARotationInADirectoryCanBeKilledAnywhereAndRunAgain(t *testing.T) {
	open := func(t *testing.T) *rotationtest.Lab {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		store, err := file.New(dir)
		if err != nil {
			t.Fatal(err)
		}
		l := rotationtest.New(t, store)
		l.Source = credential.File(store.Key())
		return l
	}
	if os.Getenv("LATCHKEY_PROOFS") != "" {
		rotationtest.Crashes(t, open) // every pair of calls, and not of changes alone
	}
	if changes := rotationtest.CrashesByChange(t, open); changes < 4 {
		t.Errorf("%d changes", changes)
	}
	rotationtest.CrashesByChange(t, rotationtest.Slots(open))
}
