//go:build linux || darwin

package main

import (
	"os"
	"syscall"
	"unsafe"
)

// columns is the width of the terminal that f is; 0 if it is none.
func columns(f *os.File) int {
	var size struct{ rows, columns, x, y uint16 }
	_, _, failed := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), syscall.TIOCGWINSZ, uintptr(unsafe.Pointer(&size))) //nolint:gosec // the kernel fills it in
	if failed != 0 {
		return 0
	}
	return int(size.columns)
}
