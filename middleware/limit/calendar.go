package limit

import "time"

// period returns the day or month that holds the second now, as Unix time: its
// first second and that of the next one.
//
// Periods follow each other without a gap or an overlap, also where a zone skips
// midnight or a whole day, or goes back over midnight.
func period(per Window, now int64, loc *time.Location) (start, end int64) {
	y, m, d := time.Unix(now, 0).In(loc).Date()
	first := func(n int) int64 { return firstOfDay(y, m, d+n, loc) }
	if per == Month {
		first = func(n int) int64 { return firstOfDay(y, m+time.Month(n), 1, loc) }
	}
	// Clocks that go back from 0:30 to 23:30 make the second half hour of a date
	// follow the first minutes of the next one. It counts for the next.
	n := 0
	for first(n+1) <= now {
		n++
	}
	return first(n), first(n + 1)
}

// firstOfDay returns the first second of a date.
//
// Where clocks go back, a date may have two midnights, and where they go ahead,
// none; time.Date does not say which of two times it returns then.
func firstOfDay(y int, m time.Month, d int, loc *time.Location) int64 {
	t := time.Date(y, m, d, 0, 0, 0, 0, loc)
	start, end := t.ZoneBounds()
	if h, minute, s := t.Clock(); h != 0 || minute != 0 || s != 0 {
		// There is no midnight: the date begins when the zone changes.
		if t.Day() == time.Date(y, m, d, 12, 0, 0, 0, time.UTC).Day() {
			return start.Unix()
		}
		return end.Unix()
	}
	_, offset := t.Zone()
	_, before := start.Add(-time.Second).Zone()
	if first := t.Add(time.Duration(offset-before) * time.Second); first.Before(start) && offset < before {
		return first.Unix()
	}
	return t.Unix()
}
