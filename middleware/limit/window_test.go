package limit_test

import (
	"testing"
	"time"
	_ "time/tzdata" // the zones of the tests

	"github.com/latchkey-go/latchkey/middleware/limit"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func TestAMinuteIsAny60Seconds(t *testing.T) {
	c := at(t, "2026-03-01 12:00:00", time.UTC)
	c.add(999 * time.Millisecond)
	l := newLimiter(t, &limit.Options{Now: c.Now}, limit.Limit{Requests: 10, Per: limit.Minute})
	if n := fill(t, l, limit.Send{}, 4); n != 4 {
		t.Fatalf("%d admitted, want 4", n)
	}
	c.add(20 * time.Second)
	if n := fill(t, l, limit.Send{}, 100); n != 6 {
		t.Fatalf("%d admitted, want 6", n)
	}
	e := refused(t, l, limit.Send{})
	if want := time.Date(2026, 3, 1, 12, 1, 1, 0, time.UTC); !e.Reset.Equal(want) {
		t.Errorf("Reset is %v, want %v", e.Reset, want)
	}
	// 12:01:00.999 is 60 seconds after the first four, to the nanosecond.
	c.add(40 * time.Second)
	if n := fill(t, l, limit.Send{}, 100); n != 0 {
		t.Errorf("%d admitted after 60 seconds, want 0", n)
	}
	c.add(time.Millisecond)
	if n := fill(t, l, limit.Send{}, 100); n != 4 {
		t.Errorf("%d admitted when the first four are over, want 4", n)
	}
	c.add(20 * time.Second)
	if n := fill(t, l, limit.Send{}, 100); n != 6 {
		t.Errorf("%d admitted when the next six are over, want 6", n)
	}
}

func TestResetIsWhenThereIsRoomForTheSend(t *testing.T) {
	c := at(t, "2026-03-01 12:00:00", time.UTC)
	l := newLimiter(t, with(func(o *limit.Options) { o.Now = c.Now }), limit.Limit{Tokens: 100, Per: limit.Minute})
	for range 10 {
		if try(t, l, limit.Send{Input: 10}) == nil {
			t.Fatal("refused")
		}
		c.add(2 * time.Second)
	}
	for _, n := range []int64{1, 10, 11, 25, 100} {
		s := limit.Send{Input: n}
		e := refused(t, l, s)
		now := c.Now()
		c.mu.Lock()
		c.now = e.Reset.Add(-time.Nanosecond)
		c.mu.Unlock()
		refused(t, l, s)
		c.mu.Lock()
		c.now = e.Reset
		c.mu.Unlock()
		r := try(t, l, s)
		if r == nil {
			t.Fatalf("a send of %d tokens is refused at its Reset %v", n, e.Reset)
		}
		r.Cancel()
		// Again from the start: what is over does not come back with the clock.
		c.mu.Lock()
		c.now = now.Add(time.Hour)
		c.mu.Unlock()
		for range 10 {
			if try(t, l, limit.Send{Input: 10}) == nil {
				t.Fatal("refused")
			}
			c.add(2 * time.Second)
		}
	}
}

func TestDaysAndMonthsAreThoseOfTheCalendar(t *testing.T) {
	for _, tt := range []struct {
		name, zone string
		per        limit.Window
		now, reset string // the last second before reset
		utc        string // reset
	}{
		{"a day", "UTC", limit.Day, "2026-03-01 23:59:59", "2026-03-02 00:00:00", "2026-03-02 00:00:00"},
		{"23 hours", "Europe/Berlin", limit.Day, "2026-03-29 00:00:00", "2026-03-30 00:00:00", "2026-03-29 22:00:00"},
		{"25 hours", "Europe/Berlin", limit.Day, "2026-10-25 00:00:00", "2026-10-26 00:00:00", "2026-10-25 23:00:00"},
		{"before a day without midnight", "America/Sao_Paulo", limit.Day, "2018-11-03 23:59:59", "2018-11-04 01:00:00", "2018-11-04 03:00:00"},
		{"a day without midnight", "America/Sao_Paulo", limit.Day, "2018-11-04 01:00:00", "2018-11-05 00:00:00", "2018-11-05 02:00:00"},
		{"a day that ends twice", "America/Sao_Paulo", limit.Day, "2018-02-17 12:00:00", "2018-02-18 00:00:00", "2018-02-18 03:00:00"},
		{"before a date that was skipped", "Pacific/Apia", limit.Day, "2011-12-29 23:59:59", "2011-12-31 00:00:00", "2011-12-30 10:00:00"},
		{"back over midnight", "America/St_Johns", limit.Day, "2010-11-06 12:00:00", "2010-11-07 00:00:00", "2010-11-07 02:30:00"},
		{"two midnights", "America/Havana", limit.Day, "2018-11-03 12:00:00", "2018-11-04 00:00:00", "2018-11-04 04:00:00"},
		{"two midnights at sea", "Atlantic/Azores", limit.Day, "2026-10-24 12:00:00", "2026-10-25 00:00:00", "2026-10-25 00:00:00"},
		{"two midnights east of Greenwich", "Asia/Amman", limit.Day, "2021-10-28 12:00:00", "2021-10-29 00:00:00", "2021-10-28 21:00:00"},
		{"a day that begins at half past", "America/Toronto", limit.Day, "1919-03-30 12:00:00", "1919-03-31 00:30:00", "1919-03-31 04:30:00"},
		{"a month", "Asia/Tokyo", limit.Month, "2026-02-28 23:59:59", "2026-03-01 00:00:00", "2026-02-28 15:00:00"},
		{"December", "UTC", limit.Month, "2026-12-31 23:59:59", "2027-01-01 00:00:00", "2027-01-01 00:00:00"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			loc := zone(t, tt.zone)
			c := at(t, tt.now, loc)
			l := newLimiter(t, &limit.Options{Now: c.Now, Location: loc}, limit.Limit{Requests: 3, Per: tt.per})
			if n := fill(t, l, limit.Send{}, 10); n != 3 {
				t.Fatalf("%d admitted, want 3", n)
			}
			reset := refused(t, l, limit.Send{}).Reset
			if got := reset.Format("2006-01-02 15:04:05"); got != tt.reset {
				t.Errorf("Reset is %s, want %s", got, tt.reset)
			}
			if got := reset.UTC().Format("2006-01-02 15:04:05"); got != tt.utc {
				t.Errorf("Reset is %s UTC, want %s", got, tt.utc)
			}
			c.set(t, tt.utc, time.UTC)
			c.add(-time.Nanosecond)
			if n := fill(t, l, limit.Send{}, 10); n != 0 {
				t.Errorf("%d admitted just before Reset, want 0", n)
			}
			c.add(time.Nanosecond)
			if n := fill(t, l, limit.Send{}, 10); n != 3 {
				t.Errorf("%d admitted at Reset, want 3", n)
			}
		})
	}
}

// TestEverySecondIsInOneWindow walks through the days around each change of clocks
// of zones with odd ones: each window is full at every moment until its Reset.
func TestEverySecondIsInOneWindow(t *testing.T) {
	for _, tt := range []struct{ zone, from string }{
		{"America/Sao_Paulo", "2018-11-03 00:00:00"},
		{"America/Sao_Paulo", "2018-02-16 00:00:00"},
		{"America/St_Johns", "2010-11-05 12:00:00"},
		{"America/St_Johns", "2011-03-12 00:00:00"},
		{"Pacific/Apia", "2011-12-29 00:00:00"},
		{"Africa/Cairo", "2014-05-14 12:00:00"},
		{"Asia/Beirut", "2023-03-25 00:00:00"},
		{"Europe/Berlin", "2026-10-24 12:00:00"},
		{"America/Havana", "2018-11-02 12:00:00"},
	} {
		t.Run(tt.zone+tt.from, func(t *testing.T) {
			loc := zone(t, tt.zone)
			c := at(t, tt.from, loc)
			end := c.Now().Add(80 * time.Hour)
			l := newLimiter(t, &limit.Options{Now: c.Now, Location: loc}, limit.Limit{Requests: 1, Per: limit.Day})
			var reset time.Time
			for c.Now().Before(end) {
				r := try(t, l, limit.Send{})
				if now := c.Now(); (r != nil) == now.Before(reset) {
					t.Fatalf("at %v admitted is %v, Reset was %v", now, r != nil, reset)
				}
				next := refused(t, l, limit.Send{}).Reset
				if !next.After(c.Now()) || next.Before(reset) {
					t.Fatalf("at %v Reset is %v, was %v", c.Now(), next, reset)
				}
				reset = next
				c.add(7*time.Minute + 30*time.Second)
			}
		})
	}
}

func TestAFrozenProcessNoticesThatWindowsHavePassed(t *testing.T) {
	for _, per := range []limit.Window{limit.Minute, limit.Day, limit.Month} {
		for _, d := range []time.Duration{32 * 24 * time.Hour, 400 * 24 * time.Hour} {
			c := at(t, "2026-03-01 12:00:00", time.UTC)
			l := newLimiter(t, &limit.Options{Now: c.Now}, limit.Limit{Requests: 3, Per: per})
			fill(t, l, limit.Send{}, 10)
			c.add(d)
			if n := fill(t, l, limit.Send{}, 10); n != 3 {
				t.Errorf("window %d after %v: %d admitted, want 3", per, d, n)
			}
		}
	}
}

// TestTheClockIsWallTime: a monotonic reading in Now would stand still in a
// process that is frozen.
func TestTheClockIsWallTime(t *testing.T) {
	start := time.Now()
	wall := start.Round(0)
	now := start
	l := newLimiter(t, &limit.Options{Now: func() time.Time { return now }}, limit.Limit{Requests: 1, Per: limit.Minute})
	fill(t, l, limit.Send{}, 1)
	now = wall.Add(2 * time.Minute)
	if fill(t, l, limit.Send{}, 1) != 1 {
		t.Error("the minute is not over after two")
	}
}

func TestAClockThatIsSetBackOpensNothing(t *testing.T) {
	for _, tt := range []struct {
		name           string
		per            limit.Window
		from, to       string
		before, opened string // the last second without room, and the first with
	}{
		{"minute", limit.Minute, "2026-03-01 12:00:30", "2026-03-01 11:00:00", "2026-03-01 11:01:00", "2026-03-01 11:01:01"},
		{"minute by a year", limit.Minute, "2026-03-01 12:00:30", "2025-03-01 11:00:00", "2025-03-01 11:01:00", "2025-03-01 11:01:01"},
		{"within a day", limit.Day, "2026-03-01 12:00:00", "2026-03-01 00:00:00", "2026-03-01 23:59:59", "2026-03-02 00:00:00"},
		{"over midnight", limit.Day, "2026-03-02 00:00:05", "2026-03-01 23:59:50", "2026-03-01 23:59:59", "2026-03-02 00:00:00"},
		{"by a year", limit.Day, "2026-03-02 00:00:05", "2025-03-01 23:00:00", "2025-03-01 23:59:59", "2025-03-02 00:00:00"},
		{"over the month", limit.Month, "2026-03-01 00:00:05", "2026-02-28 23:00:00", "2026-02-28 23:59:59", "2026-03-01 00:00:00"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := at(t, tt.from, time.UTC)
			l := newLimiter(t, &limit.Options{Now: c.Now}, limit.Limit{Requests: 10, Per: tt.per})
			fill(t, l, limit.Send{}, 4)
			c.set(t, tt.to, time.UTC)
			if n := fill(t, l, limit.Send{}, 100); n != 6 {
				t.Errorf("%d admitted after the clock was set back, want 6", n)
			}
			c.set(t, tt.before, time.UTC)
			if n := fill(t, l, limit.Send{}, 100); n != 0 {
				t.Errorf("%d admitted at %s, want 0", n, tt.before)
			}
			c.set(t, tt.opened, time.UTC)
			// In a minute, what was used is over bit by bit.
			if n := fill(t, l, limit.Send{}, 100); n != 10 {
				t.Errorf("%d admitted at %s, want 10", n, tt.opened)
			}
		})
	}
}

func TestWhatADayHadUsedIsKnownWhenTheClockReturnsToIt(t *testing.T) {
	c := at(t, "2026-03-01 23:59:50", time.UTC)
	l := newLimiter(t, &limit.Options{Now: c.Now}, limit.Limit{Requests: 10, Per: limit.Day})
	fill(t, l, limit.Send{}, 7)
	c.set(t, "2026-03-02 00:00:01", time.UTC)
	fill(t, l, limit.Send{}, 2)
	c.set(t, "2026-03-01 23:59:55", time.UTC)
	if n := fill(t, l, limit.Send{}, 100); n != 1 {
		t.Errorf("%d admitted, want the 1 that was left after 7 and 2", n)
	}
}

func TestAClockThatIsBackByLessThanASecondStandsStill(t *testing.T) {
	c := at(t, "2026-03-01 12:00:00", time.UTC)
	l := newLimiter(t, &limit.Options{Now: c.Now}, limit.Limit{Requests: 10, Per: limit.Minute})
	fill(t, l, limit.Send{}, 5)
	c.add(30 * time.Second)
	fill(t, l, limit.Send{}, 5)
	c.add(-200 * time.Millisecond)
	if got, want := refused(t, l, limit.Send{}).Reset, time.Date(2026, 3, 1, 12, 1, 1, 0, time.UTC); !got.Equal(want) {
		t.Errorf("Reset is %v, want %v", got, want)
	}
}

// TestAReservationFromBeforeTheClockWasSetBackGivesNothingBack: nobody knows what
// of the present window is its own.
func TestAReservationFromBeforeTheClockWasSetBackGivesNothingBack(t *testing.T) {
	c := at(t, "2026-03-01 12:00:30", time.UTC)
	l := newLimiter(t, &limit.Options{Now: c.Now}, limit.Limit{Requests: 10, Per: limit.Minute})
	old := try(t, l, limit.Send{})
	c.add(-40 * time.Second)
	fill(t, l, limit.Send{}, 100)
	c.add(40 * time.Second) // the second in which old was reserved, a second time
	old.Cancel()
	if n := fill(t, l, limit.Send{}, 100); n != 0 {
		t.Errorf("%d admitted, want 0", n)
	}
}
