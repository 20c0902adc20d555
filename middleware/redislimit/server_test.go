package redislimit_test

import (
	"bytes"
	"context"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/latchkey-go/latchkey/middleware/limit"
	"github.com/latchkey-go/latchkey/middleware/redislimit"
)

// A server is a redis-server on a Unix socket that writes before it answers.
type server struct {
	t      *testing.T
	dir    string
	socket string
	more   []string
	cmd    *exec.Cmd
	out    bytes.Buffer
}

// start runs a Redis of its own for the test. CI has one; where there is none
// the test is skipped.
func start(t *testing.T, more ...string) *server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("LATCHKEY_NEED_REDIS") != "" {
			t.Fatalf("no redis-server: %v", err)
		}
		t.Skip("no redis-server in PATH")
	}
	// The path of a socket is short, the names of tests are not.
	dir, err := os.MkdirTemp("", "redis")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, dir: dir, socket: filepath.Join(dir, "s"), more: more}
	t.Cleanup(func() {
		s.kill()
		_ = os.RemoveAll(dir)
	})
	s.boot()
	return s
}

// boot starts the server on what is in its directory.
func (s *server) boot() {
	s.t.Helper()
	args := append([]string{"--port", "0", "--unixsocket", s.socket, "--dir", s.dir, "--save", "",
		"--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"}, s.more...)
	s.out.Reset()
	s.cmd = exec.Command("redis-server", args...)
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: s.socket})
	defer client.Close()
	await(s.t, func() bool {
		err := client.Ping(context.Background()).Err()
		return err == nil || strings.HasPrefix(err.Error(), "NOAUTH")
	})
}

// kill ends the server as kill -9 does.
func (s *server) kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
	_ = os.Remove(s.socket)
}

// client returns a client for the socket of s, or of a proxy in front of it.
func (s *server) client(socket string) *redis.Client {
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: socket, PoolSize: 64})
	s.t.Cleanup(func() { client.Close() })
	return client
}

// counter returns a Counter that takes this Redis for a new one.
func (s *server) counter(opts redislimit.Options) (*redislimit.Counter, *redis.Client) {
	s.t.Helper()
	client := s.client(s.socket)
	return newCounter(s.t, client, opts), client
}

func newCounter(t *testing.T, client redis.Scripter, opts redislimit.Options) *redislimit.Counter {
	t.Helper()
	if opts.NewUntil.IsZero() {
		opts.NewUntil = time.Now().Add(time.Hour)
	}
	if opts.Timeout == 0 {
		opts.Timeout = time.Minute // a busy machine is no outage
	}
	c, err := redislimit.New(client, &opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// await waits for what is to become so.
func await(t *testing.T, so func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); !so(); <-tick.C {
		if time.Now().After(end) {
			t.Fatal("it did not come about in a minute")
		}
	}
}

// A proxy stands between a client and the server.
type proxy struct {
	socket string
	// What is done with the answers: nil passes them on. It is asked before each.
	answer atomic.Pointer[func(p []byte) (pass bool)]
	// What is done with the requests: nil passes them on.
	request atomic.Pointer[func(in, out net.Conn, p []byte) (pass bool)]
	mu      sync.Mutex
	conns   []net.Conn
}

// through starts a proxy in front of s.
func (s *server) through() *proxy {
	s.t.Helper()
	p := &proxy{socket: filepath.Join(s.dir, "p")}
	l, err := net.Listen("unix", p.socket)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		l.Close()
		p.cut()
	})
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("unix", s.socket)
			if err != nil {
				in.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, in, out)
			p.mu.Unlock()
			go p.requests(in, out)
			go p.answers(in, out)
		}
	}()
	return p
}

func (p *proxy) requests(in, out net.Conn) {
	defer out.Close()
	buf := make([]byte, 1<<16)
	for {
		n, err := in.Read(buf)
		if err != nil {
			return
		}
		if f := p.request.Load(); f != nil && !(*f)(in, out, buf[:n]) {
			return
		}
		if _, err := out.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (p *proxy) answers(in, out net.Conn) {
	defer in.Close()
	defer out.Close()
	buf := make([]byte, 1<<16)
	for {
		n, err := out.Read(buf)
		if err != nil {
			return
		}
		if f := p.answer.Load(); f != nil && !(*f)(buf[:n]) {
			return
		}
		if _, err := in.Write(buf[:n]); err != nil {
			return
		}
	}
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

// isOurs reports whether an answer is one of the script, and not one of a
// handshake.
func isOurs(p []byte) bool { return bytes.HasPrefix(p, []byte("*7\r\n")) }

func minute(key string, most, amount int64) limit.Charge {
	return limit.Charge{Key: key, Window: limit.Minute, Max: most, Amount: amount}
}

func day(key string, most, amount int64) limit.Charge {
	start := time.Now().UTC().Truncate(24 * time.Hour)
	return limit.Charge{Key: key, Window: limit.Day, Start: start, End: start.AddDate(0, 0, 1), Max: most, Amount: amount}
}

func settle(ch limit.Charge, amount int64) limit.Charge {
	ch.Amount = amount
	return ch
}

// reserve wants the charges to be added.
func reserve(t *testing.T, c *redislimit.Counter, charges ...limit.Charge) []limit.Charge {
	t.Helper()
	full, _, err := c.Reserve(t.Context(), charges)
	if full != -1 || err != nil {
		t.Fatalf("Reserve = %d, %v; want -1, nil", full, err)
	}
	return charges
}

// refused wants the count at an index to be full.
func refused(t *testing.T, c *redislimit.Counter, index int, charges ...limit.Charge) time.Time {
	t.Helper()
	full, reset, err := c.Reserve(t.Context(), charges)
	if full != index || err != nil {
		t.Fatalf("Reserve = %d, %v; want %d, nil", full, err, index)
	}
	return reset
}

// used is what the count of ch holds, found out with a reservation of nothing.
func used(t *testing.T, client *redis.Client, ch limit.Charge) int64 {
	t.Helper()
	ctx := context.Background()
	keys, err := client.Keys(ctx, "*:k:"+ch.Key).Result()
	if err != nil || len(keys) > 1 {
		t.Fatalf("keys of %s: %v, %v", ch.Key, keys, err)
	}
	if len(keys) == 0 {
		return 0
	}
	var n int64
	if ch.Window == limit.Minute {
		var all map[string]string
		if all, err = client.HGetAll(ctx, keys[0]).Result(); err != nil {
			t.Fatal(err)
		}
		var sum int64
		for field, v := range all {
			i, _ := strconv.ParseInt(v, 10, 64)
			if field == "s" {
				n = i
			} else if field != "m" {
				sum += i
			}
		}
		if n != sum {
			t.Fatalf("the sum is %d, the seconds have %d: %v", n, sum, all)
		}
		return n
	}
	if n, err = client.Get(ctx, keys[0]).Int64(); err != nil {
		t.Fatal(err)
	}
	return n
}

func flush(t *testing.T, c *redislimit.Counter) {
	t.Helper()
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

const unlimited = math.MaxInt64
