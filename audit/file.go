package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// FileOptions configure a [File]. Nil is the zero FileOptions.
type FileOptions struct {
	// MaxSize is the size in bytes from which on a new file is begun; 0 is 100 MiB,
	// a negative number is no bound. The old file is renamed: the number of its
	// last line is put before the extension, as in audit.000000012345.jsonl.
	MaxSize int64
	// NoSync leaves it to the operating system when lines reach the disk. Otherwise
	// they are synced at each checkpoint, and by Flush and Close.
	NoSync bool
}

const (
	defaultMaxSize = 100 << 20
	// longestLine is more than any line of ours has, in bytes.
	longestLine = 64 << 10
)

// A File is where a [Log] writes its lines. Only one Log may write to it.
type File struct {
	path string
	opts FileOptions
	file *os.File
	size int64
	n    int64 // of the last line

	closed bool
}

// OpenFile opens the file for appending, or makes it, readable by its owner only.
// What a process that was killed has left of a line is cut off.
func OpenFile(path string, opts *FileOptions) (*File, error) {
	f := &File{path: path}
	if opts != nil {
		f.opts = *opts
	}
	if f.opts.MaxSize == 0 {
		f.opts.MaxSize = defaultMaxSize
	}
	if err := f.open(); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *File) open() error {
	file, err := os.OpenFile(f.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	about, err := file.Stat()
	switch {
	case err != nil:
	case !about.Mode().IsRegular():
		err = errors.New("is not a regular file")
	}
	if err != nil {
		_ = file.Close()
		return fmt.Errorf("audit: %s: %w", f.path, err)
	}
	f.file, f.size = file, about.Size()
	return nil
}

// last returns the number and the hash of the last line, after it has cut off what
// is left of another one.
func (f *File) last() (n int64, hash string, err error) {
	from := max(0, f.size-2*longestLine)
	tail := make([]byte, f.size-from)
	if _, err := f.file.ReadAt(tail, from); err != nil && !errors.Is(err, io.EOF) {
		return 0, "", fmt.Errorf("audit: %w", err)
	}
	whole := tail[:bytes.LastIndexByte(tail, '\n')+1]
	rest := tail[len(whole):]
	hash = noHash
	switch {
	case len(whole) > 0:
		text := trimEnd(whole)
		text = text[bytes.LastIndexByte(text, '\n')+1:]
		var l line
		if err := json.Unmarshal(text, &l); err != nil || l.N <= 0 {
			return 0, "", fmt.Errorf("audit: %s is no audit log: its last line is none", f.path)
		}
		n, hash = l.N, hashOf(text)
	case from > 0 || !beginsLine(rest):
		return 0, "", fmt.Errorf("audit: %s is no audit log: it has no line at its end", f.path)
	}
	// Nothing is cut off before this: the file may be no log.
	if len(rest) > 0 {
		if err := f.file.Truncate(f.size - int64(len(rest))); err != nil {
			return 0, "", fmt.Errorf("audit: %w", err)
		}
		f.size -= int64(len(rest))
	}
	f.n = n
	return n, hash, nil
}

// beginsLine reports whether text can be the beginning of a line of a log.
func beginsLine(text []byte) bool {
	const first = `{"n":`
	n := min(len(text), len(first))
	return string(text[:n]) == first[:n]
}

// Write appends a line. If not all of it fits the disk, what did is cut off.
func (f *File) Write(b []byte) (int, error) {
	if f.closed {
		return 0, os.ErrClosed
	}
	if f.file == nil {
		if err := f.open(); err != nil {
			return 0, err
		}
	}
	if f.opts.MaxSize > 0 && f.size > 0 && f.size+int64(len(b)) > f.opts.MaxSize {
		if err := f.rotate(); err != nil {
			return 0, err
		}
	}
	n, err := f.file.Write(b)
	if err != nil || n < len(b) {
		if n > 0 && f.file.Truncate(f.size) != nil {
			f.size += int64(n)
		}
		return 0, err //nolint:wrapcheck // it names the file
	}
	f.size += int64(n)
	f.n++
	return n, nil
}

// rotate renames the file and begins a new one.
func (f *File) rotate() error {
	_ = f.Sync()
	ext := filepath.Ext(f.path)
	old := fmt.Sprintf("%s.%012d%s", strings.TrimSuffix(f.path, ext), f.n, ext)
	if err := os.Rename(f.path, old); err != nil {
		return err //nolint:wrapcheck // it names the file
	}
	_ = f.file.Close()
	f.file, f.size = nil, 0
	return f.open()
}

// Sync writes to the disk what the operating system has not.
func (f *File) Sync() error {
	if f.opts.NoSync || f.file == nil {
		return nil
	}
	return f.file.Sync() //nolint:wrapcheck // it names the file
}

// Close closes the file.
func (f *File) Close() error {
	f.closed = true
	if f.file == nil {
		return nil
	}
	file := f.file
	f.file = nil
	return file.Close() //nolint:wrapcheck // it names the file
}
