//go:build !race

package credential_test

const callsPerSecond = 1000

const share = 1
