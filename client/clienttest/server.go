package clienttest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey/internal/hidden"
)

// A Server is a [Service] that listens on a loopback port of its own.
type Server struct {
	*Service
	// URL is the base URL for a client, for example http://127.0.0.1:1234/v1/.
	URL string
	// Origin is the URL without a path, for example http://127.0.0.1:1234.
	Origin string
	// CertPEM is the certificate of a TLS server, which signed itself: trust
	// it, for example in tls.Config.RootCAs. It is for 127.0.0.1, ::1,
	// localhost, example.com and *.openai.azure.com, and made anew for each
	// server.
	CertPEM []byte
	// Err is why the server is not listening: no loopback port was to be had.
	// URL then names port 0, to which no client can connect.
	Err error

	http   hidden.Value[*http.Server] // its connections hold what they received
	cancel context.CancelFunc
	served chan struct{}
	once   sync.Once

	mu     sync.Mutex // orders the start of handlers and Close
	closed bool
	wg     sync.WaitGroup // of handlers and connections
}

// NewServer starts a Server that speaks HTTP/1.1 and accepts keys.
func NewServer(keys ...string) *Server {
	s := newServer(keys)
	s.start(nil)
	return s
}

// NewTLSServer starts a Server that speaks HTTP/2 and HTTP/1.1 over TLS and
// accepts keys.
func NewTLSServer(keys ...string) *Server {
	s := newServer(keys)
	cert, err := s.selfSigned()
	if err != nil {
		s.unstarted("https", err)
		return s
	}
	s.start(&tls.Config{
		Certificates: []tls.Certificate{cert},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"h2", "http/1.1"},
	})
	return s
}

func newServer(keys []string) *Server {
	return &Server{Service: NewService(keys...), served: make(chan struct{})}
}

func (s *Server) unstarted(scheme string, err error) {
	s.Err = fmt.Errorf("clienttest: start a server: %w", err)
	s.setURL(scheme, "127.0.0.1:0")
	close(s.served)
}

func (s *Server) setURL(scheme, addr string) {
	s.Origin = scheme + "://" + addr
	s.URL = s.Origin + "/v1/"
}

func (s *Server) start(conf *tls.Config) {
	scheme := "http"
	if conf != nil {
		scheme = "https"
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil { // a machine without IPv4
		listener, err = net.Listen("tcp", "[::1]:0")
	}
	if err != nil {
		s.unstarted(scheme, err)
		return
	}
	s.setURL(scheme, listener.Addr().String())
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	server := &http.Server{
		Handler:           http.HandlerFunc(s.handle),
		TLSConfig:         conf,
		ReadHeaderTimeout: 30 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnState:         s.connState,
		// A client that does not trust the certificate is no news here.
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	s.http = hidden.Of(server)
	go func() {
		defer close(s.served)
		if conf != nil {
			_ = server.ServeTLS(listener, "", "") // ErrServerClosed
			return
		}
		_ = server.Serve(listener) // ErrServerClosed
	}()
}

func (s *Server) handle(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		abort()
	}
	s.wg.Add(1)
	s.mu.Unlock()
	defer s.wg.Done()
	s.ServeHTTP(w, r)
}

// connState needs no lock: a connection is new inside Serve, which has ended
// when Close begins to wait.
func (s *Server) connState(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.wg.Add(1)
	case http.StateHijacked, http.StateClosed:
		s.wg.Done()
	}
}

// Client returns a new client that trusts the server's certificate, uses no
// proxy and sends no key. Its idle connections end with the server.
func (s *Server) Client() *http.Client {
	t := &http.Transport{ForceAttemptHTTP2: true}
	if s.CertPEM != nil {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(s.CertPEM)
		t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: t}
}

// Close ends all connections and waits for their handlers; requests in flight
// fail. It may be called more than once.
func (s *Server) Close() {
	s.once.Do(func() {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		if s.http != nil {
			s.cancel() // ends hanging answers and WebSockets
			_ = s.http().Close()
		}
		<-s.served
		s.wg.Wait()
	})
}

// selfSigned makes the certificate and sets CertPEM.
func (s *Server) selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a key: %w", err)
	}
	// Valid under any clock that a test may set.
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		Subject:               pkix.Name{CommonName: "latchkey clienttest"},
		NotBefore:             time.Unix(0, 0),
		NotAfter:              time.Date(2084, 1, 29, 0, 0, 0, 0, time.UTC),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		DNSNames:              []string{"localhost", "example.com", "*.openai.azure.com"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a certificate: %w", err)
	}
	s.CertPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
