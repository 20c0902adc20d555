package throttle

import "time"

// A Scenario is a service and those who call it.
type Scenario struct {
	Name string
	What string
	// Answer is how long the service takes for an answer. It refuses at once.
	Answer  time.Duration
	Headers Headers
	// Limits of each model, all at the same time. A model that is not here has
	// none.
	Limits map[string][]Limit
	Groups []Group
	// For is how long groups without a number of calls go on.
	For time.Duration
	// Steady is when the figures of the steady state begin.
	Steady time.Duration
	// Back is when a limit is lifted; zero if none is.
	Back time.Duration
}

// A Group is workers that do the same, each of them one call after the other.
type Group struct {
	Name    string
	Model   string
	Process int // groups of the same process share a client
	Workers int
	// Calls of each worker; zero means as many as it can make in Scenario.For.
	Calls int
	// Prompts are the sizes of the prompts in tokens, which take turns.
	Prompts []int
	// Deadline of each call; zero means none.
	Deadline time.Duration
	// After is when the group begins.
	After time.Duration
	// Every is the pause between two calls of a worker.
	Every time.Duration
}

const (
	modelA = "gpt-4.1"
	modelB = "gpt-4.1-mini"
	// answer is the service's latency.
	answer = 20 * time.Millisecond
	rate   = 20
	// calls of each worker, where they are counted.
	calls = 5
	// run is how long workers call, where they are not.
	run = 30 * time.Second
)

func requests(phases ...Phase) map[string][]Limit {
	return map[string][]Limit{modelA: {{Burst: rate, Phases: phases}}}
}

// Scenarios returns all of them.
func Scenarios() []Scenario {
	return append([]Scenario{
		workers("workers10", 10), workers("workers30", 30), workers("workers50", 50),
		workers("workers200", 200), workers("workers500", 500),
		deadline500(), drop(), lift(), fairness(), models(), tokens(), processes(), deadline(), slow(),
	}, variants()...)
}

// wholeSecond is how OpenAI answers.
func wholeSecond() Headers { return Headers{RetryAfter: true} }

func workers(name string, n int) Scenario {
	return Scenario{
		Name: name, What: "5 calls each, at 20 a second with a burst of 20",
		Answer: answer, Headers: wholeSecond(), Limits: requests(Phase{Rate: rate}),
		Groups: []Group{{Name: "workers", Model: modelA, Workers: n, Calls: calls}},
	}
}

func deadline500() Scenario {
	s := workers("deadline500", 500)
	s.What = "500 workers with 5 calls each, and a deadline of 10 s for each call, at 20 a second"
	s.Groups[0].Deadline = 10 * time.Second
	s.Steady = 2 * time.Second
	return s
}

// endless is workers that call for 30 s without a pause.
func endless(name, what string, n int) Scenario {
	s := workers(name, n)
	s.What = what
	s.Groups[0].Calls = 0
	s.For = run
	return s
}

func drop() Scenario {
	s := endless("drop", "50 workers call for 30 s without a pause; 20 a second for 8 s, 2 a second for 10 s, 20 a second again", 50)
	s.Limits = requests(Phase{Rate: rate, For: 8 * time.Second}, Phase{Rate: rate / 10, For: 10 * time.Second}, Phase{Rate: rate})
	s.Back = 18 * time.Second
	return s
}

func lift() Scenario {
	s := endless("lift", "50 workers call for 20 s without a pause; 20 a second for 8 s, then 200 a second", 50)
	s.Limits = requests(Phase{Rate: rate, For: 8 * time.Second}, Phase{Rate: 10 * rate})
	s.For, s.Back = 20*time.Second, 8*time.Second
	return s
}

func fairness() Scenario {
	s := endless("fairness", "50 workers call for 30 s without a pause, at 20 a second; p50 and p99 from 5 s on", 50)
	s.Steady = 5 * time.Second
	return s
}

func models() Scenario {
	s := endless("models", "one key, two models: 50 workers at 20 a second, and 5 workers with another model that has no limit", 50)
	s.For = run / 2
	s.Groups = append(s.Groups, Group{Name: "other", Model: modelB, Workers: 5})
	return s
}

func tokens() Scenario {
	s := workers("tokens", 40)
	s.What = "40 workers with 5 calls each, prompts of 50 and of 600 tokens in turn, at 4,000 tokens a second"
	s.Limits = map[string][]Limit{modelA: {{Tokens: true, Burst: 4000, Phases: []Phase{{Rate: 4000}}}}}
	s.Groups[0].Prompts = []int{50, 600}
	return s
}

func processes() Scenario {
	s := endless("processes4", "4 processes with nothing shared, of 12 workers each, call for 30 s without a pause, at 20 a second in all", 12)
	for p := 1; p < 4; p++ {
		s.Groups = append(s.Groups, Group{Name: "workers", Model: modelA, Process: p, Workers: 12})
	}
	s.Steady = 5 * time.Second
	return s
}

func deadline() Scenario {
	s := endless("deadline", "50 workers wait 2.5 s for each call, at 20 a second; a prober's calls have 500 ms", 50)
	s.For = run / 2
	s.Groups = append(s.Groups, Group{
		Name: "prober", Model: modelA, Workers: 2, Deadline: 500 * time.Millisecond,
		After: 3 * time.Second, Every: 500 * time.Millisecond,
	})
	return s
}

// slow answers are what a long completion takes: most of the requests that a
// refusal or a new limit is about were sent long before.
func slow() Scenario {
	s := workers("slow", 100)
	s.What = "100 workers with 5 calls each, at 20 a second; an answer takes 2 s"
	s.Answer = 2 * time.Second
	return s
}

// variants are the other ways in which services limit and say so.
func variants() []Scenario {
	ms, none, hints := workers("retry-after-ms", 50), workers("no-hint", 50), workers("x-ratelimit", 50)
	ms.What = "50 workers with 5 calls each, at 20 a second; a 429 has retry-after-ms and no Retry-After"
	ms.Headers = Headers{RetryAfterMS: true}
	none.What = "50 workers with 5 calls each, at 20 a second; a 429 does not say when"
	none.Headers = Headers{}
	hints.What = "50 workers with 5 calls each, at 20 a second; each answer has x-ratelimit-*, and a 429 Retry-After as well"
	hints.Headers = Headers{RetryAfter: true, RateLimit: true}
	windows := workers("windows", 50)
	windows.What = "50 workers with 5 calls each; 20 in each second of the clock, whenever in it"
	windows.Limits = map[string][]Limit{modelA: {{Window: time.Second, Phases: []Phase{{Rate: rate}}}}}
	return []Scenario{ms, none, hints, windows}
}

// Quick returns a third of the scenario: of the calls of each worker, and of
// each time.
func (s Scenario) Quick() Scenario {
	const part = 3
	s.What += "; a third of that"
	s.For /= part
	s.Steady /= part
	s.Back /= part
	limits := map[string][]Limit{}
	for model, of := range s.Limits {
		for _, l := range of {
			phases := append([]Phase(nil), l.Phases...)
			for i := range phases {
				phases[i].For /= part
			}
			l.Phases = phases
			limits[model] = append(limits[model], l)
		}
	}
	s.Limits = limits
	groups := append([]Group(nil), s.Groups...)
	for i, g := range groups {
		groups[i].Calls = (g.Calls + part - 1) / part
		groups[i].After /= part
	}
	s.Groups = groups
	return s
}
