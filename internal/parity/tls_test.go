package parity_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/http"
	"sync"
	"time"
)

// A pki is an authority and a certificate for 127.0.0.1. Both hold in the time
// of a bubble, which begins in 2000.
type pki struct {
	pool        *x509.CertPool
	certificate tls.Certificate
	err         error
}

var trusted = sync.OnceValue(newPKI)

func newPKI() pki {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pki{err: err}
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "parity"},
		NotBefore: time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2190, 1, 1, 0, 0, 0, 0, time.UTC),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return pki{err: err}
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		return pki{err: err}
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	return pki{pool: pool, certificate: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}}
}

// handleTLS is handle behind TLS.
func handleTLS(h handler) func(*network) {
	return serving(h, func(srv *http.Server, l net.Listener) net.Listener {
		srv.Protocols = new(http.Protocols)
		srv.Protocols.SetHTTP1(true)
		srv.Protocols.SetHTTP2(true)
		srv.TLSConfig = &tls.Config{
			MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{trusted().certificate}, NextProtos: []string{"h2", "http/1.1"},
		}
		return tls.NewListener(l, srv.TLSConfig)
	})
}
