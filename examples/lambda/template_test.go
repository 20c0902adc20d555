package main_test

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// resource returns the text of a resource of template.yaml.
func resource(t *testing.T, name string) string {
	t.Helper()
	template, err := os.ReadFile("template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(template), "\n  "+name+":\n")
	if !found {
		t.Fatalf("template.yaml has no resource %s", name)
	}
	if end := regexp.MustCompile(`\n {0,2}\S`).FindStringIndex(text); end != nil {
		text = text[:end[0]]
	}
	return text
}

// A secret whose key is gone cannot be read by anybody.
func TestWhatIsRetainedCanStillBeRead(t *testing.T) {
	for _, name := range []string{"Secret", "Key", "LogGroup"} {
		text := resource(t, name)
		for _, policy := range []string{"DeletionPolicy: Retain", "UpdateReplacePolicy: Retain"} {
			if !strings.Contains(text, policy) {
				t.Errorf("%s has no %s", name, policy)
			}
		}
	}
}

// The API tells its caller nothing of an answer that comes later, and a stream
// lasts for as long as a model writes.
func TestTheFunctionsHaveTimeToAnswer(t *testing.T) {
	seconds := func(name string) int {
		found := regexp.MustCompile(`(?m)^\s+Timeout: (\d+)`).FindStringSubmatch(resource(t, name))
		if found == nil {
			t.Fatalf("%s has no Timeout: Lambda's is 3 s", name)
		}
		n, err := strconv.Atoi(found[1])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	text := regexp.MustCompile(`TimeoutInMillis: (\d+)`).FindStringSubmatch(resource(t, "AnswerFunction"))
	if text == nil {
		t.Fatal("the API has no timeout")
	}
	api, err := strconv.Atoi(text[1])
	if err != nil {
		t.Fatal(err)
	}
	if n := seconds("AnswerFunction"); n+int(warmed.Seconds()) > api/1000 {
		t.Errorf("the function takes up to %d s after a cold start of %v, and the API waits for %d ms", n, warmed, api)
	}
	if n := seconds("StreamFunction"); n < 120 || n > 900 {
		t.Errorf("a stream has %d s", n)
	}
}
