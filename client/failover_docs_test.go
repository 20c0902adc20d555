package client_test

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/client"
)

func failoverDocs(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", "failover.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// rows returns the cells of the table that begins with a column.
func rows(t *testing.T, text, column string) [][]string {
	t.Helper()
	_, table, found := strings.Cut(text, "\n| "+column+" |")
	table, _, _ = strings.Cut(table, "\n\n")
	lines := strings.Split(table, "\n")
	if !found || len(lines) < 3 {
		t.Fatalf("there is no table of %q", column)
	}
	var out [][]string
	for _, line := range lines[2:] {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		out = append(out, cells)
	}
	return out
}

// answers are what the table of docs/failover.md is about, by its first column.
func answers() map[string]says {
	slowDown := `{"error":{"message":"slow down"}}`
	return map[string]says{
		"200":                     nil,
		"429 with Retry-After: 5": always(429, slowDown, "Retry-After", "5"),
		"429 with Retry-After: 5, of provisioned throughput": always(429, slowDown, "Retry-After", "5"),
		"429 with Retry-After: 600":                          always(429, slowDown, "Retry-After", "600"),
		"429 with a code of a spent quota":                   always(429, `{"error":{"code":"insufficient_quota","type":"insufficient_quota"}}`),
		"503 with Retry-After: 5":                            always(503, "busy", "Retry-After", "5"),
		"500 without Retry-After":                            always(500, "oops"),
		"a connection that is refused":                       dead,
		"no such host":                                       noSuchHost,
		"401":                                                always(401, `{"error":{"code":"PermissionDenied"}}`),
		"403":                                                always(403, `{"error":{"message":"no"}}`),
		"404 with DeploymentNotFound":                        always(404, `{"error":{"code":"DeploymentNotFound"}}`),
		"404":                                                always(404, `{"error":{"message":"none"}}`),
		"400":                                                always(400, `{"error":{"message":"you"}}`),
		"500 with x-should-retry: false":                     always(500, "oops", "X-Should-Retry", "false"),
	}
}

// TestTheTableOfConsequencesHolds: docs/failover.md says what happens.
func TestTheTableOfConsequencesHolds(t *testing.T) {
	all := answers()
	for _, row := range rows(t, failoverDocs(t), "the first endpoint answers") {
		say, known := all[row[0]]
		if !known {
			t.Errorf("no test of %q", row[0])
			continue
		}
		delete(all, row[0])
		t.Run(row[0], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				w := newWorld(east, west, vendor)
				w[east].set(func(n int, req *http.Request, body string) (*http.Response, error) {
					if n == 1 && say != nil {
						return say(n, req, body)
					}
					return nil, nil
				})
				c := regions(t, w, func(cfg *client.Config) { cfg.Provisioned = strings.Contains(row[0], "provisioned") })
				err := chat(t.Context(), c)
				call := "is served"
				switch {
				case err != nil:
					call = "goes back to the caller"
				case w[west].count() == 1:
					call = "goes elsewhere"
				}
				if call != row[1] {
					t.Errorf("the call %s: %v", call, err)
				}
				seconds, _, _ := strings.Cut(row[2], " s")
				want, err := strconv.Atoi(seconds)
				if err != nil {
					t.Fatalf("%q begins with no time", row[2])
				}
				alone := 0 * time.Second
				for ; w[east].count() == 1 && alone < time.Hour; alone = time.Since(begin) {
					if err := chat(t.Context(), c); err != nil {
						t.Fatal(err)
					}
					if w[east].count() == 1 {
						time.Sleep(500 * time.Millisecond)
					}
				}
				if d := alone - time.Duration(want)*time.Second; d < 0 || d > 550*time.Millisecond+alone/50 {
					t.Errorf("the endpoint was left alone for %v, want %d s", alone, want)
				}
			})
		})
	}
	for name := range all {
		t.Errorf("the table has no row for %q", name)
	}
}

// TestTheReportsNameTestsThatExist: each row of the reports is held by a test.
func TestTheReportsNameTestsThatExist(t *testing.T) {
	namesTests(t, rows(t, failoverDocs(t), "report"), "*_test.go")
}

// namesTests checks that the last cell of each row names tests that are in the
// files.
func namesTests(t *testing.T, reports [][]string, patterns ...string) {
	t.Helper()
	var tests strings.Builder
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			tests.Write(text)
		}
	}
	named := regexp.MustCompile("`(Test[A-Za-z0-9]+)`")
	for _, row := range reports {
		found := named.FindAllStringSubmatch(row[3], -1)
		if len(found) == 0 {
			t.Errorf("%s is held by no test", row[0])
		}
		for _, f := range found {
			if !strings.Contains(tests.String(), "func "+f[1]+"(t *testing.T)") {
				t.Errorf("%s: there is no %s", row[0], f[1])
			}
		}
	}
}
