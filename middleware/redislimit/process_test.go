package redislimit_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	processes  = 4
	goroutines = 50
	dayMax     = 6000
	minuteMax  = 4000
	// requests is for tests of a whole Limiter.
	requests = 1300
)

// A fleet is four processes on one Redis.
type fleet struct {
	t     *testing.T
	cmds  []*exec.Cmd
	stdin []io.Closer
	out   []*bufio.Reader
}

func launch(t *testing.T, s *server, kind string, more ...string) *fleet {
	t.Helper()
	f := &fleet{t: t}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for range processes {
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Env = append(os.Environ(), "LATCHKEY_TEST_CHILD="+kind, "LATCHKEY_TEST_SOCKET="+s.socket,
			"LATCHKEY_TEST_NEW="+strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10))
		cmd.Env = append(cmd.Env, more...)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		f.cmds, f.stdin, f.out = append(f.cmds, cmd), append(f.stdin, in), append(f.out, bufio.NewReader(out))
	}
	return f
}

// stop ends the processes and returns what they report together.
func (f *fleet) stop() report {
	f.t.Helper()
	var sum report
	for _, in := range f.stdin {
		in.Close()
	}
	for i, cmd := range f.cmds {
		var rep report
		if err := json.NewDecoder(f.out[i]).Decode(&rep); err != nil {
			f.t.Errorf("process %d: %v", i, err)
		}
		if err := cmd.Wait(); err != nil {
			f.t.Errorf("process %d: %v", i, err)
		}
		sum.Uses = append(sum.Uses, rep.Uses...)
		sum.Refused += rep.Refused
		sum.Failed += rep.Failed
		sum.Down += rep.Down
		sum.NotFlushed += rep.NotFlushed
	}
	return sum
}

// check is the checker: what was used of the day, and in any minute.
func (r *report) check(t *testing.T, perMinute int64) (ofDay, ofMinutes int64) {
	t.Helper()
	seconds := map[int64]int64{}
	for _, u := range r.Uses {
		if u.Minute {
			seconds[u.At] += u.Amount
			ofMinutes += u.Amount
		} else {
			ofDay += u.Amount
		}
	}
	for end := range seconds {
		var n int64
		for at, amount := range seconds {
			if at > end-60 && at <= end {
				n += amount
			}
		}
		if n > perMinute {
			t.Errorf("%d used in the minute until %d, the ceiling is %d", n, end, perMinute)
		}
	}
	if ofDay > dayMax {
		t.Errorf("%d used in a day, the ceiling is %d", ofDay, dayMax)
	}
	t.Logf("%d uses, %d of the day, %d of minutes; %d refused, %d failed, %d for want of the counter", len(r.Uses)/2, ofDay, ofMinutes, r.Refused, r.Failed, r.Down)
	return ofDay, ofMinutes
}

// calls waits until the Redis, since it was started, has run n scripts.
func calls(t *testing.T, client *redis.Client, n int) {
	t.Helper()
	await(t, func() bool {
		stats, err := client.Info(context.Background(), "commandstats").Result()
		if err != nil {
			return false
		}
		_, after, ok := strings.Cut(stats, "cmdstat_evalsha:calls=")
		number, _, _ := strings.Cut(after, ",")
		have, _ := strconv.Atoi(number)
		return ok && have >= n
	})
}

// sameDay keeps a test away from midnight, where a ceiling begins anew.
func sameDay(t *testing.T) {
	now := time.Now().UTC()
	if now.Add(2*time.Minute).YearDay() != now.YearDay() {
		t.Skip("the day ends in two minutes")
	}
}

func TestFourProcessesNeverPassACeiling(t *testing.T) {
	sameDay(t)
	s := start(t)
	client := s.client(s.socket)
	began := time.Now()
	f := launch(t, s, "counter")
	calls(t, client, 8000)
	rep := f.stop()
	ofDay, ofMinutes := rep.check(t, minuteMax)
	if rep.Failed > 0 || rep.NotFlushed > 0 || rep.Refused == 0 {
		t.Errorf("%d failed, %d not flushed, %d refused", rep.Failed, rep.NotFlushed, rep.Refused)
	}
	// Each settlement was applied once, and none was lost.
	if d, m := used(t, client, day("d", 0, 0)), used(t, client, minute("m", 0, 0)); d != ofDay || m != ofMinutes && time.Since(began) < 50*time.Second {
		t.Errorf("Redis counts %d and %d, %d and %d were used", d, m, ofDay, ofMinutes)
	}
}

func TestFourProcessesNeverPassACeilingWhileRedisIsKilled(t *testing.T) {
	for name, env := range map[string]string{"client that sends again": "", "client that sends once": "yes"} {
		t.Run(name, func(t *testing.T) {
			sameDay(t)
			s := start(t)
			client := s.client(s.socket)
			f := launch(t, s, "counter", "LATCHKEY_TEST_ONCE="+env)
			for range 4 {
				calls(t, client, 300)
				s.kill()
				s.boot()
			}
			calls(t, client, 4000)
			rep := f.stop()
			ofDay, _ := rep.check(t, minuteMax)
			// A client that sends again fails, too, if it finds no Redis each time.
			if rep.NotFlushed > 0 || rep.Refused == 0 || rep.Failed == 0 && env != "" {
				t.Errorf("%d not flushed, %d refused, %d failed", rep.NotFlushed, rep.Refused, rep.Failed)
			}
			// What was reserved for a caller who was told that it failed is given back.
			if d := used(t, client, day("d", 0, 0)); d != ofDay {
				t.Errorf("Redis counts %d, %d were used", d, ofDay)
			}
		})
	}
}

func TestFourProcessesNeverPassACeilingWhenRedisLosesItsData(t *testing.T) {
	sameDay(t)
	s := start(t)
	client := s.client(s.socket)
	f := launch(t, s, "counter")
	await(t, func() bool { return used(t, client, day("d", 0, 0)) > dayMax/2 })
	s.kill()
	if err := os.RemoveAll(filepath.Join(s.dir, "appendonlydir")); err != nil {
		t.Fatal(err)
	}
	s.boot()
	calls(t, client, 3000)
	rep := f.stop()
	rep.check(t, minuteMax)
	if rep.Failed == 0 || len(rep.Uses) == 0 {
		t.Errorf("%d failed, %d uses", rep.Failed, len(rep.Uses))
	}
}

func TestLimitersOfFourProcessesNeverPassACeiling(t *testing.T) {
	for _, fallback := range []string{"0", "0.02"} {
		t.Run(fallback, func(t *testing.T) {
			sameDay(t)
			s := start(t)
			client := s.client(s.socket)
			f := launch(t, s, "limiter", "LATCHKEY_TEST_ONCE=yes", "LATCHKEY_TEST_FALLBACK="+fallback)
			for range 3 {
				calls(t, client, 300)
				s.kill()
				s.boot()
			}
			calls(t, client, 3000)
			rep := f.stop()
			rep.check(t, requests)
			if rep.NotFlushed > 0 || rep.Refused == 0 || (rep.Down > 0) != (fallback == "0") {
				t.Errorf("%d not flushed, %d refused, %d for want of the counter", rep.NotFlushed, rep.Refused, rep.Down)
			}
		})
	}
}
