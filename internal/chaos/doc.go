// Package chaos holds one test: programs call through every source while keys are
// rotated and stores, services and rotators fail at random, and the promises of the
// library hold all the time.
//
//	go test -run Chaos -chaos=10m ./internal/chaos
//	go test -run Chaos -chaos=1m -seed=1764188638 ./internal/chaos
//
// The seed is printed; it decides what is broken and when, but not in which order the
// goroutines run. The promises have the numbers of the README. P9 is about what is
// linked, P10 needs fake time, and P11 something to compare with: they have tests of
// their own.
package chaos
