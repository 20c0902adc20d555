// Package telemetrytest has only tests. They look at what middleware/telemetry
// exports through the SDK of OpenTelemetry, and compare its names with the
// semantic conventions. It is a module of its own, so that neither is in the
// go.mod of a program that imports latchkey.
package telemetrytest
