package platform

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/latchkey-go/latchkey/internal/smallfile"
)

const (
	// azureTag is the asset tag of the chassis of each virtual machine in Azure:
	// https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service
	azureTag = "7783-7084-3265-9085-8269-3286-77"
	// maxText is more than a line of the firmware has.
	maxText = 256
)

// firmware returns the cloud that the firmware names, and the line that does.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/identify_ec2_instances.html
// https://cloud.google.com/compute/docs/instances/detect-compute-engine
func firmware(dir string) (cloud Cloud, why string) {
	if dir == "" {
		return Unknown, ""
	}
	line := func(name string) string { return text(filepath.Join(dir, name)) }
	is := func(name, value string) string { return fmt.Sprintf("%s is %q", name, value) }
	vendor, product := line("sys_vendor"), line("product_name")
	bios := line("bios_version")
	switch {
	case line("chassis_asset_tag") == azureTag:
		return Azure, is("chassis_asset_tag", azureTag)
	case vendor == "Amazon EC2":
		return AWS, is("sys_vendor", vendor)
	case vendor == "Xen" && strings.HasSuffix(bios, ".amazon"): // the older kind of instance
		return AWS, is("bios_version", bios)
	case product == "Google Compute Engine":
		return Google, is("product_name", product)
	case vendor == "" || hypervisor(vendor, product):
		return Unknown, ""
	}
	return Other, is("sys_vendor", vendor)
}

// hypervisor reports whether the firmware is that of a hypervisor which also
// runs inside of machines of the clouds, to keep containers apart. A machine
// like that may reach the metadata service of the one around it.
func hypervisor(vendor, product string) bool {
	switch strings.ToLower(vendor) {
	case "qemu", "kvm", "red hat", "xen", "bochs", "cloud hypervisor", "cloud-hypervisor", "firecracker":
		return true
	case "microsoft corporation":
		return product == "Virtual Machine"
	}
	return false
}

// text returns a line of a small file, as far as it can be printed; empty if it
// is not one that can be read.
func text(path string) string {
	file, err := smallfile.Read(path, maxText)
	if err != nil {
		return ""
	}
	line := strings.TrimSpace(string(file.Text))
	if strings.ContainsFunc(line, func(c rune) bool { return c < ' ' || c > '~' }) {
		return ""
	}
	return line
}
