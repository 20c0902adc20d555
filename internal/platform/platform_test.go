package platform_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/internal/platform"
	"github.com/latchkey-go/latchkey/internal/platform/platformtest"
)

type vars = map[string]string

func clearEnv(t *testing.T) {
	t.Helper()
	for _, name := range platform.Variables() {
		t.Setenv(name, "")
	}
}

// others are machines that only these tests need.
func others() map[string]vars {
	return map[string]vars{
		"chromebook": {"sys_vendor": "Google", "product_name": "Eve"},
		"surface":    {"sys_vendor": "Microsoft Corporation", "product_name": "Surface Laptop 5"},
		"hetzner":    {"sys_vendor": "Hetzner", "product_name": "vServer"},
		"hyper-v":    {"chassis_asset_tag": "1234", "sys_vendor": "Microsoft Corporation", "product_name": "Virtual Machine"},
		"kata":       {"sys_vendor": "QEMU", "product_name": "Standard PC"},
		"own xen":    {"sys_vendor": "Xen", "product_name": "HVM domU", "bios_version": "4.17"},
	}
}

// An environment is what a process finds, and what has to be told of it.
type environment struct {
	name               string
	env                vars
	machine, os        string
	cloud              platform.Cloud
	service, why       string
	aws, azure, google platform.Chance
}

const never, surely = platform.Never, platform.Surely

func plainMachines() []environment {
	return []environment{
		{name: "nothing", machine: "silent"},
		{name: "a VM of Azure", machine: "azure", cloud: platform.Azure, why: "chassis_asset_tag", aws: never, azure: surely, google: never},
		{name: "an instance of EC2", machine: "ec2", cloud: platform.AWS, why: `sys_vendor is "Amazon EC2"`, aws: surely, azure: never, google: never},
		{name: "an older instance of EC2", machine: "xen", cloud: platform.AWS, why: "bios_version", aws: surely, azure: never, google: never},
		{name: "a VM of Google", machine: "google", cloud: platform.Google, why: "product_name", aws: never, azure: never, google: surely},
		{name: "a laptop", machine: "laptop", cloud: platform.Other, why: `sys_vendor is "LENOVO"`, aws: never, azure: never, google: never},
		{name: "a laptop of Google", machine: "chromebook", cloud: platform.Other, why: "Google", aws: never, azure: never, google: never},
		{name: "a laptop of Microsoft", machine: "surface", cloud: platform.Other, why: "Microsoft", aws: never, azure: never, google: never},
		{name: "another cloud", machine: "hetzner", cloud: platform.Other, why: "Hetzner", aws: never, azure: never, google: never},
		{name: "a Mac", os: "darwin", azure: never, google: never},
		{name: "Windows", os: "windows"},
		{name: "a sandbox of a hypervisor", machine: "kata"},
		{name: "Hyper-V of one's own", machine: "hyper-v"},
		{name: "Xen of one's own", machine: "own xen"},
	}
}

func markedPlaces() []environment {
	return []environment{
		{name: "Lambda", env: vars{"AWS_LAMBDA_RUNTIME_API": "x", "AWS_EXECUTION_ENV": "AWS_Lambda_provided.al2023"}, machine: "silent",
			cloud: platform.AWS, service: platform.Lambda, why: "AWS_LAMBDA_RUNTIME_API is set", aws: never, azure: never, google: never},
		{name: "ECS on EC2", env: vars{"ECS_CONTAINER_METADATA_URI_V4": "x", "AWS_EXECUTION_ENV": "AWS_ECS_EC2"}, machine: "ec2",
			cloud: platform.AWS, service: "Amazon ECS", why: "ECS", aws: surely, azure: never, google: never},
		{name: "ECS by one variable", env: vars{"AWS_EXECUTION_ENV": "AWS_ECS_EC2"}, machine: "silent",
			cloud: platform.AWS, service: "Amazon ECS", why: "AWS_EXECUTION_ENV", aws: surely, azure: never, google: never},
		{name: "Fargate", env: vars{"ECS_CONTAINER_METADATA_URI_V4": "x", "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE"}, machine: "silent",
			cloud: platform.AWS, service: platform.Fargate, why: "ECS", aws: never, azure: never, google: never},
		{name: "App Service", env: vars{"WEBSITE_SITE_NAME": "x"}, machine: "azure",
			cloud: platform.Azure, service: "Azure App Service", why: "WEBSITE_SITE_NAME", aws: never, azure: never, google: never},
		{name: "Functions", env: vars{"FUNCTIONS_WORKER_RUNTIME": "custom"}, machine: "silent",
			cloud: platform.Azure, service: "Azure Functions", why: "FUNCTIONS_WORKER_RUNTIME", aws: never, azure: never, google: never},
		{name: "the Core Tools", env: vars{"FUNCTIONS_WORKER_RUNTIME": "custom", "AZURE_FUNCTIONS_ENVIRONMENT": "Development"}, machine: "laptop",
			cloud: platform.Other, why: "LENOVO", aws: never, azure: never, google: never},
		{name: "Cloud Run", env: vars{"K_SERVICE": "x"}, machine: "silent",
			cloud: platform.Google, service: "Cloud Run", why: "K_SERVICE", aws: never, azure: never, google: surely},
		{name: "Knative on AKS", env: vars{"K_SERVICE": "x", "KUBERNETES_SERVICE_HOST": "x"}, machine: "azure",
			cloud: platform.Azure, service: platform.Kubernetes, why: "chassis", aws: never, azure: surely, google: never},
		{name: "EKS", env: vars{"KUBERNETES_SERVICE_HOST": "x"}, machine: "ec2",
			cloud: platform.AWS, service: platform.Kubernetes, why: "sys_vendor", aws: surely, azure: never, google: never},
		{name: "a cluster that hides its machines", env: vars{"KUBERNETES_SERVICE_HOST": "x"}, machine: "silent", service: platform.Kubernetes},
		{name: "AKS that hides its machines", env: vars{"KUBERNETES_SERVICE_HOST": "x", "AZURE_FEDERATED_TOKEN_FILE": "x"}, machine: "silent",
			cloud: platform.Azure, service: platform.Kubernetes, why: "AZURE_FEDERATED_TOKEN_FILE", aws: never, azure: surely, google: never},
		{name: "AKS with a role in AWS", env: vars{"KUBERNETES_SERVICE_HOST": "x", "AZURE_FEDERATED_TOKEN_FILE": "x", "AWS_WEB_IDENTITY_TOKEN_FILE": "x"},
			machine: "silent", service: platform.Kubernetes},
		{name: "an endpoint of an identity", env: vars{"IDENTITY_ENDPOINT": "x"}, machine: "silent",
			cloud: platform.Azure, service: "Azure", why: "IDENTITY_ENDPOINT", aws: never, azure: never, google: never},
		{name: "Arc on EC2", env: vars{"IDENTITY_ENDPOINT": "x"}, machine: "ec2", cloud: platform.AWS, why: "sys_vendor", aws: surely, azure: never, google: never},
		{name: "a role in AWS on a laptop", env: vars{"AWS_WEB_IDENTITY_TOKEN_FILE": "x"}, machine: "laptop",
			cloud: platform.Other, why: "LENOVO", aws: never, azure: never, google: never},
	}
}

func TestAPlaceIsToldByItsMarkersAndItsMachine(t *testing.T) {
	for _, tc := range append(plainMachines(), markedPlaces()...) {
		t.Run(tc.name, func(t *testing.T) {
			clearEnv(t)
			for name, value := range tc.env {
				t.Setenv(name, value)
			}
			m := platform.Machine{OS: tc.os}
			if lines, ok := others()[tc.machine]; ok {
				m = platformtest.Of(t, lines)
			} else if tc.machine != "" {
				m = platformtest.Machine(t, tc.machine)
			}
			p := m.Place()
			if p.Cloud != tc.cloud || p.Service != tc.service || !strings.Contains(p.Why, tc.why) || (p.Why == "") != (tc.cloud == "") {
				t.Errorf("got %q, service %q, because %q", p.Cloud, p.Service, p.Why)
			}
			got := [...]platform.Chance{p.Metadata(platform.AWS), p.Metadata(platform.Azure), p.Metadata(platform.Google)}
			if want := [...]platform.Chance{tc.aws, tc.azure, tc.google}; got != want {
				t.Errorf("the metadata services of AWS, Azure and Google are there %v, want %v", got, want)
			}
			if (p.Name() == "") != (tc.cloud == "" && tc.service == "") {
				t.Errorf("its name is %q", p.Name())
			}
		})
	}
}

func TestOnlyLambdaIsLambda(t *testing.T) {
	clearEnv(t)
	t.Setenv("AWS_EXECUTION_ENV", "AWS_ECS_EC2")
	if platform.OnLambda() {
		t.Error("ECS is taken for Lambda")
	}
	for _, name := range []string{"AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_RUNTIME_API"} {
		clearEnv(t)
		t.Setenv(name, "x")
		if !platform.OnLambda() {
			t.Errorf("%s is set", name)
		}
	}
}

// Whatever stands where the firmware should be, nothing of it is believed that
// is not a short line of text.
func TestAFirmwareThatCannotBeReadTellsNothing(t *testing.T) {
	clearEnv(t)
	long, binary := strings.Repeat("Amazon EC2 ", 100), "Dell\x00\x01"
	for name, dir := range map[string]string{
		"no directory": filepath.Join(t.TempDir(), "none"),
		"long":         platformtest.Of(t, vars{"sys_vendor": long}).DMI,
		"binary":       platformtest.Of(t, vars{"sys_vendor": binary}).DMI,
		"a folder":     folder(t, "sys_vendor"),
	} {
		if p := (platform.Machine{OS: "linux", DMI: dir}).Place(); p != (platform.Place{}) {
			t.Errorf("%s: got %+v", name, p)
		}
	}
}

func folder(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}
