// Package storm rotates a key under load, and counts what that costs: how many
// calls fail, how often the store is read, and how often each call is sent.
package storm
