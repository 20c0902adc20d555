//go:build !linux && !darwin

package main

import "os"

// columns is the width of the terminal that f is; 0 if that is not known.
func columns(*os.File) int { return 0 }
