// Package vaulttest runs a real Vault server in the process of a test: Vault's
// own core and HTTP handler, v1.14.1, the last of its line under the MPL that
// builds as a Go module. It is a module of its own, so that the library's
// go.mod has nothing of it.
//
// The tests here run latchkey's credential/hashivault against that server.
package vaulttest
