// Package platform tells where a process runs: by the variables that platforms
// set for the programs that they run, and on Linux by what the firmware says of
// the machine. It asks no network. All packages that go to a metadata service
// ask here first.
package platform

import (
	"context"
	"os"
	"runtime"
	"strings"
)

// A Cloud is whose machine a process runs on.
type Cloud string

const (
	// Unknown is a machine that does not tell.
	Unknown Cloud = ""
	// AWS is Amazon's cloud.
	AWS Cloud = "AWS"
	// Azure is the cloud of Microsoft.
	Azure Cloud = "Azure"
	// Google is the cloud of Google.
	Google Cloud = "Google Cloud"
	// Other is a machine of none of these: a laptop, a server in a rack, another
	// cloud.
	Other Cloud = "another machine"
)

// Services that matter by their names.
const (
	// Lambda is AWS Lambda.
	Lambda = "AWS Lambda"
	// Fargate is Amazon ECS without machines of one's own.
	Fargate = "AWS Fargate"
	// Kubernetes is any cluster.
	Kubernetes = "Kubernetes"
)

// A Place is where a process runs.
type Place struct {
	// Cloud is whose machine it is.
	Cloud Cloud
	// Service is the platform that runs the program, if its variables tell: a
	// service of Cloud, or Kubernetes. It is empty on a virtual machine and on a
	// machine of one's own.
	Service string
	// Why is what tells: "AWS_LAMBDA_FUNCTION_NAME is set", or
	// `sys_vendor is "Amazon EC2"`. It is empty if Cloud is Unknown.
	Why string

	mac bool
}

// A Chance is how likely a metadata service of a cloud is there.
type Chance int

const (
	// Perhaps means that nothing tells: a question of bounded time may be asked.
	Perhaps Chance = iota
	// Never means that it is known not to be there, and must not be asked: at its address
	// somebody else may answer.
	Never
	// Surely means that the machine is one that has it. If it does not answer, that is a
	// failure.
	Surely
)

// Metadata returns the chance that the metadata service of the virtual machines
// of a cloud can be reached.
func (p Place) Metadata(of Cloud) Chance {
	switch {
	case p.Cloud == Unknown && p.mac && of != AWS: // which alone has Macs
		return Never
	case p.Cloud == Unknown:
		return Perhaps
	case p.Cloud != of:
		return Never
	case p.Service == Lambda || p.Service == Fargate || of == Azure && p.Service != "" && p.Service != Kubernetes:
		return Never // the platform names another endpoint, if there is an identity
	}
	return Surely
}

// Name is what to call the place in an error; empty if nothing is known.
func (p Place) Name() string {
	switch {
	case p.Service != "":
		return p.Service
	case p.Cloud == Other:
		return "this machine"
	}
	return string(p.Cloud)
}

// A marker is a variable that a platform sets.
type marker struct {
	cloud   Cloud
	service string
	name    string
}

// markers lists the variables that a platform sets for each program that it
// runs, and nobody else does.
func markers() []marker {
	return []marker{
		{AWS, Lambda, "AWS_LAMBDA_FUNCTION_NAME"},
		{AWS, Lambda, "AWS_LAMBDA_RUNTIME_API"},
		{AWS, "Amazon ECS", "ECS_CONTAINER_METADATA_URI_V4"},
		{AWS, "Amazon ECS", "ECS_CONTAINER_METADATA_URI"},
		{AWS, "AWS", "AWS_EXECUTION_ENV"},
		{Google, "Cloud Run", "K_SERVICE"},
		{Google, "Cloud Run", "CLOUD_RUN_JOB"},
		{Google, "App Engine", "GAE_SERVICE"},
		{Azure, "Azure App Service", "WEBSITE_SITE_NAME"},
		{Azure, "Azure App Service", "WEBSITE_INSTANCE_ID"},
		{Azure, "Azure Container Apps", "CONTAINER_APP_NAME"},
		{Azure, "Azure Functions", "FUNCTIONS_WORKER_RUNTIME"},
	}
}

// hints lists the variables that configure an identity of a platform. They are
// mostly set by it, but also travel: a program in one cloud may log in to
// another. What the machine says of itself counts for more.
func hints() []marker {
	return []marker{
		{AWS, "AWS", "AWS_CONTAINER_CREDENTIALS_FULL_URI"},
		{AWS, "AWS", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"},
		{AWS, "AWS", "AWS_WEB_IDENTITY_TOKEN_FILE"},
		{Azure, "Azure", "IDENTITY_ENDPOINT"},
		{Azure, "Azure", "MSI_ENDPOINT"},
		{Azure, "Azure", "AZURE_FEDERATED_TOKEN_FILE"},
	}
}

// Variables returns the names of all variables that Place looks at, for tests
// that start from an empty environment.
func Variables() []string {
	names := []string{"KUBERNETES_SERVICE_HOST", "AZURE_FUNCTIONS_ENVIRONMENT"}
	for _, m := range append(markers(), hints()...) {
		names = append(names, m.name)
	}
	return names
}

// A Machine is what to look at besides the environment. The
// zero Machine is the one that the process runs on; tests make others.
type Machine struct {
	// OS is the operating system, as runtime.GOOS; empty is this one.
	OS string
	// DMI is the directory of what the firmware says of the machine; empty is
	// /sys/class/dmi/id on Linux, and none elsewhere.
	DMI string
}

type machineKey struct{}

// On returns a context for a read on m. A source that is read with it takes m
// for the machine that it runs on.
func On(ctx context.Context, m Machine) context.Context {
	return context.WithValue(ctx, machineKey{}, m)
}

// From returns the Machine that a read with ctx is on: the zero Machine, except
// in tests.
func From(ctx context.Context) Machine {
	m, _ := ctx.Value(machineKey{}).(Machine)
	return m
}

// OnLambda reports whether the process runs in AWS Lambda. It reads two
// variables, and no file.
func OnLambda() bool {
	return os.Getenv("AWS_LAMBDA_FUNCTION_NAME") != "" || os.Getenv("AWS_LAMBDA_RUNTIME_API") != ""
}

// Place returns where a process on m runs. It reads the environment anew each
// time.
func (m Machine) Place() Place {
	if m.OS == "" {
		m.OS = runtime.GOOS
	}
	if m.DMI == "" && m.OS == "linux" {
		m.DMI = "/sys/class/dmi/id"
	}
	pod := os.Getenv("KUBERNETES_SERVICE_HOST") != ""
	if p, ok := marked(pod); ok {
		return p
	}
	p := Place{mac: m.OS == "darwin"}
	p.Cloud, p.Why = firmware(m.DMI)
	if p.Cloud == Unknown {
		if h, ok := hinted(); ok {
			p.Cloud, p.Service, p.Why = h.Cloud, h.Service, h.Why
		}
	}
	if pod {
		p.Service = Kubernetes
	}
	return p
}

// marked returns the Place of the first marker that is set.
func marked(pod bool) (Place, bool) {
	for _, m := range markers() {
		value := os.Getenv(m.name)
		switch {
		case value == "":
			continue
		case m.name == "K_SERVICE" && pod: // Knative, on whatever cluster
			continue
		case m.name == "FUNCTIONS_WORKER_RUNTIME" && os.Getenv("AZURE_FUNCTIONS_ENVIRONMENT") == "Development":
			continue // the Core Tools on the machine of a developer
		}
		p := Place{Cloud: m.cloud, Service: m.service, Why: m.name + " is set"}
		switch kind := os.Getenv("AWS_EXECUTION_ENV"); {
		case m.cloud != AWS || m.service == Lambda:
		case kind == "AWS_ECS_FARGATE":
			p.Service = Fargate
		case strings.HasPrefix(kind, "AWS_ECS_"):
			p.Service = "Amazon ECS"
		}
		return p, true
	}
	return Place{}, false
}

// hinted returns the Place that the hints agree on.
func hinted() (Place, bool) {
	found := Place{}
	for _, m := range hints() {
		switch {
		case os.Getenv(m.name) == "":
		case found.Cloud == Unknown:
			found = Place{Cloud: m.cloud, Service: m.service, Why: m.name + " is set"}
		case found.Cloud != m.cloud:
			return Place{}, false
		}
	}
	return found, found.Cloud != Unknown
}
