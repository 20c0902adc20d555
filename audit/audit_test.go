package audit_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/audit"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

const canary = "sk-CANARY-audit-0123456789abcdef"

var (
	seed      = bytes.Repeat([]byte{7}, ed25519.SeedSize)
	publicKey = ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey) //nolint:forcetypeassert // it is one
)

func secret(text string) credential.Source {
	return credential.Static(credential.NewSecret(text), credential.APIKey)
}

func signingKey() credential.Source { return secret(base64.StdEncoding.EncodeToString(seed)) }

func newLog(t testing.TB, opts audit.Options) *audit.Log {
	t.Helper()
	if opts.Process == "" {
		opts.Process = "test"
	}
	l, err := audit.New(t.Context(), &opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close(context.Background()) })
	return l
}

func closeLog(t testing.TB, l *audit.Log) {
	t.Helper()
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// send is a send as a client would observe it.
func send(n int) *middleware.Send {
	at := time.Date(2026, 11, 26, 12, 0, 0, n, time.UTC)
	return &middleware.Send{
		Number: 1, Method: "POST", Host: "api.openai.com", Path: "/v1/responses", Model: "gpt-4.1", Status: 200, RequestID: fmt.Sprintf("req_%d", n),
		Credential: middleware.Identity{Source: "awssecretsmanager:prod/openai", Version: fmt.Sprintf("v%d", n%3)}, Started: at, Ended: at.Add(time.Second),
		Usage: middleware.Usage{Reported: true, Input: 10, Output: 20, Model: "gpt-4.1-2025-04-14", Finish: "completed"},
	}
}

// written returns a log of n sends that was closed.
func written(t testing.TB, n int, opts audit.Options) []byte {
	t.Helper()
	var out bytes.Buffer
	opts.Writer = &out
	opts.Queue = max(opts.Queue, n+1)
	l := newLog(t, opts)
	for i := range n {
		l.Observe(t.Context(), send(i))
	}
	closeLog(t, l)
	return out.Bytes()
}

func verify(t testing.TB, text []byte, opts audit.VerifyOptions) (*audit.Report, error) {
	t.Helper()
	opts.Keys = append(opts.Keys, publicKey)
	return audit.Verify(bytes.NewReader(text), &opts)
}

func TestALineTellsWhoDidWhatWithWhichCredential(t *testing.T) {
	var out bytes.Buffer
	key := strings.Repeat("k", 32)
	l := newLog(t, audit.Options{Writer: &out, SigningKey: signingKey(), FingerprintKey: secret(key)})
	src := l.Source("acme", credential.SourceFunc(func(context.Context) (credential.Value, error) {
		return credential.Value{Secret: credential.NewSecret(canary), Source: "vault:acme", Version: "3"}, nil
	}))
	if _, err := src.Retrieve(t.Context()); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	l.OnEvent(credential.Event{Kind: credential.EventRejected, Time: at, Tenant: "acme", Source: "vault:acme", Version: "3", Expires: at.Add(time.Hour), Err: errors.New("refused")})
	s := send(1)
	s.Credential = middleware.Identity{Tenant: "acme", Source: "vault:acme", Version: "3", Refused: true}
	s.Status, s.Err, s.Reason = 401, errors.New("reading: cut"), "replay 401"
	l.Observe(t.Context(), s)
	closeLog(t, l)

	var lines []map[string]any
	for text := range bytes.Lines(out.Bytes()) {
		var m map[string]any
		if err := json.Unmarshal(text, &m); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, m)
	}
	print := audit.Fingerprint([]byte(key), credential.NewSecret(canary))
	if len(lines) != 4 || len(print) != 32 {
		t.Fatalf("%d lines, fingerprint of %d", len(lines), len(print))
	}
	for name, want := range map[string]any{
		"kind": "credential", "event": "rejected", "tenant": "acme", "source": "vault:acme", "version": "3", "fingerprint": print, "process": "test",
		"time": "2026-11-26T12:00:00Z", "expires": "2026-11-26T13:00:00Z", "error": "refused",
	} {
		if lines[1][name] != want {
			t.Errorf("event: %s = %v, want %v", name, lines[1][name], want)
		}
	}
	for name, want := range map[string]any{"kind": "send", "tenant": "acme", "fingerprint": print, "error": "reading: cut"} {
		if lines[2][name] != want {
			t.Errorf("send: %s = %v, want %v", name, lines[2][name], want)
		}
	}
	got, _ := lines[2]["send"].(map[string]any)
	for name, want := range map[string]any{
		"reason": "replay 401", "status": 401.0, "refused": true, "request_id": "req_1", "model": "gpt-4.1", "answered_by": "gpt-4.1-2025-04-14",
		"usage": true, "input_tokens": 10.0, "output_tokens": 20.0, "ms": 1000.0, "path": "/v1/responses",
	} {
		if got[name] != want {
			t.Errorf("send: %s = %v, want %v", name, got[name], want)
		}
	}
	for _, printed := range []string{out.String(), fmt.Sprintf("%v %+v %#v", l, l, src), fmt.Sprintf("%+v", src)} {
		if strings.Contains(printed, "CANARY") || strings.Contains(printed, key) {
			t.Error("a secret was printed")
		}
	}
	if _, err := verify(t, out.Bytes(), audit.VerifyOptions{Closed: true}); err != nil {
		t.Error(err)
	}
}

// 10,000 edits of a log, each at random: every one is found, with its line.
func TestEveryEditIsFoundWithItsLine(t *testing.T) {
	text := written(t, 30, audit.Options{SigningKey: signingKey(), Every: 10})
	lines := bytes.SplitAfter(text, []byte("\n"))
	lines = lines[:len(lines)-1]
	if report, err := verify(t, text, audit.VerifyOptions{Closed: true}); err != nil || report.Lines != int64(len(lines)) || report.Unsigned != 0 {
		t.Fatalf("%+v, %v", report, err)
	}
	random := rand.New(rand.NewPCG(3, 4))
	for i := range 10_000 {
		edited, want, what := edit(random, lines)
		_, err := verify(t, bytes.Join(edited, nil), audit.VerifyOptions{Closed: true})
		var tampered *audit.TamperError
		if !errors.As(err, &tampered) || tampered.Line != int64(want) {
			t.Fatalf("edit %d, %s of line %d: %v", i, what, want, err)
		}
	}
}

// edit makes one change, and tells in which line.
func edit(random *rand.Rand, lines [][]byte) (edited [][]byte, line int, what string) {
	k := random.IntN(len(lines))
	before, after := lines[:k], lines[k+1:]
	join := func(parts ...[][]byte) [][]byte {
		var all [][]byte
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	switch random.IntN(5) {
	case 0: // a byte becomes another one
		changed := bytes.Clone(lines[k])
		at := random.IntN(len(changed))
		for old := changed[at]; changed[at] == old; {
			changed[at] = byte(random.IntN(256))
		}
		return join(before, [][]byte{changed}, after), k + 1, fmt.Sprintf("byte %d", at)
	case 1:
		return join(before, after), k + 1, "removal"
	case 2:
		return join(lines[:k+1], lines[k:]), k + 2, "doubling"
	case 3: // two change places
		j := random.IntN(len(lines))
		if j == k {
			j = (k + 1) % len(lines)
		}
		all := join(lines)
		all[k], all[j] = all[j], all[k]
		return all, min(k, j) + 1, "exchange"
	default: // what is written is exchanged, and the hash of the line put right
		changed := bytes.Replace(lines[k], []byte(`"process":"test"`), []byte(`"process":"tess"`), 1)
		return join(before, [][]byte{changed}, after), k + 1, "rewriting"
	}
}

// Who rewrites a log from some line on, with all hashes right, fails at the next
// signature, and without the key a log proves nothing beyond its chain.
func TestARewrittenLogFailsAtTheNextSignature(t *testing.T) {
	own := bytes.Repeat([]byte{9}, ed25519.SeedSize)
	forged := written(t, 20, audit.Options{SigningKey: secret(base64.StdEncoding.EncodeToString(own)), Every: 10})
	var tampered *audit.TamperError
	if _, err := verify(t, forged, audit.VerifyOptions{}); !errors.As(err, &tampered) || tampered.Line != 11 {
		t.Errorf("another key: %v", err)
	}
	unsigned := written(t, 20, audit.Options{})
	report, err := verify(t, unsigned, audit.VerifyOptions{})
	if err != nil || report.Unsigned != 22 || !report.Closed {
		t.Errorf("without a key: %+v, %v", report, err)
	}
	if report, err := audit.Verify(bytes.NewReader(forged), nil); err != nil || report.Unsigned != report.Lines {
		t.Errorf("signatures that nobody checked: %+v, %v", report, err)
	}
}

func TestVerifyTellsWhichVersionServedWhichSends(t *testing.T) {
	text := written(t, 30, audit.Options{})
	base := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	report, err := verify(t, text, audit.VerifyOptions{From: base.Add(10), To: base.Add(21)})
	if err != nil || len(report.Uses) != 3 {
		t.Fatalf("%+v, %v", report, err)
	}
	for _, u := range report.Uses {
		if u.Sends != 4 || u.Input != 40 || u.Output != 80 || u.First.Before(base.Add(10)) || u.Last.After(base.Add(21)) {
			t.Errorf("%+v", u)
		}
	}
}

func TestCheckpointsComeByLinesAndByTime(t *testing.T) {
	text := written(t, 95, audit.Options{SigningKey: signingKey(), Every: 10})
	if n := bytes.Count(text, []byte(`"kind":"checkpoint"`)); n != 9 {
		t.Errorf("%d checkpoints by lines, want 9", n)
	}
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := newLog(t, audit.Options{Writer: &out, SigningKey: signingKey()})
		l.Observe(t.Context(), send(0))
		for minute := range 10 {
			time.Sleep(time.Minute + time.Second)
			synctest.Wait()
			if n := bytes.Count(out.Bytes(), []byte(`"kind":"checkpoint"`)); n != 1 {
				t.Errorf("%d checkpoints after minute %d, want 1", n, minute+1)
			}
		}
		closeLog(t, l)
	})
}

func TestNewRefusesWhatMakesNoLog(t *testing.T) {
	for name, opts := range map[string]*audit.Options{
		"nil":             nil,
		"no writer":       {},
		"negative":        {Writer: io.Discard, Every: -1},
		"no Ed25519 key":  {Writer: io.Discard, SigningKey: secret(canary)},
		"a short seed":    {Writer: io.Discard, SigningKey: secret(base64.StdEncoding.EncodeToString(seed[:31]))},
		"PEM of another":  {Writer: io.Discard, SigningKey: secret("-----BEGIN PRIVATE KEY-----\nQ0FOQVJZ\n-----END PRIVATE KEY-----\n")},
		"a store down":    {Writer: io.Discard, SigningKey: credential.Env("AUDIT_TEST_NO_SUCH_VARIABLE")},
		"a short key":     {Writer: io.Discard, FingerprintKey: secret("CANARY")},
		"no fingerprints": {Writer: io.Discard, FingerprintKey: credential.Env("AUDIT_TEST_NO_SUCH_VARIABLE")},
	} {
		_, err := audit.New(t.Context(), opts)
		if err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: accepted, or the error quotes the key", name)
		}
	}
}

func TestSlogGetsEachLineAsItIs(t *testing.T) {
	var out bytes.Buffer
	l := newLog(t, audit.Options{Writer: audit.Slog(slog.New(slog.NewJSONHandler(&out, nil))), SigningKey: signingKey()})
	l.Observe(t.Context(), send(0))
	closeLog(t, l)
	var lines []byte
	for text := range bytes.Lines(out.Bytes()) {
		var r struct{ Msg, Line string }
		if err := json.Unmarshal(text, &r); err != nil || r.Msg != "audit" {
			t.Fatalf("%s, %v", text, err)
		}
		lines = append(lines, r.Line+"\n"...)
	}
	if report, err := verify(t, lines, audit.VerifyOptions{Closed: true}); err != nil || report.Lines != 3 {
		t.Errorf("%+v, %v", report, err)
	}
}

// What comes from a server is cut, and is one line.
func TestALineIsBoundedWhateverAServerSends(t *testing.T) {
	var out bytes.Buffer
	l := newLog(t, audit.Options{Writer: &out, SigningKey: signingKey()})
	s := send(0)
	s.Path, s.RequestID, s.Usage.Model = strings.Repeat("\n\"", 5000), strings.Repeat("\xff", 600), strings.Repeat("ü", 300)+"\u2028"
	l.Observe(t.Context(), s)
	closeLog(t, l)
	if n := bytes.Count(out.Bytes(), []byte("\n")); n != 3 || out.Len() > 16<<10 {
		t.Errorf("%d lines, %d bytes", n, out.Len())
	}
	if _, err := verify(t, out.Bytes(), audit.VerifyOptions{Closed: true}); err != nil {
		t.Error(err)
	}
}
