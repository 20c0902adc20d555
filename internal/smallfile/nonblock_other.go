//go:build !unix

package smallfile

// There are no named pipes in the file system.
const nonblock = 0
