package parity_test

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	whyMaxDelay = "the wait that the service asks for is beyond MaxDelay, 2 min: the answer is returned at once"
	whyMs       = "the service asked for this wait, in a header that openai-go does not read"
	whyFormat   = "the service asked for this wait, as a date in a form that openai-go does not read"
	whyClock    = "the service asked for this wait; openai-go takes it for one that is over, because the clocks differ"
	whyZero     = "a service that asks for no wait, and refuses again, is asked for the third time after a back-off"
	whyExponent = "no number of HTTP has an exponent: the wait is a back-off"
	whyQuota    = "the quota is spent: waiting does not restore it"
)

// An ask is one form of the header that asks for a wait.
type ask struct {
	class, name string
	header      []string
	steady      bool // no part of the wait is a back-off
	// why is the reason for which latchkey waits longer, returned that for
	// which it returns the answer, and zero that for which a second wait is longer.
	why, returned, zero string
}

// A line of the table with what all of its asks have in common.
func asks(common ask, header string, values ...string) (out []ask) {
	for _, v := range values {
		a := common
		a.name, a.header = fmt.Sprintf("%s: %s", header, v), []string{header, v}
		out = append(out, a)
	}
	return out
}

func allAsks() (all []ask) {
	add := func(a []ask) { all = append(all, a...) }
	for _, unit := range []struct {
		header string
		second int
	}{{"Retry-After", 1}, {"Retry-After-Ms", 1000}} {
		h, n := unit.header, func(s float64) string { return strconv.FormatFloat(s*float64(unit.second), 'f', -1, 64) }
		add(asks(ask{class: h + " of 0", steady: true, zero: whyZero}, h, "0", "0.0"))
		add(asks(ask{class: h + ", a fraction", steady: true}, h, n(0.05), n(1.5), n(2.25)))
		add(asks(ask{class: h + " of 1 to 60 s", steady: true}, h, n(1), n(7), n(59), n(60)))
		add(asks(ask{class: h + " of 61 to 120 s", steady: true}, h, n(60.5), n(61), n(120)))
		add(asks(ask{class: h + " above 120 s", steady: true}, h, n(121), n(3600), n(86400)))
		add(asks(ask{class: h + ", negative"}, h, "-1", "-0.5"))
		add(asks(ask{class: h + ", nonsense"}, h, "soon", "5,", "5s", "NaN", "0x10", strings.Repeat("x", 1000)))
		add(asks(ask{class: h + ", out of range"}, h, "Inf", "99999999999999999999999", "9223372036854775807"))
		add(asks(ask{class: h + ", a number with an exponent", returned: whyExponent}, h, "1e300", "3.6e+06"))
	}
	const xms = "X-Ms-Retry-After-Ms"
	add(asks(ask{class: xms + " below a back-off", zero: whyZero}, xms, "0", "50"))
	add(asks(ask{class: xms + " of 1 to 120 s", why: whyMs}, xms, "1500", "7000", "60000", "120000"))
	add(asks(ask{class: xms + " above 120 s", returned: whyMaxDelay}, xms, "121000", "3600000"))
	add(asks(ask{class: xms + ", nonsense"}, xms, "-1", "soon"))
	add(pairAsks())
	return all
}

func pairAsks() []ask {
	const class = "Two headers"
	pair := func(name string, steady bool, why string, header ...string) ask {
		return ask{class: class, name: name, header: header, steady: steady, why: why}
	}
	return []ask{
		pair("milliseconds before seconds", true, "", "Retry-After", "5", "Retry-After-Ms", "100"),
		pair("nonsense, then seconds", true, "", "Retry-After-Ms", "soon", "Retry-After", "2"),
		pair("negative, then seconds", true, "", "Retry-After-Ms", "-1", "Retry-After", "2"),
		pair("seconds twice", true, "", "Retry-After", "2", "Retry-After", "4"),
		pair("Microsoft's are shorter", true, "", "Retry-After", "5", "X-Ms-Retry-After-Ms", "100"),
		pair("Microsoft's are longer", true, whyMs, "Retry-After", "1", "X-Ms-Retry-After-Ms", "2000"),
	}
}

// askRows are all forms of an asked wait, on the answers that carry them.
func askRows() (rows []row) {
	for _, a := range allAsks() {
		for _, status := range []int{429, 503} {
			for _, last := range []int{1, 2, 0} {
				rows = append(rows, row{
					class:  a.class + fmt.Sprintf(", %s", map[int]string{1: "once", 2: "twice", 0: "always"}[last]),
					name:   fmt.Sprintf("%.60s, on %d", a.name, status),
					server: failing(last, busy(status, a.header...)),
					calls:  chatOnce,
					steady: a.steady,
					but:    a.exception(last),
				})
			}
		}
	}
	rows = append(rows, dateRows()...)
	rows = append(rows, deadlineRows()...)
	return append(rows, shouldRetryRows()...)
}

func (a *ask) exception(last int) *exception {
	switch {
	case a.returned == whyExponent && last == 0:
		return except(a.returned, inSends, inWait)
	case a.returned == whyMaxDelay && last != 0:
		return except(a.returned, inOutcome)
	case a.why != "":
		return except(a.why, inWait)
	case a.zero != "" && last != 1 && a.steady:
		return except(a.zero, inWait)
	}
	return nil
}

// A dated is an answer with a date in Retry-After, of a server whose clock is
// off by skew.
type dated struct {
	name        string
	after, skew time.Duration
	into        time.Duration // how far into a second the call comes
	layout      string        // "" is http.TimeFormat
	withoutDate bool
	steady      bool
	why         string
}

func (d dated) answer(w http.ResponseWriter, r *http.Request) {
	now := time.Now().Add(d.skew).UTC()
	layout := d.layout
	if layout == "" {
		layout = http.TimeFormat
	}
	w.Header().Set("Date", now.Format(http.TimeFormat))
	if d.withoutDate {
		w.Header()["Date"] = nil
	}
	busy(429, "Retry-After", now.Add(d.after).Format(layout))(w, r)
}

func dateRows() (rows []row) {
	const s, h = time.Second, time.Hour
	for _, d := range []dated{
		{name: "in 2 s", after: 2 * s, steady: true},
		{name: "in 2 s, called within a second", after: 2 * s, into: s / 2, steady: true},
		{name: "in 60 s", after: 60 * s, steady: true},
		{name: "in an hour", after: h, steady: true},
		{name: "now", steady: true},
		{name: "a minute ago", after: -60 * s, steady: true},
		{name: "in 2 s, no Date", after: 2 * s, withoutDate: true, steady: true},
		{name: "a minute ago, no Date", after: -60 * s, withoutDate: true, steady: true},
		{name: "in 2 s, clock 30 s ahead", after: 2 * s, skew: 30 * s, steady: true},
		{name: "in 2 s, clock an hour ahead", after: 2 * s, skew: h, steady: true},
		{name: "in 2 s, clock 30 s ahead, no Date", after: 2 * s, skew: 30 * s, withoutDate: true, steady: true},
		{name: "in 2 s, clock an hour ahead, no Date", after: 2 * s, skew: h, withoutDate: true, steady: true},
		{name: "in 2 s, clock 30 s behind, no Date", after: 2 * s, skew: -30 * s, withoutDate: true, steady: true},
		{name: "in 2 s, clock 30 s behind", after: 2 * s, skew: -30 * s, steady: true, why: whyClock},
		{name: "in 2 s, clock an hour behind", after: 2 * s, skew: -h, steady: true, why: whyClock},
		{name: "in 2 s, of RFC 850", after: 2 * s, layout: "Monday, 02-Jan-06 15:04:05 GMT", why: whyFormat},
		{name: "in 2 s, of asctime", after: 2 * s, layout: time.ANSIC, why: whyFormat},
		{name: "in 2 s, in UTC by name", after: 2 * s, layout: "Mon, 02 Jan 2006 15:04:05 UTC", steady: true},
		{name: "in 2 s, of RFC 3339", after: 2 * s, layout: time.RFC3339},
	} {
		c := row{
			class: "Retry-After, a date", name: d.name, server: failing(1, d.answer), steady: d.steady,
			calls: func(ctx context.Context, s *side) []result {
				time.Sleep(d.into)
				return chatOnce(ctx, s)
			},
		}
		if d.why != "" {
			c.class, c.but = "Retry-After, a date that only latchkey understands", except(d.why, inWait)
		}
		rows = append(rows, c)
	}
	return rows
}

// deadlineRows are waits that the caller's deadline cuts.
func deadlineRows() (rows []row) {
	for _, tc := range []struct {
		name     string
		deadline time.Duration
		header   []string
		steady   bool
	}{
		{"the wait fits", 10 * time.Second, []string{"Retry-After", "5"}, true},
		{"the wait is longer", 10 * time.Second, []string{"Retry-After", "30"}, true},
		{"the back-off fits", time.Second, nil, false},
		{"the back-off is longer", 300 * time.Millisecond, nil, false},
	} {
		for _, status := range []int{429, 503} {
			rows = append(rows, row{
				class:  "A deadline in a wait: " + tc.name,
				name:   fmt.Sprint(status),
				server: failing(1, busy(status, tc.header...)),
				steady: tc.steady,
				calls: once(func(ctx context.Context, s *side) result {
					ctx, cancel := context.WithTimeout(ctx, tc.deadline)
					defer cancel()
					return chat(ctx, s)
				}),
			})
		}
	}
	return rows
}

// shouldRetryRows are answers that say themselves whether to send again.
func shouldRetryRows() (rows []row) {
	add := func(status int, value string, last int, answer http.HandlerFunc, but *exception) {
		rows = append(rows, row{
			class:  "x-should-retry: " + value,
			name:   fmt.Sprintf("%d, %s", status, map[int]string{1: "once", 0: "always"}[last]),
			server: failing(last, answer), calls: chatOnce, but: but,
		})
	}
	for _, last := range []int{1, 0} {
		for _, status := range []int{400, 403, 404, 408, 413, 422, 429, 500, 501, 503, 505, 520} {
			for _, value := range []string{"true", "false", "maybe"} {
				var but *exception
				if value == "maybe" {
					but = statusException(status, last)
				}
				add(status, value, last, busy(status, "x-should-retry", value), but)
			}
		}
		add(401, "true", last, busy(401, "x-should-retry", "true"), except(why401, map[int][]kind{1: {inWait}, 0: {inSends, inWait}}[last]...))
		add(401, "false", last, busy(401, "x-should-retry", "false"), statusException(401, last))
	}
	add(200, "true", 1, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("x-should-retry", "true")
		complete(w)
	}, nil)
	for _, code := range []string{"insufficient_quota", "billing_hard_limit_reached"} {
		for _, last := range []int{1, 0} {
			c := row{
				class: "429, the quota is spent", name: fmt.Sprintf("%s, %d", code, last), calls: chatOnce,
				server: failing(last, refuse(429, "application/json", `{"error":{"message":"m","type":"`+code+`","code":"`+code+`"}}`)),
			}
			if last == 1 {
				c.but = except(whyQuota, inOutcome)
			}
			rows = append(rows, c)
		}
	}
	return rows
}
