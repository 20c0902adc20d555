package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// A stamp is what figures depend on.
type stamp struct {
	date, machine, load string
	modules             []string
}

func (s stamp) String() string {
	machine := s.machine
	if machine == "" {
		machine = "an unknown processor"
	}
	return fmt.Sprintf("%s, %s, %s/%s, %d CPUs%s, %s", s.date, machine, runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), s.load,
		strings.Join(append([]string{runtime.Version()}, s.modules...), ", "))
}

// takeStamp is taken once, before anything is run.
func takeStamp(ctx context.Context, goes command) stamp {
	s := stamp{date: time.Now().UTC().Format(time.DateOnly), machine: processor(), modules: modules(ctx, goes)}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		minute, _, _ := strings.Cut(string(load), " ")
		s.load = ", load average " + minute + " at the start"
		if n, err := strconv.ParseFloat(minute, 64); err == nil && n >= 1 {
			s.load = ", shared with other work" + s.load
		}
	}
	return s
}

// processor names the CPU where the system tells.
func processor() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for l := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// modules are the versions of what is compared: what this module requires by itself.
func modules(ctx context.Context, goes command) []string {
	out, err := goes(ctx, io.Discard, "list", "-m", "-f", "{{if not .Indirect}}{{.Path}} {{.Version}}{{end}}", "all")
	if err != nil {
		return nil
	}
	var list []string
	for l := range strings.Lines(string(out)) {
		if path, version, ok := strings.Cut(strings.TrimSpace(l), " "); ok && version != "" && !strings.Contains(path, "latchkey") {
			list = append(list, strings.TrimPrefix(path, "github.com/")+" "+version)
		}
	}
	return list
}
