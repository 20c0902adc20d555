package main

import (
	"os"
	"testing"
	"time"

	// What the programs below testdata need, which go mod tidy does not see.
	_ "github.com/latchkey-go/latchkey/credential/awssecretsmanager"
)

// The times are for a table; round trips are what latchkey promises. The test
// is in the package because a program has no other way in.
func TestAColdStartWaitsForFewerRoundTrips(t *testing.T) {
	results, err := measure(t.Context(), 3, 20*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		// The extension is on loopback: only the connection and the call are far.
		want := map[string]int{"obvious": 6, "sdk": 4, "post": 4, "extension": 3}[r.dir]
		if r.trips != want {
			t.Errorf("%s: %d round trips in a row, want %d", r.dir, r.trips, want)
		}
	}
	if err := table(os.Stdout, results); err != nil {
		t.Error(err)
	}
}
