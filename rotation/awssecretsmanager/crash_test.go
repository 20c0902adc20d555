package awssecretsmanager_test

import (
	"os"
	"testing"

	"github.com/latchkey-go/latchkey/internal/testing/rotationtest"
)

// The requests of the store are lost one by one, and their answers, under readers with
// a Cache that has AWSPENDING as its standby.
func TestARotationCanBeKilledAnywhereAndRunAgain(t *testing.T) {
	open := func(t *testing.T) *rotationtest.Lab { return newBench(t, "").Lab }
	if os.Getenv("LATCHKEY_PROOFS") != "" {
		rotationtest.Crashes(t, open) // every pair of requests, and not of changes alone
	}
	if changes := rotationtest.CrashesByChange(t, open); changes < 10 {
		t.Errorf("%d changes", changes)
	}
	rotationtest.CrashesByChange(t, rotationtest.Slots(open))
}
