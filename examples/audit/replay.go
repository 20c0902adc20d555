package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/latchkey-go/latchkey/audit/anomaly"
)

// found is the exit status if there are alerts.
const found = 1

func replay(args []string, out, errs io.Writer) int {
	flags := flag.NewFlagSet("audit replay", flag.ContinueOnError)
	flags.SetOutput(errs)
	rotate := flags.Duration("rotate", 0, "how often credentials are to be rotated; 0 is not looked at")
	if err := flags.Parse(args); err != nil {
		return unchecked
	}
	if flags.NArg() == 0 {
		_, _ = fmt.Fprintln(errs, "audit: no FILE; give the logs of all processes")
		return unchecked
	}
	n, err := alerts(out, flags.Args(), *rotate)
	switch {
	case err != nil:
		_, _ = fmt.Fprintln(errs, "audit:", err)
		return unchecked
	case n > 0:
		return found
	}
	_, _ = fmt.Fprintln(out, "nothing unusual")
	return 0
}

// alerts prints what is found in the files, and counts it.
func alerts(out io.Writer, paths []string, rotate time.Duration) (n int, err error) {
	w, err := anomaly.New(&anomaly.Options{RotateEvery: rotate, OnAlert: func(a anomaly.Alert) {
		n++
		_, _ = fmt.Fprintf(out, "%s  %s: %s\n", a.Time.Format(time.RFC3339), a.Rule, a.Text)
	}})
	if err != nil {
		return 0, err //nolint:wrapcheck // it says what is wrong
	}
	files := make([]io.Reader, 0, len(paths))
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return n, err //nolint:wrapcheck // it names the file
		}
		defer func() { _ = f.Close() }() // it was only read
		files = append(files, f)
	}
	return n, w.Replay(files...) //nolint:wrapcheck // it says what is wrong
}
