package credential

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// The decisions as tables. A cell is what a call does:
//
//	serve bridge again fail stand     what it returns
//	await, await:300ms                that it waits for the ordinary read
//	change, change:400ms              that it waits for a change
//	+read +forced                     which read it starts first

func (a action) String() string {
	names := map[do]string{serve: "serve", bridge: "bridge", again: "again", fail: "fail", stand: "stand", awaitRead: "await", awaitChange: "change"}
	s := names[a.do]
	if a.wait > 0 {
		s += ":" + a.wait.Round(time.Millisecond).String()
	}
	return s + map[reading]string{none: "", ordinary: "+read", forced: "+forced"}[a.read]
}

const testNow = int64(1_000_000 * time.Second)

// columns are the states of the ordinary read.
var columns = []struct {
	name string
	set  func(*state)
}{
	{"idle", func(*state) {}},
	{"reading", func(s *state) { s.reading = true }},
	{"cooling after an outage", func(s *state) { s.outage, s.failing.until = true, testNow+int64(time.Second) }},
	{"cooling after not found", func(s *state) { s.failing.until = testNow + int64(time.Second) }},
	{"reading in an outage", func(s *state) { s.reading, s.outage = true, true }},
	{"idle after an outage", func(s *state) { s.outage = true }},
}

// lives are what the service thinks of the value.
var lives = map[string]func(*state){
	"-":        func(*state) {},
	"rejected": func(s *state) { s.rejected, s.recovery = true, recovery{row: 1, since: testNow} },
	"spent":    func(s *state) { s.rejected, s.recovery = true, recovery{row: 1, spent: true} },
	"lambda":   func(s *state) { s.inline = inlineBudget },
}

var retrievals = `
verdict    age    standing | idle           reading  cooling  notfound  reading+outage idle+outage
wanted     fresh  -        | serve          serve    serve    serve     serve          serve
wanted     due    -        | serve+read     serve    serve    serve     serve          serve+read
wanted     due    lambda   | await:300ms+read serve  serve    serve     serve          await:300ms+read
wanted     old    -        | await:1s+read  await:1s bridge   fail      bridge         await:1s+read
wanted     gone   -        | await+read     await    fail     fail      await          await+read
wanted     absent -        | await+read     await    fail     fail      await          await+read
wanted     absent lambda   | await+read     await    fail     fail      await          await+read
wanted     fresh  rejected | serve          serve    serve    serve     serve          serve
wanted     due    rejected | serve          serve    serve    serve     serve          serve
wanted     old    rejected | serve          serve    serve    serve     serve          serve
wanted     gone   rejected | change+forced  change+forced change+forced change+forced change+forced change+forced
wanted     fresh  spent    | serve          serve    serve    serve     serve          serve
wanted     due    spent    | serve          serve    serve    serve     serve          serve
wanted     old    spent    | await:1s+read  await:1s bridge   fail      bridge         await:1s+read
wanted     gone   spent    | await+read     await    fail     fail      await          await+read
unanswered fresh  -        | serve          serve    serve    serve     serve          serve
unanswered due    -        | serve          serve    serve    serve     serve          serve
unanswered old    -        | bridge         bridge   bridge   bridge    bridge         bridge
unanswered gone   -        | await          await    await    await     await          await
unanswered absent -        | await          await    await    await     await          await
unanswered old    rejected | serve          serve    serve    serve     serve          serve
unanswered gone   rejected | change+forced  change+forced change+forced change+forced change+forced change+forced
unanswered old    spent    | bridge         bridge   bridge   bridge    bridge         bridge
unread     fresh  -        | serve          serve    serve    serve     serve          serve
unread     due    -        | serve          serve    serve    serve     serve          serve
unread     old    -        | bridge         bridge   bridge   bridge    bridge         bridge
unread     gone   -        | fail           fail     fail     fail      fail           fail
unread     absent -        | fail           fail     fail     fail      fail           fail
unread     old    rejected | serve          serve    serve    serve     serve          serve
unread     gone   rejected | change+forced  change+forced change+forced change+forced change+forced change+forced
unread     old    spent    | bridge         bridge   bridge   bridge    bridge         bridge
unreadable fresh  -        | serve          serve    serve    serve     serve          serve
unreadable due    -        | serve          serve    serve    serve     serve          serve
unreadable old    -        | fail           fail     fail     fail      fail           fail
unreadable gone   -        | fail           fail     fail     fail      fail           fail
unreadable absent -        | fail           fail     fail     fail      fail           fail
unreadable old    rejected | serve          serve    serve    serve     serve          serve
unreadable old    spent    | fail           fail     fail     fail      fail           fail
`

func TestWhatARetrieveDoesInEveryState(t *testing.T) {
	verdicts := map[string]verdict{"wanted": wanted, "unanswered": unanswered, "unread": unread, "unreadable": unreadable}
	ages := map[string]age{"fresh": fresh, "due": due, "old": old, "gone": gone, "absent": absent}
	rows := 0
	for _, line := range strings.Split(strings.TrimSpace(retrievals), "\n")[1:] {
		head, cells, _ := strings.Cut(line, "|")
		h, want := strings.Fields(head), strings.Fields(cells)
		if len(h) != 3 || len(want) != len(columns) {
			t.Fatalf("malformed row: %s", line)
		}
		for i, column := range columns {
			s := state{age: ages[h[1]], grace: 5 * time.Second, tick: testNow}
			lives[h[2]](&s)
			column.set(&s)
			rows++
			if got := decide(&s, verdicts[h[0]], testNow).String(); got != want[i] {
				t.Errorf("%s, %s: %s, want %s", head, column.name, got, want[i])
			}
		}
	}
	if rows < 200 {
		t.Errorf("%d rows", rows)
	}
}

// A refusal is a call whose send was refused, so long after the recovery began.
type refusal struct {
	kind  kind
	after time.Duration
	is    func(*state)
	want  string
}

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

func polled(reads, ago int) func(*state) {
	return func(s *state) { s.recovery.reads, s.recovery.polled = reads, testNow-int64(ms(ago)) }
}

func offered(n int) func(*state) {
	return func(s *state) { s.recovery.offers, s.then.offers = n, n }
}

func with(sets ...func(*state)) func(*state) {
	return func(s *state) {
		for _, set := range sets {
			set(s)
		}
	}
}

var (
	asIs     = func(*state) {}
	reading1 = func(s *state) { s.forced = true }
	patient  = func(s *state) { s.recovery.patience = patience }
	slow     = func(s *state) { s.recovery.patience = 5 * time.Second }
	spent    = func(s *state) { s.recovery.spent = true }
	cooling  = func(s *state) { s.recovery.cool.until = testNow + int64(time.Second) }
	beyond   = func(s *state) { s.recovery.cool.until = testNow + int64(time.Hour) } // the clock was set back
	indebted = func(s *state) { s.recovery.debt = testNow + int64(credit) + 1 }
	owing    = func(s *state) { s.recovery.debt = testNow + int64(credit) }
	handed   = func(s *state) { s.recovery.offers++ } // an offer that this call has not had
	aged     = func(s *state) { s.age = old }
	expired  = func(s *state) { s.age = gone }
	marked   = func(s *state) { s.again = true }
	other    = func(s *state) { s.untried = true }   // the call sent another value
	vain     = func(s *state) { s.recovery.ended++ } // since the call was refused
)

var refusals = []refusal{
	// A value that was accepted before is read for at once, and then polled.
	{steady, 0, asIs, "change+forced"},
	{steady, 0, reading1, "change"},
	{steady, 0, expired, "change+forced"},
	{steady, 0, indebted, "stand"},
	{steady, 0, owing, "change+forced"},
	{steady, 0, marked, "stand"},
	{steady, 0, vain, "stand"},
	{steady, 0, other, "serve"},
	{steady, 0, with(other, reading1), "change"},
	{steady, 0, with(other, expired), "change+forced"},
	{steady, ms(7000), with(other, spent, cooling), "stand"},
	{newcomer, 0, other, "serve"},
	{steady, 0, with(vain, reading1), "stand"},
	{steady, 0, with(marked, reading1), "stand"},
	{steady, 0, patient, "change:1s"},
	{steady, ms(999), patient, "change:1ms"},
	{steady, ms(1000), patient, "change+forced"},
	{steady, ms(1000), with(patient, indebted), "change+forced"},
	{steady, ms(1000), with(slow, indebted), "change:4s"},
	{steady, ms(5000), with(slow, indebted), "change+forced"},
	{steady, ms(1), polled(1, 1), "change:54ms"},
	{steady, ms(55), polled(1, 55), "change+forced"},
	{steady, ms(55), with(polled(2, 0), indebted), "change:110ms"},
	{steady, ms(60), polled(2, 0), "change:110ms"},
	{steady, ms(200), polled(3, 0), "change:220ms"},
	{steady, ms(400), polled(4, 0), "change:440ms"},
	{steady, ms(900), polled(5, 0), "change:879ms"},
	{steady, ms(1800), polled(6, 0), "change:1.099s"},
	{steady, ms(2900), polled(7, 0), "change:1.099s"},
	{steady, ms(4500), polled(8, 0), "change:500ms"},
	{steady, ms(4500), polled(8, 1098), "change:1ms"},
	{steady, ms(4999), polled(8, 0), "change:1ms"},
	{steady, ms(5000), polled(8, 100), "change+forced"},
	{steady, time.Hour, polled(3, 3000), "change+forced"},
	{steady, ms(7000), with(spent, cooling), "stand"},
	{steady, ms(7000), with(spent, cooling, reading1), "change"},
	{steady, ms(7000), with(spent, beyond), "change+forced"},
	{steady, ms(7000), spent, "change+forced"},
	{steady, ms(7000), with(spent, reading1), "change"},
	{steady, ms(7000), with(spent, indebted), "change+forced"},
	// Nothing was ever accepted: a short grace, and one offer.
	{cold, 0, asIs, "change+forced"},
	{cold, 0, indebted, "change+forced"},
	{cold, 0, reading1, "change"},
	{cold, ms(1), polled(1, 1), "change:60ms"},
	{cold, ms(700), polled(5, 0), "change:981ms"},
	{cold, ms(1500), polled(5, 0), "change:400ms"},
	{cold, ms(1899), polled(5, 0), "change:1ms"},
	{cold, ms(2000), polled(5, 1032), "change+forced"},
	{cold, ms(2000), with(spent, cooling), "stand"},
	{cold, ms(2000), with(spent, cooling, handed), "serve"},
	{cold, ms(2000), with(spent, cooling, handed, aged), "serve"},
	{cold, ms(2000), with(spent, cooling, handed, expired), "stand"},
	{cold, ms(2000), with(spent, cooling, offered(1)), "stand"},
	{cold, ms(4000), with(spent, offered(1)), "change+forced"},
	{cold, ms(2000), with(handed, marked), "stand"},
	// A value that has just replaced another one is offered three times.
	{newcomer, 0, asIs, "change:400ms"},
	{newcomer, 0, indebted, "change:400ms"},
	{newcomer, ms(399), asIs, "change:1ms"},
	{newcomer, ms(400), asIs, "change+forced"},
	{newcomer, ms(400), reading1, "change"},
	{newcomer, ms(400), handed, "serve"},
	{newcomer, ms(400), with(handed, expired), "change:2s"},
	{newcomer, ms(400), offered(1), "change:2s"},
	{newcomer, ms(2399), offered(1), "change:1ms"},
	{newcomer, ms(2400), offered(1), "change+forced"},
	{newcomer, ms(2400), with(offered(1), handed), "serve"},
	{newcomer, ms(2400), offered(2), "change:2.6s"},
	{newcomer, ms(4999), offered(2), "change:1ms"},
	{newcomer, ms(5000), offered(2), "change+forced"},
	{newcomer, ms(5000), with(offered(3), spent, cooling), "stand"},
	{newcomer, ms(5000), with(offered(2), handed, spent, cooling), "serve"},
	{newcomer, ms(9000), with(offered(3), spent), "change+forced"},
	{newcomer, ms(5000), marked, "stand"},
}

func TestWhatAReplaceDoesInEveryState(t *testing.T) {
	for i, row := range refusals {
		s := state{age: fresh, rejected: true, tick: testNow, grace: 5 * time.Second, recovery: recovery{kind: row.kind, row: 1, since: testNow - int64(row.after)}}
		row.is(&s)
		if got := decide(&s, refused, testNow).String(); got != row.want {
			t.Errorf("row %d, kind %d after %v: %s, want %s", i, row.kind, row.after, got, row.want)
		}
	}
	for known, want := range map[bool]string{true: "again", false: "serve"} {
		s := state{known: known}
		if got := decide(&s, refuted, testNow).String(); got != want {
			t.Errorf("refuted, known %v: %s, want %s", known, got, want)
		}
	}
}

// The state after what happens: rows of a recovery, an event, and what it
// becomes in the words of brief.
func brief(r recovery) string {
	s := fmt.Sprintf("kind %d row %d reads %d offers %d", r.kind, r.row, r.reads, r.offers)
	for i, is := range []bool{r.spent, r.cool.until > testNow, r.patience > 0, r.debt > testNow} {
		if is {
			s += []string{" spent", " cooling", " patient", " debt"}[i]
		}
	}
	return s
}

func TestWhatBecomesOfARecovery(t *testing.T) {
	const grace = 5 * time.Second
	long := testNow - int64(time.Hour)
	base := recovery{kind: steady, row: 1, reads: 3, since: testNow, polled: testNow}
	over := base
	over.since = testNow - int64(grace)
	with := func(r recovery, f func(*recovery)) recovery { f(&r); return r }
	type row struct {
		name string
		got  recovery
		want recovery // of which only what brief says is compared
	}
	later := testNow + 1
	for _, c := range []row{
		{"first refusal", recovery{}.refused(testNow, steady, false, grace), recovery{kind: steady, row: 1}},
		{"first refusal, cold", recovery{}.refused(testNow, cold, false, grace), recovery{kind: cold, row: 1}},
		{"second in a row", base.refused(testNow, newcomer, false, grace), recovery{kind: newcomer, row: 2}},
		{"third in a row is a trial", with(base, func(r *recovery) { r.row = 2 }).refused(testNow, newcomer, false, grace), recovery{kind: newcomer, row: 3, reads: 3, offers: 1}},
		{"third in a row after the grace", with(over, func(r *recovery) { r.row = 2 }).refused(testNow, newcomer, false, grace), recovery{kind: newcomer, row: 3, reads: 3, offers: 1, spent: true, cool: coolDown{until: later}}},
		{"third in a row, long after the second", with(base, func(r *recovery) { r.row, r.polled = 2, long }).refused(testNow, newcomer, false, grace), recovery{kind: newcomer, row: 1}},
		{"refusal soon after a false alarm", recovery{debt: later}.refused(testNow, steady, false, grace), recovery{kind: steady, row: 1, patience: patience, debt: later}},
		{"the same of a value that cannot change", recovery{debt: later}.refused(testNow, steady, true, grace), recovery{kind: steady, row: 1, debt: later}},
		{"the same of a new value", recovery{debt: later}.refused(testNow, newcomer, false, grace), recovery{kind: newcomer, row: 1, debt: later}},
		{"refusal long after a false alarm", recovery{debt: long}.refused(testNow, steady, false, grace), recovery{kind: steady, row: 1}},
		{"acceptance", with(base, func(r *recovery) { r.spent, r.cool.until, r.debt = true, later, later }).accepted(), recovery{debt: later}},
		{"a read has begun", base.began(testNow), recovery{kind: steady, row: 1, reads: 4, debt: later}},
		{"a read has begun after the grace", with(base, func(r *recovery) { r.spent = true }).began(testNow), recovery{kind: steady, row: 1, reads: 3, spent: true}},
		{"another value", base.began(testNow).replaced(), recovery{kind: steady, row: 1, reads: 4}},
		{"another value, and the first one is accepted", base.replaced().mistaken(testNow), recovery{kind: steady, row: 1, reads: 3, debt: later}},
		{"the same value", base.concluded(testNow, grace, false, true, 0), base},
		{"the same value, at the end", over.concluded(testNow, grace, false, true, 0), with(base, func(r *recovery) { r.spent, r.cool.until = true, later })},
		{"the same value, hopeless", base.concluded(testNow, grace, true, true, 0), with(base, func(r *recovery) { r.spent, r.cool.until = true, later })},
		{"a read that took too long", base.concluded(testNow+int64(2*grace), grace, false, true, 0), with(base, func(r *recovery) { r.spent, r.cool.until = true, later })},
		{"the same value, after the end", with(base, func(r *recovery) { r.spent = true }).concluded(testNow, grace, false, true, 0), with(base, func(r *recovery) { r.spent, r.cool.until = true, later })},
		{"cold, within the grace", with(base, func(r *recovery) { r.kind = cold }).concluded(testNow, grace, false, true, 0), recovery{kind: cold, row: 1, reads: 3}},
		{"cold, at the end", with(over, func(r *recovery) { r.kind = cold }).concluded(testNow, grace, false, true, 0), recovery{kind: cold, row: 1, reads: 3, offers: 1, spent: true, cool: coolDown{until: later}}},
		{"cold, at the end, nothing to offer", with(over, func(r *recovery) { r.kind = cold }).concluded(testNow, grace, false, false, 0), recovery{kind: cold, row: 1, reads: 3, spent: true, cool: coolDown{until: later}}},
		{"newcomer, within the grace", with(base, func(r *recovery) { r.kind = newcomer }).concluded(testNow, grace, false, true, 0), recovery{kind: newcomer, row: 1, reads: 3, offers: 1}},
		{"newcomer, at the end", with(over, func(r *recovery) { r.kind = newcomer }).concluded(testNow, grace, false, true, 0), recovery{kind: newcomer, row: 1, reads: 3, offers: 1, spent: true, cool: coolDown{until: later}}},
	} {
		if got, want := brief(c.got), brief(c.want); got != want {
			t.Errorf("%s: %s, want %s", c.name, got, want)
		}
	}
}

func TestPollsEndWithTheGrace(t *testing.T) {
	for _, grace := range []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 7 * time.Second, 30 * time.Second} {
		r, reads := recovery{kind: steady, row: 1, since: testNow}, 0
		for at := testNow; ; at = r.next(grace) {
			r = r.began(at)
			if reads++; at >= r.end(grace) {
				break
			}
			if reads > 60 {
				t.Fatalf("grace %v: no end", grace)
			}
		}
		if last := time.Duration(r.polled - testNow); last != grace {
			t.Errorf("grace %v: the last poll is after %v", grace, last)
		}
		t.Logf("grace %v: %d reads", grace, reads)
	}
}

func TestTheWaitForAnAcceptanceGrowsWithTheDebt(t *testing.T) {
	const grace = 5 * time.Second
	for debt, want := range map[time.Duration]time.Duration{
		-time.Hour: 0, 0: 0, 1: patience, credit: patience, credit + 1: grace,
	} {
		r := recovery{debt: testNow + int64(debt)}.refused(testNow, steady, false, grace)
		if got := time.Duration(r.next(grace) - testNow); got != want {
			t.Errorf("with a debt of %v a call waits %v, want %v", debt, got, want)
		}
	}
	r := recovery{}
	for range 1000 { // a long time of false alarms
		r = r.owes(testNow)
	}
	if d := time.Duration(r.debt - testNow); d > credit+payback {
		t.Errorf("a debt of %v", d)
	}
}
