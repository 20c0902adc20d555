package audit_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/audit"
	"github.com/latchkey-go/latchkey/credential"
)

// pkcs8 returns a private key as openssl prints it.
func pkcs8(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// inFile is a key in a file, which is held to what all sources are.
func inFile(t *testing.T, text string) credential.Source {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return credential.File(path)
}

func TestASigningKeyIsReadInEachForm(t *testing.T) {
	text := pkcs8(t, ed25519.NewKeyFromSeed(seed))
	between := strings.Split(text, "\n")[1]
	for name, key := range map[string]credential.Source{
		"a seed":                         inFile(t, base64.StdEncoding.EncodeToString(seed)+"\n"),
		"the line between BEGIN and END": inFile(t, between+"\n"),
		"all of it": credential.SourceFunc(func(context.Context) (credential.Value, error) {
			return credential.Value{Secret: credential.NewSecret(text)}, nil
		}),
	} {
		if report, err := verify(t, written(t, 3, audit.Options{SigningKey: key}), audit.VerifyOptions{Closed: true}); err != nil || report.Unsigned != 0 {
			t.Errorf("%s: %+v, %v", name, report, err)
		}
	}
}

func TestASigningKeyOfAnotherKindIsRefused(t *testing.T) {
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text := pkcs8(t, other)
	for name, key := range map[string]string{
		"of another algorithm": strings.ReplaceAll(strings.TrimSpace(text[strings.Index(text, "\n"):strings.LastIndex(text, "-----END")]), "\n", ""),
		"no base64":            "CANARY/CANARY!",
		"no key":               base64.StdEncoding.EncodeToString([]byte("CANARY")),
	} {
		_, err := audit.New(t.Context(), &audit.Options{Writer: io.Discard, SigningKey: secret(key)})
		if err == nil || !strings.Contains(err.Error(), "no Ed25519 key") || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAPublicKeyIsReadInEachForm(t *testing.T) {
	der, err := x509.MarshalPKIXPublicKey(publicKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"PEM":    string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		"base64": base64.StdEncoding.EncodeToString(publicKey) + "\n",
	} {
		if key, err := audit.ParsePublicKey(text); err != nil || !key.Equal(publicKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if der, err = x509.MarshalPKIXPublicKey(&other.PublicKey); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"of another algorithm": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		"private":              pkcs8(t, ed25519.NewKeyFromSeed(seed)),
		"a byte too short":     base64.StdEncoding.EncodeToString(publicKey[:31]),
		"empty":                "",
	} {
		if _, err := audit.ParsePublicKey(text); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestASignatureIsCheckedWithTheKeyThatItNames(t *testing.T) {
	text := written(t, 3, audit.Options{SigningKey: signingKey()})
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, ed25519.SeedSize)).Public().(ed25519.PublicKey)
	for name, c := range map[string]struct {
		keys []ed25519.PublicKey
		says string
	}{
		"beside others":      {[]ed25519.PublicKey{nil, other[:31], other, publicKey}, ""},
		"of another alone":   {[]ed25519.PublicKey{other}, "signed with a key that was not given"},
		"of no length alone": {[]ed25519.PublicKey{publicKey[:31]}, "signed with a key that was not given"},
	} {
		_, err := audit.Verify(bytes.NewReader(text), &audit.VerifyOptions{Keys: c.keys})
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAFileThatIsMissingInBetweenIsNoticed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	f, err := audit.OpenFile(path, &audit.FileOptions{MaxSize: 4000})
	if err != nil {
		t.Fatal(err)
	}
	l := newLog(t, audit.Options{Writer: f, SigningKey: signingKey()})
	for i := range 50 {
		l.Observe(t.Context(), send(i))
	}
	closeLog(t, l)
	files, err := filepath.Glob(filepath.Join(filepath.Dir(path), "audit.*.jsonl"))
	if err != nil || len(files) < 3 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	report, err := verify(t, readFile(t, files[0]), audit.VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for after, says := range map[string]string{report.LastHash: "does not continue", "": "what was before it is missing"} {
		var tampered *audit.TamperError
		if _, err := verify(t, readFile(t, files[2]), audit.VerifyOptions{After: after}); !errors.As(err, &tampered) || tampered.Line != 1 || !strings.Contains(tampered.What, says) {
			t.Errorf("the third file after %q: %v", after, err)
		}
	}
}

func TestAFileThatIsClosedTakesNoLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	f, err := audit.OpenFile(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Close(), f.Close()); err != nil {
		t.Error(err)
	}
	if _, err := f.Write([]byte("{}\n")); !errors.Is(err, os.ErrClosed) || len(readFile(t, path)) != 0 {
		t.Errorf("a write behind the end: %v", err)
	}
}

func TestWithoutAFingerprintKeyASourceIsOnlyPassedOn(t *testing.T) {
	l := newLog(t, audit.Options{Writer: io.Discard})
	if v, err := l.Source("", secret(canary)).Retrieve(t.Context()); err != nil || v.Secret.Reveal() != canary {
		t.Error(err)
	}
}
