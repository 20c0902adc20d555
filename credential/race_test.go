//go:build race

package credential_test

// The race detector makes a call ten times as slow, and finds a race in a
// tenth of the calls as well.
const callsPerSecond = 100

// share divides the longest tests.
const share = 5
