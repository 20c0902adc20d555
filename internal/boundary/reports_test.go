package boundary_test

import (
	"regexp"
	"strings"
	"testing"
)

// Each row of docs/reports.md names a report and a linked test, or says that it is not
// covered, and no report has a row on two pages.
func TestEveryReportIsPlayedByATest(t *testing.T) {
	r := load(t)
	reference := regexp.MustCompile(`[\w.-]+(?:/[\w.-]+)?#\d+|(?:CVE|GO)-\d{4}-\d{4,}|GHSA-[\w-]{14}`)
	said := map[string]string{}
	for _, page := range []string{"docs/failover.md", "docs/limits.md"} {
		for _, id := range reference.FindAllString(r.read(t, page), -1) {
			said[id] = page
		}
	}
	rows, open := 0, 0
	for line := range strings.Lines(r.read(t, "docs/reports.md")) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| report |") {
			continue
		}
		rows++
		if len(cells) != 5 {
			t.Fatalf("%d cells: %s", len(cells), line)
		}
		ids := reference.FindAllString(cells[0], -1)
		if len(ids) == 0 {
			t.Errorf("no report is named: %s", line)
		}
		for _, id := range ids {
			if said[id] != "" {
				t.Errorf("%s is on %s as well", id, said[id])
			}
			said[id] = "another row"
		}
		notCovered := strings.Contains(cells[3], "not covered: ")
		if notCovered {
			open++
		}
		if !notCovered && !testLink.MatchString(cells[4]) {
			t.Errorf("no test is linked: %s", line)
		}
		if len(testName.FindAllString(cells[4], -1)) != len(testLink.FindAllString(cells[4], -1)) {
			t.Errorf("a test is named without its package: %s", line)
		}
	}
	if rows-open < 40 {
		t.Errorf("%d reports are played, want at least 40", rows-open)
	}
	t.Logf("%d rows, %d of them not covered", rows, open)
}
