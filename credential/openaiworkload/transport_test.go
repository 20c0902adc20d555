package openaiworkload_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/credential"
	"github.com/latchkey-go/latchkey/credential/openaiworkload"
)

// asChild makes the test binary exchange a token with the transport that users
// get, and print what came of it.
const asChild = "LATCHKEY_TEST_EXCHANGE"

func TestMain(m *testing.M) {
	if os.Getenv(asChild) == "" {
		os.Exit(m.Run())
	}
	o := options(nil)
	endpoint := os.Getenv("IDENTITY_ENDPOINT")
	if endpoint != "" {
		o.Token, o.From, o.Audience = nil, "azure", "api://openai"
	}
	src, err := openaiworkload.New(&o)
	if endpoint != "" && err == nil {
		err = proxied(endpoint)
	}
	ctx, cancel := context.WithTimeout(background, 30*time.Second)
	defer cancel()
	for range 2 {
		if err == nil {
			var v credential.Value
			v, err = src.Retrieve(ctx)
			if err == nil && v.Secret.Reveal() != "sk-CANARY-1" {
				err = errors.New("another token")
			}
		}
	}
	fmt.Print(err)
}

// proxied fails if the environment has no proxy for the endpoint, so that going
// past it would prove nothing.
func proxied(endpoint string) error {
	req, err := http.NewRequestWithContext(background, http.MethodGet, endpoint, http.NoBody)
	if err != nil {
		return err
	}
	if u, err := http.ProxyFromEnvironment(req); u == nil || err != nil {
		return errors.New("there is no proxy to go past")
	}
	return nil
}

// A realIssuer is auth.openai.com behind a proxy, with a certificate of its
// own authority.
type realIssuer struct {
	proxy    net.Listener
	authFile string

	mu     sync.Mutex
	tunnel []string // what the proxy was asked for
}

func newRealIssuer(t *testing.T, name string, version uint16, handler http.HandlerFunc) *realIssuer {
	t.Helper()
	cert, authority := certificate(t, name)
	r := &realIssuer{authFile: filepath.Join(t.TempDir(), "authority.pem")}
	if err := os.WriteFile(r.authFile, authority, 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if r.proxy, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	conns := &tunnels{next: make(chan net.Conn), closed: make(chan struct{}), addr: r.proxy.Addr()}
	conf := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS10, MaxVersion: version}
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute, ErrorLog: quiet()}
	go func() { _ = srv.Serve(tls.NewListener(conns, conf)) }()
	go r.serve(conns)
	t.Cleanup(func() {
		_ = r.proxy.Close()
		_ = srv.Close()
	})
	return r
}

func (r *realIssuer) serve(to *tunnels) {
	for {
		conn, err := r.proxy.Accept()
		if err != nil {
			return
		}
		req, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			_ = conn.Close()
			continue
		}
		r.mu.Lock()
		r.tunnel = append(r.tunnel, req.Method+" "+req.Host)
		r.mu.Unlock()
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		select {
		case to.next <- conn:
		case <-to.closed:
			_ = conn.Close()
		}
	}
}

// run exchanges twice in a process of its own, which trusts the authority or not.
func (r *realIssuer) run(t *testing.T, trust bool, env ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = []string{asChild + "=1", "GORACE=atexit_sleep_ms=0", "HTTPS_PROXY=http://" + r.proxy.Addr().String(), "SSL_CERT_DIR=" + t.TempDir()}
	cmd.Env = append(cmd.Env, env...)
	if trust {
		cmd.Env = append(cmd.Env, "SSL_CERT_FILE="+r.authFile)
	}
	out, err := cmd.Output()
	if err != nil || strings.Contains(string(out), "CANARY") {
		t.Fatalf("the process failed (%v) or printed a token", err)
	}
	return string(out)
}

// tunnels is a listener of connections that a proxy hands over.
type tunnels struct {
	next   chan net.Conn
	closed chan struct{}
	once   sync.Once
	addr   net.Addr
}

func (l *tunnels) Accept() (net.Conn, error) {
	select {
	case conn := <-l.next:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *tunnels) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *tunnels) Addr() net.Addr { return l.addr }

func certificate(t *testing.T, name string) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestTheTransportOfItsOwnTrustsNobodyElse(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SSL_CERT_FILE is for Linux, where the CI runs this")
	}
	const host = "auth.openai.com"
	huge := func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("CANARY", 12<<10)) }
	away := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://"+host+"/", http.StatusTemporaryRedirect)
	}
	for name, c := range map[string]struct {
		host    string
		version uint16
		trust   bool
		handler http.HandlerFunc
		want    string
		tunnels int
	}{
		"the issuer":          {host, tls.VersionTLS12, true, grants("sk-CANARY-1", ""), "<nil>", 1}, // both on one connection
		"TLS 1.3":             {host, tls.VersionTLS13, true, grants("sk-CANARY-1", ""), "<nil>", 1},
		"TLS 1.1":             {host, tls.VersionTLS11, true, grants("sk-CANARY-1", ""), "ended the handshake with an alert", 1},
		"another host":        {"api.openai.com", tls.VersionTLS13, true, grants("sk-CANARY-1", ""), "not for auth.openai.com", 1},
		"an unknown issuer":   {host, tls.VersionTLS13, false, grants("sk-CANARY-1", ""), "signed by an unknown authority", 1},
		"a header of 72 KiB":  {host, tls.VersionTLS13, true, huge, "not HTTP", 1},
		"a redirect to there": {host, tls.VersionTLS13, true, away, "a redirect", 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRealIssuer(t, c.host, c.version, c.handler)
			if out := r.run(t, c.trust); !strings.Contains(out, c.want) {
				t.Errorf("got %q, want %q", out, c.want)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			if want := strings.Repeat(" CONNECT auth.openai.com:443", c.tunnels); " "+strings.Join(r.tunnel, " ") != want {
				t.Errorf("the proxy was asked to %v, want%s", r.tunnel, want)
			}
		})
	}
}

// A proxy of the environment carries what is for OpenAI, and never sees a
// question to the platform: it would get the subject token to read, or to give.
// The name "LOCALHOST" is this machine, and unlike "localhost" has a proxy.
func TestTheSubjectTokenNeverGoesThroughAProxy(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SSL_CERT_FILE is for Linux, where the CI runs this")
	}
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			r := newRealIssuer(t, "auth.openai.com", tls.VersionTLS13, grants("sk-CANARY-1", ""))
			var asked atomic.Int32
			endpoint := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if req.Header.Get("X-Identity-Header") == "CANARY-header" {
					asked.Add(1)
				}
				says(200, `{"access_token":"`+jwt(1)+`","token_type":"Bearer"}`)(w, req)
			}))
			defer endpoint.Close()
			if scheme == "https" {
				cert, authority := certificate(t, "localhost")
				r.trust(t, authority)
				endpoint.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
				endpoint.StartTLS()
			} else {
				endpoint.Start()
			}
			_, port, err := net.SplitHostPort(endpoint.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			out := r.run(t, true, "HTTP_PROXY=http://"+r.proxy.Addr().String(),
				"IDENTITY_ENDPOINT="+scheme+"://LOCALHOST:"+port+"/token", "IDENTITY_HEADER=CANARY-header")
			r.mu.Lock()
			defer r.mu.Unlock()
			if seen := strings.Join(r.tunnel, ", "); out != "<nil>" || seen != "CONNECT auth.openai.com:443" || asked.Load() != 2 {
				t.Errorf("got %s; the proxy was asked to %s, and the platform for %d tokens, want 2", out, seen, asked.Load())
			}
		})
	}
}

// trust adds an authority to those that the process trusts.
func (r *realIssuer) trust(t *testing.T, authority []byte) {
	t.Helper()
	file, err := os.OpenFile(r.authFile, os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = file.Write(authority); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}
