package audit

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"strings"
)

var errPrivateKey = errors.New("is no Ed25519 key; want the line between BEGIN and END of what openssl genpkey -algorithm ed25519 prints (PKCS #8 in base64), or a seed of 32 bytes in base64")

// parsePrivateKey reads a key as sources supply it, in one line. A source of the
// user may have all of the PEM.
func parsePrivateKey(text string) (ed25519.PrivateKey, error) {
	der, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if block, _ := pem.Decode([]byte(text)); block != nil {
		der, err = block.Bytes, nil
	}
	if err != nil {
		return nil, errPrivateKey
	}
	if len(der) == ed25519.SeedSize {
		return ed25519.NewKeyFromSeed(der), nil
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	private, ok := key.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, errPrivateKey
	}
	return private, nil
}

// ParsePublicKey reads the public key for [Verify]: PEM "PUBLIC KEY" (PKIX), as
// openssl pkey -pubout prints it, or 32 bytes in base64.
func ParsePublicKey(text string) (ed25519.PublicKey, error) {
	if block, _ := pem.Decode([]byte(text)); block != nil {
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if public, ok := key.(ed25519.PublicKey); err == nil && ok {
			return public, nil
		}
	} else if b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text)); err == nil && len(b) == ed25519.PublicKeySize {
		return b, nil
	}
	return nil, errors.New("audit: is no Ed25519 public key; want PEM, as openssl pkey -pubout prints it, or 32 bytes in base64")
}

// keyID names a public key in lines.
func keyID(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:8])
}
