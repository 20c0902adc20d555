//go:build unix

package platform_test

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/latchkey-go/latchkey/internal/platform"
)

func TestAPipeInPlaceOfTheFirmwareDoesNotBlock(t *testing.T) {
	clearEnv(t)
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "sys_vendor"), 0o600); err != nil {
		t.Fatal(err)
	}
	if p := (platform.Machine{OS: "linux", DMI: dir}).Place(); p != (platform.Place{}) {
		t.Errorf("got %+v", p)
	}
}
