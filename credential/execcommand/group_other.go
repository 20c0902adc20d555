//go:build !unix

package execcommand

import "os/exec"

// isolate leaves it at killing the command itself, as os/exec does.
func isolate(*exec.Cmd) {}
