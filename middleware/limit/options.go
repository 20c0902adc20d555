package limit

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

const defaultMaxKeys = 10_000

// Options are what limits have in common. Nil is the zero Options.
type Options struct {
	// Prices are for limits with Cost. The key is the name that the request has
	// for the model: exactly, or else the longest that is the beginning of it
	// before a '-' ("gpt-4o" for "gpt-4o-2024-08-06"), or else "*". Without one of
	// these a send is refused with ErrPrice.
	Prices map[string]Price
	// WorstInput and WorstOutput are how many tokens a send may use at the most,
	// where it does not tell. Both must be more than 0 if a limit has Tokens or
	// Cost.
	WorstInput, WorstOutput int64
	// Location is where a Day and a Month begin and end; nil is UTC.
	Location *time.Location
	// MaxKeys is how many counts are kept for each limit; 0 is 10,000. A count
	// with nothing in it makes room for another. When all are in use, further keys
	// share one more count, so that together they have what each would have alone,
	// until that count is empty. Keys of more than 1,024 bytes always share one.
	MaxKeys int
	// Counter counts for several processes; nil is for this process alone. Each
	// Reserve waits for it once. A soft limit is reported by what this process has
	// counted: a Counter does not tell what others did.
	Counter Counter
	// Processes is how many processes share the ceilings at the most, in any window:
	// a process that is started again is one more, as it does not know what the
	// one before it has used alone. It is needed with Fallback.
	Processes int
	// Fallback is the part of each ceiling, from 0 to 1, that this process may use
	// alone in each window while the Counter fails. 0 refuses: sends fail with an
	// error that wraps ErrCounter. So that the ceilings hold in every mix, all
	// processes together may use 1-Processes*Fallback of each through the Counter,
	// even if it never fails; at 1 that is nothing. When the Counter is back, it is
	// told what was used alone, and counts that, too. Processes*Fallback must not be
	// more than 1.
	Fallback float64
	// OnEvent is told when a limit is first passed or first refuses, once a window
	// and count, and when the Counter fails and is back. It is called on the
	// goroutine of the send, which waits for it, without a lock held, and by
	// several goroutines at once. Nil is nobody.
	OnEvent func(Event)
	// Now is the clock; nil is time.Now. It must not call the Limiter.
	Now func() time.Time
}

// New returns a Limiter for the limits. It returns an error that names the limit
// and what to do if one of them or the options do not make sense. No limits are
// none, and nothing is refused.
func New(limits []Limit, opts *Options) (*Limiter, error) {
	l := &Limiter{}
	if opts != nil {
		l.opts = *opts
	}
	o := &l.opts
	l.now = o.Now
	if l.now == nil {
		l.now = time.Now
	}
	l.location = o.Location
	if l.location == nil {
		l.location = time.UTC
	}
	if o.MaxKeys == 0 {
		o.MaxKeys = defaultMaxKeys
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	l.prices = make(map[string]*price, len(o.Prices))
	for name, p := range o.Prices {
		q, err := newPrice(p)
		if err != nil {
			return nil, fmt.Errorf("limit: Options.Prices[%s]: %w", quote(name), err)
		}
		l.prices[name] = q
	}
	o.Prices = nil
	l.rules.Store(&[]*rule{})
	if err := l.Set(limits); err != nil {
		return nil, err
	}
	return l, nil
}

func (o *Options) check() error {
	switch {
	case o.WorstInput < 0 || o.WorstOutput < 0:
		return errors.New("limit: Options.WorstInput and WorstOutput must not be negative")
	case o.MaxKeys < 0:
		return errors.New("limit: Options.MaxKeys must not be negative")
	case o.Processes < 0:
		return errors.New("limit: Options.Processes must not be negative")
	case !(o.Fallback >= 0 && o.Fallback <= 1):
		return fmt.Errorf("limit: Options.Fallback is %v: it must be from 0 to 1", o.Fallback)
	case o.Fallback == 0:
		return nil
	case o.Counter == nil:
		return errors.New("limit: Options.Fallback is for a Counter that fails: set Counter, too")
	case o.Processes == 0:
		return errors.New("limit: Options.Fallback needs Options.Processes, the most processes that share the ceilings")
	case float64(o.Processes)*o.Fallback > 1:
		return fmt.Errorf("limit: %d processes with a Fallback of %v each could pass the ceilings: Processes*Fallback must not be more than 1", o.Processes, o.Fallback)
	}
	return nil
}

// Set replaces the limits, while sends are under way, too. The counts of a limit
// with the same Name, By and Per as one before are kept; those of a limit that is
// left out are lost. If Set returns an error, nothing has changed. A Reserve that
// has begun goes by the limits that it found.
func (l *Limiter) Set(limits []Limit) error {
	if err := l.check(limits); err != nil {
		return err
	}
	l.set.Lock()
	defer l.set.Unlock()
	old := *l.rules.Load()
	rules := make([]*rule, len(limits))
	for i, lim := range limits {
		r := newRule(lim, &l.opts)
		for _, o := range old {
			if o.limit.Name == lim.Name && o.limit.By == lim.By && o.limit.Per == lim.Per {
				r.table = o.table
			}
		}
		if r.table == nil {
			r.table = newTable(lim, l.opts.MaxKeys)
		}
		rules[i] = r
	}
	// A soft limit is passed by a send that is sent: it comes after those that may
	// refuse it.
	slices.SortStableFunc(rules, func(a, b *rule) int {
		switch {
		case a.limit.Soft == b.limit.Soft:
			return 0
		case a.limit.Soft:
			return 1
		}
		return -1
	})
	l.rules.Store(&rules)
	return nil
}

func (l *Limiter) check(limits []Limit) error {
	names := map[string]bool{}
	for i, lim := range limits {
		if lim.Name == "" && len(limits) > 1 {
			return fmt.Errorf("limit: limit %d of %d has no Name: give each a Name of its own", i+1, len(limits))
		}
		if names[lim.Name] {
			return fmt.Errorf("limit: two limits are called %s: give each a Name of its own", quote(lim.Name))
		}
		names[lim.Name] = true
		if err := lim.check(&l.opts); err != nil {
			return fmt.Errorf("limit %s: %w", quote(lim.Name), err)
		}
	}
	return nil
}

func (lim *Limit) check(o *Options) error {
	windowed := lim.Requests != 0 || lim.Tokens != 0 || lim.Cost != 0
	switch {
	case lim.Requests < 0 || lim.Tokens < 0 || lim.Cost < 0 || lim.InFlight < 0:
		return errors.New("a ceiling must not be negative; 0 is none")
	case !windowed && lim.InFlight == 0:
		return errors.New("it has no ceiling: set Requests, Tokens, Cost or InFlight")
	case lim.By > ByTenant|ByModel|ByEndpoint:
		return fmt.Errorf("%d in By is no Key", lim.By)
	case lim.Per > Month:
		return fmt.Errorf("its Per is %d: set Minute, Day or Month", lim.Per)
	case windowed && lim.Per == 0:
		return errors.New("a ceiling of Requests, Tokens or Cost needs a window: set Per to Minute, Day or Month")
	case !windowed && lim.Per != 0:
		return errors.New("a ceiling of InFlight has no window: leave Per out")
	case lim.Cost != 0 && !(lim.Cost >= 1/billion && lim.Cost <= math.MaxInt64/billion/2):
		return fmt.Errorf("a Cost of %v cannot be counted: it must be from a billionth to %g", lim.Cost, math.Floor(math.MaxInt64/billion/2))
	case (lim.Tokens != 0 || lim.Cost != 0) && (o.WorstInput == 0 || o.WorstOutput == 0):
		return errors.New("a request may not tell what it uses at the most: set Options.WorstInput and WorstOutput")
	}
	return nil
}

// A rule is a Limit as it is applied. It never changes.
type rule struct {
	limit Limit
	table *table
	// most is the ceiling of each kind, 0 for none; through is the part that may be
	// reserved through the counter and alone the part for this process while the
	// counter fails.
	most, through, alone amounts
}

func newRule(lim Limit, o *Options) *rule {
	r := &rule{limit: lim}
	r.most = amounts{lim.Requests, lim.Tokens, int64(math.Floor(lim.Cost*billion + 1e-3))}
	for k, n := range r.most {
		// The shares of all and what is left make up the ceiling, rounded or not.
		alone := min(int64(float64(n)*o.Fallback), n)
		if o.Processes > 0 {
			alone = min(alone, n/int64(o.Processes))
		}
		r.alone[k], r.through[k] = alone, n-alone*int64(o.Processes)
	}
	return r
}

// matches reports whether the rule is for the send.
func (r *rule) matches(s *Send) bool {
	lim := &r.limit
	return (lim.Tenant == "" || lim.Tenant == s.Tenant) &&
		(lim.Model == "" || lim.Model == s.Model) &&
		(lim.Endpoint == "" || lim.Endpoint == s.Endpoint)
}

func (r *rule) key(s *Send) (k key) {
	if r.limit.By&ByTenant != 0 {
		k.tenant = s.Tenant
	}
	if r.limit.By&ByModel != 0 {
		k.model = s.Model
	}
	if r.limit.By&ByEndpoint != 0 {
		k.endpoint = s.Endpoint
	}
	return k
}

// names returns what errors, events and states tell of a count.
func (r *rule) names(k key) (tenant, model, endpoint string) {
	tenant, model, endpoint = r.limit.Tenant, r.limit.Model, r.limit.Endpoint
	if tenant == "" {
		tenant = k.tenant
	}
	if model == "" {
		model = k.model
	}
	if endpoint == "" {
		endpoint = k.endpoint
	}
	return tenant, model, endpoint
}
