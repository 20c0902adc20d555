// Package smallfile reads the small files that hold a token, a key or a
// certificate. It depends on the standard library only, and not on net/http.
package smallfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// Max is the most that a file with one token or key in it needs, in bytes.
const Max = 64 << 10

// A File is what was read.
type File struct {
	// Text is the content, as it is.
	Text []byte
	// Modified is the time of the last modification.
	Modified time.Time
}

// ErrNotRegular is for directories, named pipes and devices.
var ErrNotRegular = errors.New("not a regular file")

// ErrTooLarge is what the error for a file above the limit wraps.
var ErrTooLarge = errors.New("the file is too large")

// A large error says how large the file is.
type large string

func (l large) Error() string { return string(l) }
func (l large) Unwrap() error { return ErrTooLarge }

// Read reads the regular file at path. It fails on a file of more than limit
// bytes, and on one that is not regular: it never waits for a named pipe that
// nobody writes to, and never reads a device.
//
// The error does not name the file, so that the caller can say what the file
// is for. It wraps fs.ErrNotExist if there is none, and [ErrNotRegular] or
// [ErrTooLarge] for the two rules. Otherwise it quotes the operating system,
// never the content.
func Read(path string, limit int) (File, error) {
	// Without O_NONBLOCK the open of a named pipe waits for a writer. On a
	// regular file the flag changes nothing.
	f, err := os.OpenFile(path, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return File{}, bare(err)
	}
	defer func() { _ = f.Close() }() // read only
	// Of the open file: what is at path may be replaced at any time.
	info, err := f.Stat()
	switch {
	case err != nil:
		return File{}, bare(err)
	case !info.Mode().IsRegular():
		return File{}, ErrNotRegular
	case info.Size() > int64(limit):
		return File{}, large(fmt.Sprintf("%d bytes, at most %d are read", info.Size(), limit))
	}
	text, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	switch {
	case err != nil:
		return File{}, bare(err)
	case len(text) > limit: // it grows, or does not tell its size, as those in /proc
		return File{}, large(fmt.Sprintf("more than %d bytes", limit))
	}
	return File{Text: text, Modified: info.ModTime()}, nil
}

// bare drops the path.
func bare(err error) error {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
