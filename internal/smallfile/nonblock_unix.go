//go:build unix

package smallfile

import "syscall"

const nonblock = syscall.O_NONBLOCK
