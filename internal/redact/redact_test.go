package redact_test

import (
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/internal/redact"
	"github.com/latchkey-go/latchkey/internal/redact/redacttest"
)

func secrets() []string {
	return []string{
		"sk-CANARY-good-0002",
		"sk-proj-CANARY-" + strings.Repeat("aB3_dE-", 21),
		"CANARY0123456789abcdef0123456789",
		`CANARY+/a&b"c=`,
		`CANARY+/a"\b<&%25=\\zz`,
		"CANARY-8", "CANARY-09", "CANARY-010", "CANARY-0011", "CANARY-00012", // short rows of digits encode these
	}
}

func TestASecretIsTakenOutInEveryForm(t *testing.T) {
	forms := 0
	for _, secret := range secrets() {
		for _, form := range redacttest.Forms(secret) {
			forms++
			around := `{"error":{"message":"Incorrect API key provided: (` + form.Text + `). Again: (` + form.Text + `)"}}`
			got := redact.Text(around, false, secret)
			switch {
			case got == redact.Withheld:
				if form.Exact && !strings.Contains(secret, `\`) {
					t.Errorf("%s of a secret of %d bytes: the text was withheld", form.Name, len(secret))
				}
			case strings.Count(got, redact.Mark) != 2:
				t.Errorf("%s of a secret of %d bytes: %d of 2 were taken out", form.Name, len(secret), strings.Count(got, redact.Mark))
			case !strings.HasPrefix(got, `{"error":{"message":"Incorrect API key provided: (`) || !strings.HasSuffix(got, `)"}}`):
				t.Errorf("%s of a secret of %d bytes: more than the secret was taken out", form.Name, len(secret))
			}
		}
	}
	if forms < len(secrets())*55 {
		t.Errorf("only %d forms", forms)
	}
}

// The cheap look at short texts must not pass over what the thorough one finds.
func TestASecretAloneIsTakenOutInEveryForm(t *testing.T) {
	for _, secret := range secrets() {
		for _, form := range redacttest.Forms(secret) {
			texts := []string{form.Text, form.Printable(), "k: " + form.Text, form.Text + "; a=b; c=d"}
			if !strings.HasPrefix(form.Name, "quoted-printable") { // it would write =3D
				texts = append(texts, "k="+form.Text)
			}
			for _, text := range texts {
				if got := redact.Text(text, false, secret); !strings.Contains(got, "[redacted") {
					t.Errorf("%s of a secret of %d bytes: it is left", form.Name, len(secret))
				}
			}
		}
	}
}

func TestAtACutNothingIsLeftOfTheSecret(t *testing.T) {
	secret := secrets()[0]
	for _, form := range redacttest.Forms(secret) {
		for keep := len(form.Text) * 3 / 4; keep < len(form.Text); keep++ {
			if strings.HasPrefix(form.Name, "base64 of") || strings.HasPrefix(form.Name, "base64 behind") {
				continue // what is before the secret may stay
			}
			text := strings.Repeat("x ", 100) + form.Text[:keep]
			if got := redact.Text(text, true, secret); got == text {
				t.Errorf("%s: %d of %d bytes are left at the cut", form.Name, keep, len(form.Text))
			}
		}
	}
}

func TestATextWithoutTheSecretIsUntouched(t *testing.T) {
	for _, secret := range secrets() {
		for _, text := range append(usualTexts(), usualHeaders()...) {
			if got := redact.Text(text, false, secret, secrets()[1]); got != text {
				t.Errorf("a text of %d bytes became one of %d: %.60q", len(text), len(got), text)
			}
		}
	}
}

func usualTexts() []string {
	prose := "The request was malformed: messages[0].content should be a string of at most 1,048,576 bytes, and was 7 (see https://platform.openai.com/docs/guides/error-codes?x=1&y=%20z). "
	return []string{
		"", "x", prose, strings.Repeat(prose, 300), `{"error":{"message":"Incorrect API key provided: sk-CAN****0002.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}`,
		`{"m":"\u00e9 \\ 100% sk-CANARY-go"}`, strings.Repeat("c2stQ0F", 999), strings.Repeat(`\`, 60<<10), strings.Repeat("%25", 20<<10), strings.Repeat("&#43;", 9<<10),
		strings.Repeat("0123456789abcdef", 4000), strings.Repeat("12 34 56 ", 7000), strings.Repeat("the cafe faded ", 4000), strings.Repeat("MFRGG", 13000),
		strings.Repeat("<p class=\"a\">It&#39;s &amp; it is</p>\n", 1500),
	}
}

// usualHeaders are what services send beside each answer.
func usualHeaders() []string {
	return []string{
		"max-age=31536000; includeSubDomains; preload", "req_0123456789abcdef0123456789abcdef", "0f8fad5b-d9cb-469f-a165-70867728950e", `h3=":443"; ma=86400`,
		"application/json; charset=utf-8", "Mon, 06 Jul 2026 10:00:00 GMT", "8d1f0c2b3a4e5f60-FRA", "nosniff", "2000000", "no-cache, no-store, max-age=0, must-revalidate",
		"X-Request-ID, apim-request-id, x-ratelimit-remaining-requests", "gpt-4o-2024-08-06", "East US 2",
	}
}

func TestAShortSecretIsLookedForAsAWord(t *testing.T) {
	const text, want = `"a/b", \"a\/b\", xa/b, a\/bx, 612f62`, `"[redacted]", \"[redacted]\", xa/b, a\/bx, 612f62`
	if got := redact.Text(text, false, "a/b"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSeveralSecretsAreTakenOutTogether(t *testing.T) {
	const inner, outer, other = "CANARY-gateway", "sk-CANARY-gateway-and-more", "CANARY-other-key"
	text := outer + " " + inner + " " + other
	for _, order := range [][]string{{inner, outer, other}, {outer, other, inner}, {other, inner, outer, ""}} {
		if got := redact.Text(text, false, order...); got != "[redacted] [redacted] [redacted]" {
			t.Error("a secret, or a part of one, is left")
		}
	}
	if got := redact.Text("434e: 43414e4152592d6f746865722d6b6579", false, inner, other); got != redact.Withheld {
		t.Error("a form of the second secret is left")
	}
}

func TestAUsualHeaderCostsNoAllocation(t *testing.T) {
	for _, secret := range secrets() {
		for _, value := range usualHeaders() {
			if n := testing.AllocsPerRun(10, func() { _ = redact.Text(value, false, secret) }); n != 0 && len(secret) >= 32 {
				t.Errorf("%q costs %v allocations beside a secret of %d bytes", value, n, len(secret))
			}
		}
	}
}

// If each backslash, or each percent sign, cost a search through the rest, this
// would take hours.
func TestEscapesWithoutEndTakeLinearTime(t *testing.T) {
	for _, unit := range []string{`\`, "%25", "%2525", "&#", "CANARY0", "="} {
		text := strings.Repeat(unit, 4<<20/len(unit))
		if got := redact.Text(text, false, "CANARY0123456789abcdef0123456789"); got != text {
			t.Errorf("a text of %q became one of %d bytes", unit, len(got))
		}
	}
}

func FuzzText(f *testing.F) {
	for _, text := range usualTexts() {
		f.Add(text[:min(len(text), 300)], "CANARY0123456789abcdef", uint8(3), false)
	}
	f.Add(`\\\u0022%25%2525\/`, `CANARY\u`, uint8(20), true)
	f.Fuzz(func(t *testing.T, text, secret string, form uint8, cut bool) {
		if len(secret) < 8 || len(secret) > 64 || len(text) > 1<<14 || strings.ContainsFunc(secret, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return
		}
		secret = "k" + secret // no source accepts a quote or a brace in front
		forms := redacttest.Forms(secret)
		echo := forms[int(form)%len(forms)]
		got := redact.Text(text+"\n"+echo.Text+"\n"+text, cut, secret)
		if strings.Contains(strings.ToLower(got), strings.ToLower(secret)) || strings.Contains(got, "\n"+echo.Text+"\n") && !strings.ContainsAny(secret, `\%&=`) {
			t.Errorf("%s: the secret is left", echo.Name)
		}
		if len(got) > 2*(2*len(text)+len(echo.Text))+100 {
			t.Errorf("%d bytes became %d", len(text), len(got))
		}
	})
}
