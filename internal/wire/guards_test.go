package wire_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/internal/wire"
)

func TestOddErrorBodiesAreReadAsFarAsTheySaySomething(t *testing.T) {
	type e = wire.Error
	for body, want := range map[string]e{
		"event: x":                  {Message: "event: x"},
		"event: error\n: no data\n": {Message: "event: error\n: no data"},
		`data: {"error":"a"}`:       {Message: "a"},
		"data: data: x":             {Message: "data: x"},
		`{"title":"Too many requests","detail":"Too many requests: wait"}`:  {Message: "Too many requests: wait"},
		`{"title":"","detail":"d"}`:                                         {Message: "d"},
		`{"title":"T."}`:                                                    {Message: "T."},
		`{"message":"m","detail":"more"}`:                                   {Message: "m"},
		`{"message":"m","error":""}`:                                        {Message: "m"},
		`{"message":"m","error":"m"}`:                                       {Message: "m"},
		`{"message":"m","error":"two words"}`:                               {Message: "m"},
		`{"message":"m","code":"c","error":"other"}`:                        {Code: "c", Message: "m"},
		`{"errors":{"a":["1"],"b":[""],"c":["3"],"d":["4"],"e":["5"]}}`:     {Param: "a", Message: "1; 3; 4"},
		`{"errors":["1","1","","2","3","4"]}`:                               {Message: "1; 2; 3"},
		`{"loc":["body","a","",2],"msg":"m"}`:                               {Param: "a.2", Message: "m"},
		`{"loc":["body"],"param":"p","msg":"m"}`:                            {Param: "p", Message: "m"},
		`{"error":{"code":"own","message":"m","details":[{"reason":"r"}]}}`: {Code: "own", Message: "m"},
		`{"status":"","message":"m"}`:                                       {Message: "m"},
		`<Error><ns:Message>m</ns:Message></Error>`:                         {Message: "m"},
		`<Error><NoMessage>a</NoMessage></Error>`:                           {Message: `<Error><NoMessage>a</NoMessage></Error>`},
		`<Error><Messages>a</Messages></Error>`:                             {Message: `<Error><Messages>a</Messages></Error>`},
		`<Error a="message ">x</Error>`:                                     {Message: `<Error a="message ">x</Error>`},
		`<Error><message`:                                                   {Message: `<Error><message`},
		`<Error><message a="b`:                                              {Message: `<Error><message a="b`},
		`<Error><message>mmessage></Error>`:                                 {Message: `<Error><message>mmessage></Error>`},
		`<Error><message>a<b>c</b>d</message></Error>`:                      {Message: "a c d"},
		`<?xml version="1.0"?><html><title>t</title></html>`:                {Message: "t"},
		`<?xml version="1.0"?><title>t</title>`:                             {Message: "t"},
		`<!-- a --><!-- b --><html><title>t</title></html>`:                 {Message: "t"},
		"<?xml version=\"1.0\"?><Error><Message>m</Message>" + strings.Repeat(" ", 600) + "<a><html></a></Error>": {Message: "m"},
	} {
		if got := wire.ParseError([]byte(body)); got != want {
			t.Errorf("%.80s: got %+v, want %+v", body, got, want)
		}
	}
	for range 50 { // a map has no order
		if got := wire.ParseError([]byte(`{"Message":"a","message":"b","MESSAGE":"c"}`)).Message; got != "c" {
			t.Fatalf("of three spellings %q", got)
		}
	}
}

func TestEventsInEventsTakeLinearTime(t *testing.T) {
	body := strings.Repeat("data:", 1<<20) // a level for each would be terabytes
	if got := wire.ParseError([]byte(body)).Message; len(got) != len(body)-len("data:") {
		t.Errorf("%d bytes of %d", len(got), len(body))
	}
}

func TestAnEventTellsAnErrorOnlyWhereItHasOne(t *testing.T) {
	for _, tc := range []struct {
		typ, data string
		want      bool
	}{
		{"", `{"error":0}`, false}, {"", `{"error":false}`, false}, {"", `{"error":{}}`, false}, {"", `{"error":[]}`, false}, {"", `{"error":""}`, false},
		{"", `{"a":"error"}`, false}, {"", `{"a":{"error": null},"error":{"message":"m"}}`, true},
		{"", "{\"a\":{\"error\"\n:\tnull},\"error\" : null}", false}, {"", `{"error":null,"type":"response.failed","response":{"error":null}}`, true}, {"", `{"type":"error","message":"m"}`, true}, {"", `{"type":"response.failed","error":null}`, true},
		{"response.created", `{"type":"error","code":"c","error":null}`, true}, {"error", `{}`, true}, {"error", `{"error":null}`, false},
		{"error", `plain`, true}, {"x", `{"error": {"message":"cut`, true}, {"x", `{ "error"`, false}, {"x", `{"error":`, false}, {"x", `{"error":tru`, false},
		{"x", `plain "error"`, false}, {"x", `["error"`, false},
	} {
		if _, ok := wire.InEvent(tc.typ, []byte(tc.data)); ok != tc.want {
			t.Errorf("%q, %s: an error: %t, want %t", tc.typ, tc.data, ok, tc.want)
		}
	}
}

func TestABodyWithAResultIsNoError(t *testing.T) {
	for body, want := range map[string]bool{
		`{"error":{"message":"m"}}`: true, `{"errors":["m"]}`: true, `{"object":"error","message":"m"}`: true, `{"type":"error","message":"m"}`: true,
		`{"error":null}`: false, `{"error":null,"errors":[]}`: false, `{"error":{"message":"m"},"data":[1]}`: false, `{"error":{"message":"m"},"data":[]}`: true,
		`{"error":{"message":"m"},"object":"list"}`: false, `[{"error":"m"}]`: false, `{"a":1}`: false, `{"error":`: false, "\xef\xbb\xbf {\"error\":\"m\"} ": true,
	} {
		if _, ok := wire.OnlyError([]byte(body)); ok != want {
			t.Errorf("%s: an error: %t, want %t", body, ok, want)
		}
	}
}

func TestRateLimitsAreReadInBothForms(t *testing.T) {
	const request, tokens = "X-Ratelimit-Remaining-Requests", "X-Ratelimit-Reset-Tokens"
	for value, want := range map[string]int{"0": 0, "17": 17, "-1": -1, "-17": -1, "1.5": -1, "x": -1, "": -1} {
		if got := wire.ParseRateLimit(http.Header{request: {value}}).RemainingRequests; got != want {
			t.Errorf("%q requests: %d, want %d", value, got, want)
		}
	}
	for value, want := range map[string]time.Duration{
		"6m0s": 6 * time.Minute, "60": time.Minute, "0": 0, "-5": 0, "-5s": 0, "": 0, "x": 0, "5x": 0, "8.5s": 8500 * time.Millisecond, "99999999999": 366 * 24 * time.Hour,
	} {
		if got := wire.ParseRateLimit(http.Header{tokens: {value}}).ResetTokens; got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
	for _, h := range []http.Header{nil, {}, {request: nil, tokens: {}}} {
		if got := wire.ParseRateLimit(h); got.RemainingRequests != -1 || got.ResetTokens != 0 {
			t.Errorf("of nothing: %+v", got)
		}
	}
}

func TestTheRequestIDIsTheFirstThatIsNotEmpty(t *testing.T) {
	for want, h := range map[string]http.Header{
		"a": {"X-Request-Id": {"a"}, "Apim-Request-Id": {"b"}}, "b": {"X-Request-Id": {""}, "Apim-Request-Id": {"b"}}, "c": {"X-Request-Id": {}, "X-Ms-Request-Id": {"c"}}, "": nil,
	} {
		if got := wire.RequestID(h); got != want {
			t.Errorf("%v: %q, want %q", h, got, want)
		}
	}
}

func TestAPageThatBeginsAsXMLIsAPage(t *testing.T) {
	const page = `<?xml version="1.0"?><!DOCTYPE x><html><body><h1>502 Bad Gateway</h1></body></html>`
	if what, _, _ := wire.Instead([]byte(page)); what != `an HTML page ("502 Bad Gateway")` {
		t.Errorf("it is %s", what)
	}
	if what, _, _ := wire.Instead([]byte(`<?xml version="1.0"?><Error><Code>Denied</Code></Error>`)); what != "a document of XML" {
		t.Errorf("the other is %s", what)
	}
}

// It is asked for each answer with the status 200.
func TestABodyWithoutAnErrorIsNotParsed(t *testing.T) {
	body := []byte(`{"id":"resp_1","object":"response","status":"completed","text":"` + strings.Repeat("x", 4096) + `"}`)
	if n := testing.AllocsPerRun(10, func() { wire.OnlyError(body) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
