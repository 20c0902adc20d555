package anomaly

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/latchkey-go/latchkey/middleware/limit"
)

// Options configure a [Watch]. OnAlert or Logger is required.
type Options struct {
	// OnAlert is told of each alert, on the goroutine of the event or the send. It may
	// be called on several at once, and may call the Watch.
	OnAlert func(Alert)
	// Logger gets each alert as a record of [slog.LevelWarn].
	Logger *slog.Logger
	// Process names this process in the alerts of OnEvent and Observe. Replay takes
	// the names that the lines have.
	Process string
	// Since is from when on alerts are told: a process that begins with a Replay of what
	// it has logged before sets it to the time of its start. What was found before, and
	// goes on, counts as told. The zero time is all.
	Since time.Time
	// Overlap is how long a version may be used after it was replaced; 0 is 10
	// minutes. It should be longer than CacheOptions.TTL.
	Overlap time.Duration
	// Processes is how many processes must be refused the same version for
	// RefusedWidely, from 2 to 16; 0 is 3.
	Processes int
	// Refusals is how many refused sends in five minutes Refusals takes; 0 is 10.
	Refusals int
	// RateRatio, RateDeviations and RateFloor are for Rate, which alerts when an hour's
	// use passes all of: RateRatio times the mean of that hour of the week, the mean plus
	// RateDeviations standard deviations, and RateFloor. 0 is a ratio of 4, 6 deviations and
	// a floor of 100,000 tokens, or with Prices 1 of the currency. Mean and deviation are the highest
	// of the hour, the one before and the one after.
	RateRatio, RateDeviations, RateFloor float64
	// Prices makes Rate watch spend instead of tokens. The names are those of
	// limit.Options.Prices. A model without a price costs what the dearest one does.
	Prices map[string]limit.Price
	// Learn is how long models, endpoints and tenants are learned before NewName alerts; 0
	// is 7 days.
	Learn time.Duration
	// UnusualSends is how many sends in the hour UnusualHour takes; 0 is 20.
	UnusualSends int
	// RotateEvery is how often credentials are to be rotated, for Late; 0 turns it off.
	RotateEvery time.Duration
}

const (
	mostProcesses = 16 // that are remembered of a version

	defaultOverlap      = 10 * time.Minute
	defaultProcesses    = 3
	defaultRefusals     = 10
	defaultRatio        = 4
	defaultDeviations   = 6
	defaultTokens       = 100_000
	defaultSpend        = 1
	defaultLearn        = 7 * 24 * time.Hour
	defaultUnusualSends = 20
)

// ready returns o with its defaults.
func (o Options) ready() (Options, error) {
	if o.OnAlert == nil && o.Logger == nil {
		return o, errors.New("anomaly: nobody would be told: give OnAlert or Logger")
	}
	if o.Overlap < 0 || o.Refusals < 0 || o.Learn < 0 || o.UnusualSends < 0 || o.RotateEvery < 0 {
		return o, errors.New("anomaly: Overlap, Refusals, Learn, UnusualSends and RotateEvery must not be negative")
	}
	if o.Processes != 0 && (o.Processes < 2 || o.Processes > mostProcesses) {
		return o, fmt.Errorf("anomaly: Processes is %d; want 2 to %d", o.Processes, mostProcesses)
	}
	for _, f := range []float64{o.RateRatio, o.RateDeviations, o.RateFloor} {
		if !(f >= 0) || math.IsInf(f, 0) {
			return o, errors.New("anomaly: RateRatio, RateDeviations and RateFloor must be numbers that are not negative")
		}
	}
	if o.RateRatio != 0 && o.RateRatio < 1 {
		return o, fmt.Errorf("anomaly: RateRatio is %v; want at least 1", o.RateRatio)
	}
	o.defaults()
	return o, nil
}

func (o *Options) defaults() {
	orDefault(&o.Overlap, defaultOverlap)
	orDefault(&o.Processes, defaultProcesses)
	orDefault(&o.Refusals, defaultRefusals)
	orDefault(&o.RateRatio, defaultRatio)
	orDefault(&o.RateDeviations, defaultDeviations)
	orDefault(&o.Learn, defaultLearn)
	orDefault(&o.UnusualSends, defaultUnusualSends)
	if len(o.Prices) > 0 {
		orDefault(&o.RateFloor, defaultSpend)
	} else {
		orDefault(&o.RateFloor, defaultTokens)
	}
}

func orDefault[T int | float64 | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}
