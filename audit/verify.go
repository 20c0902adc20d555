package audit

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// VerifyOptions configure [Verify]. Nil is the zero VerifyOptions.
type VerifyOptions struct {
	// Keys are the public keys of the processes that have written. Without one,
	// signatures are not checked, and whoever can write the file may have replaced
	// all of it.
	Keys []ed25519.PublicKey
	// After is the LastHash of the Report on the file before; empty is none, and
	// then the first line must be number 1.
	After string
	// Closed demands that the last line says that the process has closed the log.
	// Without it, lines that are missing at the end are not noticed.
	Closed bool
	// From and To restrict Report.Uses to the sends that began in this time; zero
	// is all.
	From, To time.Time
}

// A Report is what [Verify] has found.
type Report struct {
	// Lines is how many lines are in order.
	Lines int64
	// LastHash is the hash of the last of them: After for the next file of several.
	LastHash string
	// First and Last are the times of the first and the last line.
	First, Last time.Time
	// Unsigned is how many lines come after the last signature that was checked.
	// Whoever can write the file may have changed or removed them.
	Unsigned int64
	// Closed is whether the last line says that the process has closed the log. The
	// end of a file that is not closed may be missing.
	Closed bool
	// Incomplete is the number of bytes after the last whole line: of a process
	// that was killed while it wrote.
	Incomplete int64
	// Dropped is how many records the lines say are lost.
	Dropped int64
	// Uses are the credentials that sends went out with, by tenant, source and
	// version.
	Uses []Use
}

// A Use is what one version of a credential was used for.
type Use struct {
	// Tenant, Source, Version and Fingerprint name the credential.
	Tenant, Source, Version, Fingerprint string
	// Sends is how many sends went out with it, and Refused how many of them the
	// service refused because of it.
	Sends, Refused int64
	// Input and Output are the tokens that the answers reported.
	Input, Output int64
	// First and Last are when the first and the last send began.
	First, Last time.Time
}

// A TamperError says which line is not as it was written.
type TamperError struct {
	// Line counts the lines of the file from 1.
	Line int64
	// What says what is wrong with it.
	What string
}

// Error says what is wrong with which line.
func (e *TamperError) Error() string { return fmt.Sprintf("audit: line %d %s", e.Line, e.What) }

// Verify reads a log and checks that each line is chained to the one before and
// that the signatures are those of opts.Keys. It returns a [*TamperError] for the
// first line that was changed, removed or put elsewhere, and another error if r
// fails. The Report is about the lines before that.
//
// A change of a line shows in the next one. So the last line is only proved if it
// is signed, as that of a log that was closed is.
func Verify(r io.Reader, opts *VerifyOptions) (*Report, error) {
	v := &verifier{report: &Report{LastHash: noHash}, uses: map[identity]*Use{}}
	if opts != nil {
		v.opts = *opts
	}
	if v.opts.After != "" {
		v.report.LastHash = v.opts.After
	}
	v.in = bufio.NewReaderSize(r, longestLine)
	err := v.run()
	for _, u := range v.uses {
		v.report.Uses = append(v.report.Uses, *u)
	}
	slices.SortFunc(v.report.Uses, func(a, b Use) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Source, b.Source), a.First.Compare(b.First), cmp.Compare(a.Version, b.Version))
	})
	return v.report, err
}

// A verifier holds one line back: a change of it shows in the next one.
type verifier struct {
	opts    VerifyOptions
	in      *bufio.Reader
	report  *Report
	uses    map[identity]*Use
	pending *parsed // the line that the next one has to prove
}

// A parsed is a line as it was read.
type parsed struct {
	line
	raw  []byte
	hash string
}

func (v *verifier) run() error {
	for {
		p, err := v.next()
		if err != nil || p == nil {
			if last := v.settle(); last != nil {
				return last
			}
			if err == nil && v.opts.Closed && (!v.report.Closed || v.report.Incomplete > 0) {
				err = &TamperError{What: "is not the end of a log that was closed: lines are missing, or it is still written"}
			}
			return v.placed(err)
		}
		if err := v.take(p); err != nil {
			return err
		}
	}
}

// next reads a line; nil at the end.
func (v *verifier) next() (*parsed, error) {
	raw, err := v.in.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, &TamperError{What: "is longer than any that was written"}
	case errors.Is(err, io.EOF):
		v.report.Incomplete = int64(len(raw))
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("audit: %w", err)
	}
	p := &parsed{raw: bytes.Clone(raw), hash: hashOf(raw)}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if d.Decode(&p.line) != nil || !errors.Is(d.Decode(&line{}), io.EOF) {
		return nil, &TamperError{What: "is none that was written"}
	}
	return p, nil
}

// placed says that an error is about the line that comes next.
func (v *verifier) placed(err error) error {
	if t := (*TamperError)(nil); errors.As(err, &t) {
		t.Line = v.report.Lines + 1
	}
	return err
}

// take checks the line against the pending one, which it proves.
func (v *verifier) take(p *parsed) error {
	if v.pending == nil {
		if v.opts.After == "" && p.N != 1 {
			return v.placed(&TamperError{What: fmt.Sprintf("is number %d: what was before it is missing; give After for the next file of several", p.N)})
		}
		if p.Prev != v.report.LastHash {
			return v.placed(&TamperError{What: "does not continue what was before"})
		}
		v.pending = p
		return nil
	}
	n := v.pending.N
	if p.Prev != v.pending.hash && p.N == n+1 && !v.intact(p) {
		if err := v.settle(); err != nil {
			return err
		}
		return v.placed(&TamperError{What: "was changed"})
	}
	if p.Prev != v.pending.hash && p.N == n+1 {
		return v.placed(&TamperError{What: "was changed"})
	}
	if err := v.settle(); err != nil {
		return err
	}
	if p.N != n+1 {
		return v.placed(&TamperError{What: fmt.Sprintf("is number %d, not %d: it was changed, or lines are missing or were put elsewhere", p.N, n+1)})
	}
	v.pending = p
	return nil
}

// intact reports whether the line after p has its hash, so that what does not fit
// to it is the line before.
func (v *verifier) intact(p *parsed) bool {
	after, err := v.next()
	if err == nil && after != nil {
		return after.Prev == p.hash
	}
	_, forged := v.signed(p)
	return forged == nil
}

// settle takes the pending line into the report.
func (v *verifier) settle() error {
	p := v.pending
	if p == nil {
		return nil
	}
	v.pending = nil
	signed, err := v.signed(p)
	if err != nil {
		return v.placed(err)
	}
	r := v.report
	t, _ := time.Parse(time.RFC3339Nano, p.Time)
	if r.Lines == 0 {
		r.First = t
	}
	r.Lines++
	r.LastHash, r.Last, r.Closed = p.hash, t, p.Kind == kindEnd
	r.Dropped += p.Dropped
	if r.Unsigned++; signed {
		r.Unsigned = 0
	}
	if p.Kind == kindSend && p.Send != nil {
		v.use(&p.line, t)
	}
	return nil
}

// signed checks the signature of a line that has one.
func (v *verifier) signed(p *parsed) (bool, error) {
	if p.KeyID == "" || len(v.opts.Keys) == 0 {
		return false, nil
	}
	for _, key := range v.opts.Keys {
		if len(key) != ed25519.PublicKeySize || keyID(key) != p.KeyID {
			continue
		}
		at := bytes.LastIndex(p.raw, []byte(sigField))
		sig, err := base64.StdEncoding.DecodeString(p.Sig)
		if at < 0 || err != nil || !ed25519.Verify(key, p.raw[:at], sig) || string(p.raw[at:]) != sigField+p.Sig+"\"}\n" {
			return false, &TamperError{What: "has a signature that is not of what it says"}
		}
		return true, nil
	}
	return false, &TamperError{What: "is signed with a key that was not given"}
}

// use counts a send.
func (v *verifier) use(l *line, t time.Time) {
	if !v.opts.From.IsZero() && t.Before(v.opts.From) || !v.opts.To.IsZero() && t.After(v.opts.To) {
		return
	}
	k := identity{l.Tenant, l.Source, l.Version}
	u := v.uses[k]
	if u == nil {
		u = &Use{Tenant: l.Tenant, Source: l.Source, Version: l.Version, First: t, Last: t}
		v.uses[k] = u
	}
	u.Sends++
	if l.Send.Refused {
		u.Refused++
	}
	u.Input += l.Send.Input
	u.Output += l.Send.Output
	if l.Fingerprint != "" {
		u.Fingerprint = l.Fingerprint
	}
	if t.Before(u.First) {
		u.First = t
	}
	if t.After(u.Last) {
		u.Last = t
	}
}
