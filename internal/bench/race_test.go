//go:build race

package bench_test

// raceDetector is true where sync.Pool forgets at random, so that allocations
// cannot be counted.
const raceDetector = true
