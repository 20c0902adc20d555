package redact_test

import (
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/internal/redact"
)

func TestASecretWithEscapesInBracesIsTakenOut(t *testing.T) {
	const secret = "CANARY+/a&b\"c="
	for _, text := range []string{`CANARY\u{2b}\u{2f}a\u{26}b\u{22}c\u{3d}`, `CANARY\u{002B}\u{00002F}a\u{26}b\u{022}c\u{3D}`} {
		if got := redact.Text("key: "+text+".", false, secret); strings.Contains(got, "CANARY") {
			t.Errorf("%s: it is left", text)
		}
	}
}

func TestAtACutWhatIsNoEscapeIsLeft(t *testing.T) {
	for _, text := range []string{"done: 50%y", `C:\ux`, `in \uq1`} {
		if got := redact.Text(text, true, "sk-CANARY-good-0002"); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func TestAtACutAnEscapeThatIsNotWholeIsTakenOut(t *testing.T) {
	for _, text := range []string{`sk-CANARY-good\`, `sk-CANARY-good\\`, `sk-CANARY-good\u`, `sk-CANARY-good\u002`, `sk-CANARY-good%`, `sk-CANARY-good%2`} {
		if got := redact.Text("x "+text, true, "sk-CANARY-good-0002"); strings.Contains(got, "CANARY") {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func TestATextWithAllButTheFirstByteOfTheSecretIsUntouched(t *testing.T) {
	const text = `\ \ \ \ \ \ xk-CANARY-good-0002 \ \ \`
	if got := redact.Text(text, false, "sk-CANARY-good-0002"); got != text {
		t.Errorf("it became %q", got)
	}
}
