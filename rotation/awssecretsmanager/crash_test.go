package awssecretsmanager_test

import (
	"testing"

	"github.com/latchkey-go/latchkey/internal/testing/rotationtest"
)

// The requests of the store are lost one by one, and their answers, under readers with
// a Cache that has AWSPENDING as its standby.
func TestARotationCanBeKilledAnywhereAndRunAgain(t *testing.T) {
	if changes := rotationtest.CrashesByChange(t, func(t *testing.T) *rotationtest.Lab { return newBench(t, "").Lab }); changes < 10 {
		t.Errorf("%d changes", changes)
	}
}
