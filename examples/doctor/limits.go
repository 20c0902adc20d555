package main

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/latchkey-go/latchkey/client"
	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/internal/azurename"
)

const (
	adminKey = "OPENAI_ADMIN_KEY"
	// maxPages bounds the rate limits that are asked for: 100 models each.
	maxPages = 10
)

// A quota is what OpenAI itself lets a project spend and send. It is asked for
// with an admin key only, and nothing is changed.
//
// https://developers.openai.com/api/docs/guides/admin-apis
type quota struct {
	Project    string      `json:"project,omitempty"`
	SpendLimit *spendLimit `json:"spend_limit,omitempty"` // nil if there is none
	RateLimits []rateLimit `json:"rate_limits,omitempty"`
	Problem    string      `json:"problem,omitempty"` // why something is missing
	Do         string      `json:"do,omitempty"`
}

// The shapes are those of the service.
type (
	spendLimit struct {
		Amount      int64  `json:"threshold_amount"` // in cents
		Currency    string `json:"currency"`
		Interval    string `json:"interval"`
		Enforcement struct {
			Status string `json:"status"`
		} `json:"enforcement"`
	}
	rateLimit struct {
		ID          string `json:"id"`
		Model       string `json:"model"`
		Requests    int64  `json:"max_requests_per_1_minute"`
		Tokens      int64  `json:"max_tokens_per_1_minute"`
		DayRequests int64  `json:"max_requests_per_1_day,omitempty"`
		BatchTokens int64  `json:"batch_1_day_max_input_tokens,omitempty"`
	}
)

// quotas returns what the project of OPENAI_PROJECT_ID may use, or nil without an
// admin key.
func quotas(ctx context.Context) *quota {
	key := os.Getenv(adminKey)
	if key == "" {
		return nil
	}
	q := &quota{}
	base, ours := adminBase()
	switch q.Project = os.Getenv("OPENAI_PROJECT_ID"); {
	case !ours:
		q.Project, q.Problem = "", "the endpoint is not OpenAI's, and gets no admin key"
		return q
	case q.Project == "":
		q.Problem, q.Do = "an admin key sees all projects", "set OPENAI_PROJECT_ID to the one whose limits are wanted"
		return q
	}
	c, err := client.New(client.Config{Source: credential.Env(adminKey), BaseURL: base})
	if err == nil {
		err = q.ask(ctx, c)
	}
	if err != nil {
		q.Problem, q.Do = adminProblem(err)
	}
	q.clean(key)
	return q
}

// adminBase returns the URL of the OpenAI API. A server in between, or Azure, is not
// to see an admin key, which may do anything to the whole organization.
func adminBase() (base string, ours bool) {
	text := os.Getenv("OPENAI_BASE_URL")
	if os.Getenv("AZURE_OPENAI_ENDPOINT") != "" {
		return "", false
	}
	if text == "" {
		return client.DefaultBaseURL, true
	}
	if a, err := azurename.Parse(text); err == nil && a.Azure {
		return "", false
	}
	u, err := url.Parse(text)
	if err != nil {
		return "", false
	}
	host := strings.ToLower(u.Hostname())
	addr, err := netip.ParseAddr(host)
	loopback := err == nil && addr.IsLoopback() // a test
	openai := u.Scheme == "https" && (host == "api.openai.com" || strings.HasSuffix(host, ".api.openai.com"))
	return text, loopback || openai
}

// ask reads both kinds of limits.
func (q *quota) ask(ctx context.Context, c *client.Client) error {
	path := "organization/projects/" + url.PathEscape(q.Project)
	var spend spendLimit
	_, err := c.Do(ctx, http.MethodGet, path+"/spend_limit", nil, &spend)
	if e, ok := client.AsError(err); ok && e.StatusCode == http.StatusNotFound {
		err = nil // there is none
	} else if err == nil {
		q.SpendLimit = &spend
	}
	for page, after := 0, ""; err == nil && page < maxPages; page++ {
		var list struct {
			Data    []rateLimit `json:"data"`
			HasMore bool        `json:"has_more"`
		}
		if _, err = c.Do(ctx, http.MethodGet, path+"/rate_limits?limit=100"+after, nil, &list); err != nil {
			break
		}
		q.RateLimits = append(q.RateLimits, list.Data...)
		if !list.HasMore || len(list.Data) == 0 {
			break
		}
		after = "&after=" + url.QueryEscape(list.Data[len(list.Data)-1].ID)
	}
	return err
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9][\w.:/-]{0,99}$`)

// clean drops what is no word of the service's own: it goes to a terminal.
func (q *quota) clean(key string) {
	word := func(s *string) {
		if !plainWord.MatchString(*s) || strings.Contains(*s, strings.TrimSpace(key)) {
			*s = "?"
		}
	}
	word(&q.Project)
	if s := q.SpendLimit; s != nil {
		word(&s.Currency)
		word(&s.Interval)
		word(&s.Enforcement.Status)
	}
	for i := range q.RateLimits {
		word(&q.RateLimits[i].ID)
		word(&q.RateLimits[i].Model)
	}
}

// adminProblem says why an admin key did not do. The service's own words stay out.
func adminProblem(err error) (problem, do string) {
	e, ok := client.AsError(err)
	switch {
	case !ok:
		return err.Error(), ""
	case e.StatusCode == http.StatusUnauthorized:
		return "the service answers 401: it does not accept " + adminKey, "put a valid admin key into " + adminKey
	case e.StatusCode == http.StatusForbidden:
		return "the service answers 403", "give the admin key the right to read the project's limits"
	case e.StatusCode == http.StatusNotFound:
		return "the service answers 404", "correct OPENAI_PROJECT_ID"
	}
	return fmt.Sprintf("the service answers %d", e.StatusCode), ""
}

// quota prints the limits that the service holds by itself.
func (p *page) quota(q *quota) {
	p.line()
	if q.Project != "" {
		p.fact("project", q.Project)
	}
	switch s := q.SpendLimit; {
	case s != nil:
		p.fact("spend limit", fmt.Sprintf("%d.%02d %s a %s, %s", s.Amount/100, max(s.Amount%100, 0), s.Currency, s.Interval, s.Enforcement.Status))
	case q.Problem == "":
		p.fact("spend limit", "none")
	}
	for _, l := range q.RateLimits {
		text := fmt.Sprintf("%s: %d requests and %d tokens a minute", l.Model, l.Requests, l.Tokens)
		if l.DayRequests > 0 {
			text += fmt.Sprintf(", %d requests a day", l.DayRequests)
		}
		if l.BatchTokens > 0 {
			text += fmt.Sprintf(", %d tokens of batches a day", l.BatchTokens)
		}
		const indent = 2
		p.line("  " + wrap(text, p.width, indent+2))
	}
	if q.Problem != "" {
		p.fact("limits", "not known: "+q.Problem)
		p.note("  do   ", q.Do)
	}
}
