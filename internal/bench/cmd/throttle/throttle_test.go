package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestUnknownArgumentsAreRefused(t *testing.T) {
	for _, args := range [][]string{
		{"drop"}, {"-drop"}, {"-quick", "drop"},
		{"-scenario", "nothing"}, {"-scenario", "drop,"}, {"-scenario", "drop,nothing"},
		{"-clients", "nothing"}, {"-clients", "latchkey,nothing"},
	} {
		// A canceled context keeps what is not refused from running.
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		err := run(ctx, args, io.Discard)
		if err == nil || strings.Contains(err.Error(), context.Canceled.Error()) {
			t.Errorf("%q: %v, want it to be refused", args, err)
		}
	}
}

func TestHelpIsNoError(t *testing.T) {
	var out strings.Builder
	if err := run(context.Background(), []string{"-help"}, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"processes4", "aws-adaptive", "-svg", "-md", "-quick"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the usage does not name %s:\n%s", want, &out)
		}
	}
}

// TestPageAndChartAreWritten runs for as long as the scenario takes: less than
// a second if the machine has nothing else to do.
func TestPageAndChartAreWritten(t *testing.T) {
	dir := t.TempDir()
	md, svg, summary := filepath.Join(dir, "page.md"), filepath.Join(dir, "chart.svg"), filepath.Join(dir, "summary.md")
	var out strings.Builder
	if err := run(context.Background(), []string{
		"-quick", "-scenario", "workers10", "-clients", "openai-go,aws-adaptive", "-md", md, "-svg", svg, "-summary", summary,
	}, &out); err != nil {
		t.Fatal(err)
	}
	page := read(t, md)
	if page != out.String() {
		t.Errorf("the file is not what was printed:\n%s", page)
	}
	for _, want := range []string{"go1.", "(chart.svg)", "| openai-go | 20 | 20 | 0 | 20 |", "| aws-adaptive | 20 |", "| the limit | 20 |"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q:\n%s", want, page)
		}
	}
	want := "| scenario | the limit | openai-go | aws-adaptive |\n|---|--:|--:|--:|\n| workers10 | 0 of 20, 1.00 | 0 of 20, 1.00 | 0 of 20, 1.00 |\n"
	if text := read(t, summary); text != want {
		t.Errorf("the summary is\n%swant\n%s", text, want)
	}
	if chart := read(t, svg); !strings.Contains(chart, "<svg") || !strings.Contains(chart, "aws-adaptive") {
		t.Errorf("the chart is %q", chart)
	}
}

func TestAStopIsAnError(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := run(ctx, []string{"-quick", "-scenario", "workers10", "-clients", "openai-go"}, io.Discard); err == nil {
		t.Error("no error from a run that was stopped")
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
