package leaf_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/latchkey-go/latchkey/internal/leaf"
)

// elsewhere is an address of this machine that is not loopback: for a
// client it is another machine. It is empty where there is none.
func elsewhere() string {
	addresses, _ := net.InterfaceAddrs() // none is none
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			return n.IP.String()
		}
	}
	return ""
}

// TestMain makes the names of a test resolve. A dial of an earlier test may go
// on behind it, so that the resolver is the same for all of them.
func TestMain(m *testing.M) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	go func() {
		buf := make([]byte, 1500)
		for {
			n, peer, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if out := dnsAnswer(buf[:n]); out != nil {
				_, _ = conn.WriteTo(out, peer)
			}
		}
	}()
	os.Exit(m.Run())
}

// dnsAnswer knows names of loopback and of another machine.
func dnsAnswer(query []byte) []byte {
	far := elsewhere()
	names := map[string][]string{"here.test": {"127.0.0.1"}, "far.test": {far}, "both.test": {far, "127.0.0.1"}, "localhost.far.test": {far}}
	var m dnsmessage.Message
	if m.Unpack(query) != nil || len(m.Questions) != 1 {
		return nil
	}
	m.Response, m.Additionals = true, nil
	q := m.Questions[0]
	for _, ip := range names[strings.TrimSuffix(q.Name.String(), ".")] {
		if q.Type == dnsmessage.TypeA {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 1},
				Body:   &dnsmessage.AResource{A: [4]byte(net.ParseIP(ip).To4())},
			})
		}
	}
	out, _ := m.Pack()
	return out
}

func get(t *testing.T, c *http.Client, url string) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "CANARY")
	resp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// A lyingTransport dials that address, whatever the request says.
func lyingTransport(address string) *http.Transport {
	return &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}}
}

// A clearCase is a request without TLS, and whether it is to be sent.
type clearCase struct {
	http leaf.HTTP
	host string
	sent bool
}

// inClear are the requests of a test, where far is another machine.
func inClear(far, port string) map[string]clearCase {
	own, nearby, anywhere := leaf.HTTP{}, leaf.HTTP{Plain: leaf.Nearby, NoProxy: true}, leaf.HTTP{Plain: leaf.Anywhere, NoProxy: true}
	lying := leaf.HTTP{Transport: lyingTransport(far + ":" + port)}
	private := net.ParseIP(far).IsPrivate()
	return map[string]clearCase{
		"loopback":                         {own, "127.0.0.1", true},
		"the whole net is loopback":        {own, "127.1.2.3", true},
		"mapped":                           {own, "[::ffff:127.0.0.1]", true},
		"localhost":                        {own, "localhost", true},
		"a name of loopback":               {own, "here.test", true},
		"one of two addresses is":          {own, "both.test", true},
		"another machine":                  {own, far, false},
		"mapped to another":                {own, "[::ffff:" + far + "]", false},
		"a name of another":                {own, "far.test", false},
		"a name with localhost in it":      {own, "localhost.far.test", false},
		"nearby":                           {nearby, far, private},
		"nearby, by name":                  {nearby, "far.test", private},
		"asked for":                        {anywhere, far, true},
		"given":                            {leaf.HTTP{Transport: &http.Transport{}}, "localhost", true},
		"given, loopback":                  {leaf.HTTP{Transport: &http.Transport{}}, "127.0.0.1", true},
		"given, another":                   {leaf.HTTP{Transport: &http.Transport{}}, far, false},
		"given, a name":                    {leaf.HTTP{Transport: &http.Transport{}}, "here.test", false},
		"given, localhost lies":            {lying, "localhost", false},
		"given, loopback lies":             {lying, "127.0.0.1", false},
		"given, asked for":                 {leaf.HTTP{Transport: lyingTransport("127.0.0.1:" + port), Plain: leaf.Anywhere}, far, true},
		"given, what it names, nearby":     {leaf.HTTP{Transport: &http.Transport{}, Plain: leaf.Nearby}, far, private},
		"given, to loopback instead":       {leaf.HTTP{Transport: lyingTransport("127.0.0.1:" + port), Plain: leaf.Nearby}, "169.254.169.254", true},
		"given, to another machine nearby": {leaf.HTTP{Transport: lyingTransport(far + ":" + port), Plain: leaf.Nearby}, "169.254.169.254", false},
	}
}

func TestNothingIsSentInClearToAnotherMachine(t *testing.T) {
	var requests atomic.Int32
	listener, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	srv.Listener = listener
	srv.Start()
	defer srv.Close()
	port := strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	far := elsewhere()
	if far == "" {
		t.Skip("this machine has no address but loopback")
	}
	t.Setenv("HTTP_PROXY", "http://"+far+":"+port) // it would have all of them
	for name, c := range inClear(far, port) {
		t.Run(name, func(t *testing.T) {
			requests.Store(0)
			_, err := get(t, c.http.Client(), "http://"+c.host+":"+port+"/")
			refused := (*leaf.Refused)(nil)
			if errors.As(err, &refused) == c.sent || (err == nil) != c.sent {
				t.Errorf("got %v, want a refusal: %t", err, !c.sent)
			}
			if n := requests.Load(); n != 0 != c.sent {
				t.Errorf("%d requests arrived", n)
			}
			if err != nil {
				f := leaf.Hints{}.Explain(err, c.host)
				if f.Transient || !strings.Contains(f.Hint, "use https") || strings.Contains(f.Err.Error(), "CANARY") {
					t.Errorf("got %v (%s), transient %t", f.Err, f.Hint, f.Transient)
				}
			}
		})
	}
}

func TestARedirectIsNeverFollowed(t *testing.T) {
	var reached atomic.Int32
	there := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer there.Close()
	for _, status := range []int{300, 301, 302, 303, 304, 307, 308, 399} {
		for _, to := range []string{there.URL, "https://192.0.2.1/", "::CANARY", ""} {
			here := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if to != "" {
					w.Header().Set("Location", to)
				}
				w.WriteHeader(status)
			}))
			for _, h := range []leaf.HTTP{{}, {Transport: &http.Transport{DisableKeepAlives: true}}} {
				_, err := get(t, h.Client(), here.URL)
				f := leaf.Hints{}.Explain(err, "x")
				if err == nil || !f.Transient || !strings.Contains(f.Err.Error(), "redirect (status "+strconv.Itoa(status)) || strings.Contains(f.Err.Error(), "CANARY") {
					t.Errorf("%d: got %v", status, f.Err)
				}
			}
			here.Close()
		}
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("%d requests followed", n)
	}
}

// An SDK that tries again would send the credential again.
func TestSDKsDoNotRepeatWhatIsRefused(t *testing.T) {
	_, err := get(t, leaf.HTTP{}.Client(), "http://198.51.100.1/")
	var azure interface{ NonRetriable() }
	var amazon interface{ RetryableError() bool }
	if !errors.As(err, &azure) || !errors.As(err, &amazon) || amazon.RetryableError() {
		t.Errorf("got %v", err)
	}
}

func TestAnAnswerThatIsTooLargeIsAnErrorAndNotAShorterAnswer(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Query().Get("n"))
		_, _ = io.WriteString(w, strings.Repeat("x", n))
	}))
	defer srv.Close()
	for _, h := range []leaf.HTTP{{MaxAnswer: 100}, {MaxAnswer: 100, Transport: &http.Transport{DisableKeepAlives: true}}, {}} {
		most := h.MaxAnswer
		if most == 0 {
			most = leaf.DefaultMaxAnswer
		}
		for n, ok := range map[int]bool{0: true, most - 1: true, most: true, most + 1: false, 3 * most: false} {
			body, err := get(t, h.Client(), srv.URL+"/?n="+strconv.Itoa(n))
			if ok && (err != nil || len(body) != n) {
				t.Errorf("%d of at most %d: got %d bytes, %v", n, most, len(body), err)
			}
			if f := (leaf.Hints{}).Explain(err, "x"); !ok && (err == nil || !f.Transient || f.Err.Error() != "the answer has more than "+strconv.Itoa(most)+" bytes") {
				t.Errorf("%d of at most %d: got %v", n, most, err)
			}
		}
	}
}

// connCounter returns a server, and how many connections were made to it.
func connCounter(t *testing.T) (*httptest.Server, *atomic.Int32) {
	t.Helper()
	conns := &atomic.Int32{}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	return srv, conns
}

// A sandbox is frozen between two reads, and the other end drops the
// connection without a word.
func TestNoConnectionIsUsedThatDiedInAFreeze(t *testing.T) {
	srv, conns := connCounter(t)
	var skew atomic.Int64
	c := leaf.HTTP{Now: func() time.Time { return time.Unix(1, skew.Load()) }}.Client()
	for i, step := range []struct {
		gap  time.Duration
		want int32
	}{{0, 1}, {time.Second, 1}, {4 * time.Second, 1}, {6 * time.Second, 2}, {time.Hour, 3}, {-time.Hour, 4}, {0, 4}} {
		skew.Add(int64(step.gap))
		if _, err := get(t, c, srv.URL); err != nil {
			t.Fatal(err)
		}
		if n := conns.Load(); n != step.want {
			t.Errorf("request %d: %d connections so far, want %d", i+1, n, step.want)
		}
	}
}

func TestAProxyIsAskedForHTTPSAloneAndNotWithNoProxy(t *testing.T) {
	var asked atomic.Value
	asked.Store("")
	proxied := &http.Transport{Proxy: func(r *http.Request) (*url.URL, error) {
		asked.Store(r.URL.Scheme)
		return nil, errors.New("stop")
	}}
	for _, c := range []struct {
		http   leaf.HTTP
		scheme string
		want   string
	}{
		{leaf.HTTP{Base: proxied}, "https", "https"},
		{leaf.HTTP{Base: proxied}, "http", ""},
		{leaf.HTTP{Base: proxied, NoProxy: true}, "https", ""},
		{leaf.HTTP{Base: proxied, NoProxy: true, Plain: leaf.Nearby}, "http", ""},
	} {
		asked.Store("")
		_, err := get(t, c.http.Client(), c.scheme+"://127.0.0.1:1/")
		if got := asked.Load(); err == nil || got != c.want {
			t.Errorf("%s, %+v: the proxy was looked up for %q, want %q (%v)", c.scheme, c.http.NoProxy, got, c.want, err)
		}
	}
}
