package anomaly_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/middleware"
)

// A month is what five processes do in 30 days for three tenants: a shop that is open
// all the time, a desk with office hours, and a batch at night. Each tenant has its
// own key, which is rotated four times.
type month struct {
	rand    *rand.Rand
	records []*record
	rotated map[string][]time.Time // by tenant
	missed  map[string]int         // the rotation that a tenant does not have
	pickups map[pickup]time.Duration
}

// A pickup is a process that notices a rotation.
type pickup struct {
	tenant, process string
	rotation        int
}

// A record is an event or a send, at the time when it is told.
type record struct {
	at      time.Time
	process string
	event   credential.Event
	send    middleware.Send
}

const (
	days   = 30
	source = "vault:prod/openai"
)

var (
	monday       = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	tenants      = []string{"shop", "desk", "batch"}
	rotationDays = []int{5, 12, 19, 26}
	versions     = []string{"v1", "v2", "v3", "v4", "v5"}
	deployedDays = []int{0, 10, 20} // the processes have other names from then on
)

func on(day int, sinceMidnight time.Duration) time.Time {
	return monday.AddDate(0, 0, day).Add(sinceMidnight)
}

// newMonth returns a quiet month. missed are rotations that do not happen.
func newMonth(seed uint64, missed map[string]int) *month {
	m := &month{rand: rand.New(rand.NewPCG(seed, 1)), rotated: map[string][]time.Time{}, missed: missed, pickups: map[pickup]time.Duration{}}
	for _, tenant := range tenants {
		for i, day := range rotationDays {
			if n, ok := missed[tenant]; !ok || n != i {
				m.rotated[tenant] = append(m.rotated[tenant], on(day, m.upTo(24*time.Hour)))
			}
		}
	}
	for _, day := range deployedDays {
		for i := range 5 {
			m.begin(process(day, i), on(day, 0))
		}
	}
	m.rotate()
	for h := range days * 24 {
		for _, tenant := range tenants {
			m.hour(tenant, monday.Add(time.Duration(h)*time.Hour))
		}
	}
	return m
}

func (m *month) upTo(d time.Duration) time.Duration {
	return time.Duration(m.rand.Float64() * float64(d))
}

func process(day, i int) string {
	n := 0
	for n+1 < len(deployedDays) && day >= deployedDays[n+1] {
		n++
	}
	return fmt.Sprintf("web-%d", n*5+i)
}

// version is what a process uses at a time: it notices a rotation within five
// minutes.
func (m *month) version(tenant, process string, at time.Time) string {
	version := "v1"
	for i, t := range m.rotated[tenant] {
		key := pickup{tenant, process, i}
		if _, ok := m.pickups[key]; !ok {
			m.pickups[key] = m.upTo(5 * time.Minute)
		}
		if at.After(t.Add(m.pickups[key])) {
			version = versions[i+1]
		}
	}
	return version
}

func (m *month) event(kind credential.EventKind, tenant, process, version string, at time.Time) {
	m.records = append(m.records, &record{at: at, process: process, event: credential.Event{Kind: kind, Time: at, Tenant: tenant, Source: source, Version: version}})
}

// begin is a process that reads the keys of all tenants.
func (m *month) begin(process string, at time.Time) {
	for _, tenant := range tenants {
		m.event(credential.EventLoaded, tenant, process, m.version(tenant, process, at), at)
	}
}

// rotate tells of the rotations, when each process notices.
func (m *month) rotate() {
	for _, tenant := range tenants {
		for i, t := range m.rotated[tenant] {
			for n := range 5 {
				p := process(int(t.Sub(monday).Hours()/24), n)
				at := t.Add(m.pickups[pickup{tenant, p, i}] + time.Millisecond)
				m.event(credential.EventRotated, tenant, p, m.version(tenant, p, at), at)
			}
		}
	}
}

// load is how many sends an hour are usual.
func load(tenant string, at time.Time) float64 {
	h, weekend := at.Hour(), at.Weekday() == time.Saturday || at.Weekday() == time.Sunday
	switch tenant {
	case "shop":
		n := 10 + 50*math.Pow(math.Sin(math.Pi*float64(h)/24), 2)
		if weekend {
			n *= 1.3
		}
		return n
	case "desk":
		if weekend || h < 7 || h > 17 {
			return 0
		}
		return 40
	default:
		if h == 2 || h == 3 {
			return 300
		}
		return 2
	}
}

// hour is what a tenant does in an hour. Hours differ by a quarter or so, one in a
// hundred has twice as much to do, and in one in a hundred somebody stays at the desk.
func (m *month) hour(tenant string, begin time.Time) {
	n := load(tenant, begin) * math.Exp(0.25*m.rand.NormFloat64())
	if m.rand.Float64() < 0.01 {
		n *= 2
	}
	if stays := m.rand.Float64() < 0.01; n == 0 && stays {
		n = 30 * m.rand.Float64()
	}
	if n == 0 {
		return
	}
	for t := 0.0; ; {
		if t += m.rand.ExpFloat64() / n; t >= 1 {
			return
		}
		m.one(tenant, begin.Add(time.Duration(t*float64(time.Hour))))
	}
}

// one is a send of one of the processes.
func (m *month) one(tenant string, at time.Time) {
	p := process(int(at.Sub(monday).Hours()/24), m.rand.IntN(5))
	model := "gpt-4.1"
	switch x := m.rand.Float64(); {
	case x < 0.005:
		model = "o4-mini"
	case x < 0.4:
		model = "gpt-4.1-mini"
	}
	m.send(tenant, p, m.version(tenant, p, at), model, at)
}

func (m *month) send(tenant, process, version, model string, at time.Time) *middleware.Send {
	s := middleware.Send{
		Number: 1, Method: "POST", Host: "api.openai.com", Path: "/v1/responses", Model: model, Status: 200, Started: at, Ended: at.Add(m.upTo(10 * time.Second)),
		Credential: middleware.Identity{Tenant: tenant, Source: source, Version: version},
	}
	switch x := m.rand.Float64(); {
	case x < 0.001:
		s.Status, s.Credential.Refused = 401, true
	case x < 0.01:
		s.Status = 429
	default:
		tokens := 3000 * math.Exp(0.6*m.rand.NormFloat64())
		s.Usage = middleware.Usage{Reported: true, Input: int64(tokens * 0.8), Output: int64(tokens * 0.2)}
	}
	m.records = append(m.records, &record{at: s.Ended, process: process, send: s})
	return &m.records[len(m.records)-1].send
}

// sorted returns the records in the order in which they are told.
func (m *month) sorted() []*record {
	slices.SortStableFunc(m.records, func(a, b *record) int { return a.at.Compare(b.at) })
	return m.records
}

// A trouble is something that a Watch should notice, from when on.
type trouble struct {
	rule   string
	tenant string
	began  time.Time
}

// trouble makes a bad month out of a quiet one in which the batch has missed its last
// rotation, and returns what should be noticed.
func (m *month) trouble() []trouble {
	// The key that the desk had before its third rotation goes on to be used, at night,
	// elsewhere, with another model. Nobody has revoked it.
	leak := on(20, time.Hour)
	for _, day := range []int{20, 21, 22} {
		for i := range 180 {
			m.send("desk", "elsewhere", "v3", "gpt-4.5-preview", on(day, time.Hour+time.Duration(i)*time.Minute))
		}
	}
	// A loop of the shop calls the model without end, until somebody stops it.
	loop := on(27, 14*time.Hour+10*time.Minute)
	for i := range 1800 {
		m.send("shop", "web-12", m.version("shop", "web-12", loop), "gpt-4.1", loop.Add(time.Duration(i)*2*time.Second))
	}
	// The key of the batch is revoked by mistake, for twenty minutes.
	revoked := on(24, 2*time.Hour+10*time.Minute)
	for i := range m.records {
		s := &m.records[i].send
		if s.Credential.Tenant == "batch" && s.Started.After(revoked) && s.Started.Before(revoked.Add(20*time.Minute)) {
			s.Status, s.Credential.Refused, s.Usage = 401, true, middleware.Usage{}
		}
	}
	expiring := on(25, 9*time.Hour)
	m.event(credential.EventExpiring, "shop", "web-11", "v4", expiring)
	late := m.rotated["batch"][2].Add(rotateEvery * 11 / 10)
	return []trouble{
		{"old-version", "desk", leak}, {"new", "desk", leak}, {"unusual-hour", "desk", leak}, {"rate", "desk", leak},
		{"refused-widely", "batch", revoked}, {"refusals", "batch", revoked}, {"expiring", "shop", expiring}, {"late", "batch", late}, {"rate", "shop", loop},
	}
}

// rotateEvery is what the operators of the month aim at.
const rotateEvery = 8 * 24 * time.Hour
