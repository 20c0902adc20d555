// Package platformtest makes machines for tests, so that these do not depend on
// the one that they run on.
package platformtest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/latchkey-go/latchkey/internal/platform"
)

// Firmware returns what the firmware of a kind of machine says, by the names of
// files in /sys/class/dmi/id. The kinds are azure, ec2 and google, which are
// virtual machines of the clouds; xen, which is an older one of EC2; laptop; and
// silent, which says nothing.
func Firmware(kind string) (lines map[string]string, ok bool) {
	switch kind {
	case "azure":
		return map[string]string{"chassis_asset_tag": "7783-7084-3265-9085-8269-3286-77", "sys_vendor": "Microsoft Corporation", "product_name": "Virtual Machine"}, true
	case "ec2":
		return map[string]string{"chassis_asset_tag": "Amazon EC2", "sys_vendor": "Amazon EC2", "product_name": "m7g.large", "bios_version": "1.0"}, true
	case "xen":
		return map[string]string{"sys_vendor": "Xen", "product_name": "HVM domU", "bios_version": "4.11.amazon"}, true
	case "google":
		return map[string]string{"sys_vendor": "Google", "product_name": "Google Compute Engine"}, true
	case "laptop":
		return map[string]string{"chassis_asset_tag": "No Asset Information", "sys_vendor": "LENOVO", "product_name": "21CB"}, true
	case "silent":
		return nil, true
	}
	return nil, false
}

// Machine returns a machine of that kind with Linux. It fails the test if there
// is no such kind.
func Machine(t testing.TB, kind string) platform.Machine {
	t.Helper()
	lines, ok := Firmware(kind)
	if !ok {
		t.Fatalf("platformtest: no kind of machine is called %q", kind)
	}
	return Of(t, lines)
}

// Of returns a machine with Linux whose firmware says these lines.
func Of(t testing.TB, lines map[string]string) platform.Machine {
	t.Helper()
	dir := t.TempDir()
	for name, line := range lines {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return platform.Machine{OS: "linux", DMI: dir}
}
