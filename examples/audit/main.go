// Audit checks the logs that package audit writes.
//
//	go run ./examples/audit verify [-key FILE] [-closed] [-from TIME] [-to TIME] FILE...
//	go run ./examples/audit replay [-rotate DURATION] FILE...
//
// Verify: the files are checked in the order given, as parts of one log: what was rotated
// comes first. It prints the first line that was changed, removed or put elsewhere,
// or else what the log is about, and which version of which credential served how
// many sends between two times (RFC 3339). FILE of -key holds the public key, as
// openssl pkey -pubout prints it; more than one may be given. The exit status is 1
// if the log is not as it was written, and 2 if it could not be checked.
//
// Replay prints what package audit/anomaly finds in the logs, which may be those of
// several processes, in any order. -rotate is how often credentials are to be rotated,
// as in 720h. The exit status is 1 if there are alerts, and 2 if a file could not be
// read.
package main

import (
	"crypto/ed25519"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/latchkey-go/latchkey/audit"
)

const (
	tampered  = 1
	unchecked = 2
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, out, errs io.Writer) int {
	if len(args) > 0 && args[0] == "replay" {
		return replay(args[1:], out, errs)
	}
	if len(args) == 0 || args[0] != "verify" {
		_, _ = fmt.Fprintln(errs, "usage: audit verify [-key FILE] [-closed] [-from TIME] [-to TIME] FILE...\n       audit replay [-rotate DURATION] FILE...")
		return unchecked
	}
	opts, files, err := parse(args[1:], errs)
	if err != nil {
		_, _ = fmt.Fprintln(errs, "audit:", err)
		return unchecked
	}
	err = verify(out, files, opts)
	if changed := (*audit.TamperError)(nil); errors.As(err, &changed) {
		_, _ = fmt.Fprintln(out, err)
		return tampered
	}
	if err != nil {
		_, _ = fmt.Fprintln(errs, "audit:", err)
		return unchecked
	}
	return 0
}

func parse(args []string, errs io.Writer) (opts audit.VerifyOptions, files []string, err error) {
	flags := flag.NewFlagSet("audit verify", flag.ContinueOnError)
	flags.SetOutput(errs)
	flags.Func("key", "`file` with a public key; may be repeated", func(path string) error {
		key, err := publicKey(path)
		opts.Keys = append(opts.Keys, key)
		return err
	})
	flags.BoolVar(&opts.Closed, "closed", false, "the process has ended in good order: the log must say so")
	for name, to := range map[string]*time.Time{"from": &opts.From, "to": &opts.To} {
		flags.Func(name, "count only sends `"+name+"` this time", func(text string) error {
			t, err := time.Parse(time.RFC3339, text)
			*to = t
			return err //nolint:wrapcheck // flag names the argument
		})
	}
	if err := flags.Parse(args); err != nil {
		return opts, nil, errors.New("see above")
	}
	if flags.NArg() == 0 {
		return opts, nil, errors.New("no FILE; give those of one log, the oldest first")
	}
	return opts, flags.Args(), nil
}

func publicKey(path string) (ed25519.PublicKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err //nolint:wrapcheck // it names the file
	}
	return audit.ParsePublicKey(string(text)) //nolint:wrapcheck // it says what is wrong
}

// verify checks the files as one log, and prints what is in it.
func verify(out io.Writer, files []string, opts audit.VerifyOptions) error {
	closed := opts.Closed
	var uses []audit.Use
	for i, path := range files {
		opts.Closed = closed && i == len(files)-1
		report, err := verifyFile(path, opts)
		if report != nil {
			tell(out, path, report, len(opts.Keys) > 0)
			uses = append(uses, report.Uses...)
			opts.After = report.LastHash
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return table(out, merged(uses))
}

func verifyFile(path string, opts audit.VerifyOptions) (*audit.Report, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err //nolint:wrapcheck // it names the file
	}
	defer func() { _ = f.Close() }() // it was only read
	return audit.Verify(f, &opts)    //nolint:wrapcheck // it says what is wrong
}

func tell(out io.Writer, path string, r *audit.Report, keys bool) {
	_, _ = fmt.Fprintf(out, "%s: %d lines are in order, from %s to %s\n", path, r.Lines, r.First.Format(time.RFC3339), r.Last.Format(time.RFC3339))
	switch {
	case !keys:
		_, _ = fmt.Fprintln(out, "  no signature was checked: give -key")
	case r.Unsigned > 0:
		_, _ = fmt.Fprintf(out, "  the last %d lines come after the last signature: they may have been changed\n", r.Unsigned)
	}
	if r.Incomplete > 0 {
		_, _ = fmt.Fprintf(out, "  %d bytes at the end are no whole line: the process was killed while it wrote\n", r.Incomplete)
	}
	if r.Dropped > 0 {
		_, _ = fmt.Fprintf(out, "  %d records were lost, as the lines say\n", r.Dropped)
	}
}

// merged adds up what files say of the same credential.
func merged(uses []audit.Use) []audit.Use {
	type name struct{ tenant, source, version string }
	at := map[name]int{}
	var sum []audit.Use
	for _, u := range uses {
		k := name{u.Tenant, u.Source, u.Version}
		i, ok := at[k]
		if !ok {
			at[k] = len(sum)
			sum = append(sum, u)
			continue
		}
		s := &sum[i]
		s.Sends, s.Refused, s.Input, s.Output = s.Sends+u.Sends, s.Refused+u.Refused, s.Input+u.Input, s.Output+u.Output
		if u.First.Before(s.First) {
			s.First = u.First
		}
		if u.Last.After(s.Last) {
			s.Last = u.Last
		}
	}
	return sum
}

func table(out io.Writer, uses []audit.Use) error {
	if len(uses) == 0 {
		_, err := fmt.Fprintln(out, "no sends")
		return err //nolint:wrapcheck // of the terminal
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "tenant\tcredential\tversion\tfingerprint\tsends\trefused\tinput\toutput\tfirst\tlast")
	for _, u := range uses {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\t%s\n", dash(u.Tenant), dash(u.Source), dash(u.Version), dash(u.Fingerprint),
			u.Sends, u.Refused, u.Input, u.Output, u.First.Format(time.RFC3339), u.Last.Format(time.RFC3339))
	}
	return w.Flush() //nolint:wrapcheck // of the terminal
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
