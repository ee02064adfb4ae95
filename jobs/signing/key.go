// Package signing keeps the ed25519 keys that sign evidence packs: private
// ones as PKCS #8 and public ones as SubjectPublicKeyInfo, both in PEM, as
// other tools read and write them.
package signing

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"io"
	"os"
	"strings"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

const (
	privateBlock = "PRIVATE KEY"
	publicBlock  = "PUBLIC KEY"
	maxFile      = 1 << 16
)

// Make makes a new private key and puts it at path, mode 0600.
func Make(disk durable.Disk, path string) (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, disk.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: privateBlock, Bytes: der}), 0o600)
}

// Load reads a private key.
func Load(path string) (ed25519.PrivateKey, error) {
	block, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	// What x509 says of a broken key could repeat parts of it.
	if block != nil && block.Type == privateBlock {
		if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			if key, ok := key.(ed25519.PrivateKey); ok {
				return key, nil
			}
		}
	}
	return nil, schemas.Errorf(schemas.Usage, "%s is not an ed25519 private key in PEM (PKCS #8)", path).
		WithHint("make one with: openssl genpkey -algorithm ed25519 -out FILE")
}

// readPEM returns the only PEM block of a file, or nil.
func readPEM(path string) (*pem.Block, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(data)
	if block == nil || len(strings.TrimSpace(string(rest))) > 0 {
		return nil, nil
	}
	return block, nil
}

// PublicPEM writes a public key as openssl reads it.
func PublicPEM(key ed25519.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: publicBlock, Bytes: der}), nil
}

// Describe gives the form in which a public key is recorded.
func Describe(key ed25519.PublicKey) schemas.SigningKey {
	sum := sha256.Sum256(key)
	return schemas.SigningKey{PublicKey: hex.EncodeToString(key), Fingerprint: hex.EncodeToString(sum[:])}
}

// Of describes the public half of key.
func Of(key ed25519.PrivateKey) schemas.SigningKey {
	return Describe(key.Public().(ed25519.PublicKey))
}

// Public returns the key that k describes; a fingerprint that is not that of
// the key is an error.
func Public(k schemas.SigningKey) (ed25519.PublicKey, error) {
	key, err := hex.DecodeString(k.PublicKey)
	if err != nil || len(key) != ed25519.PublicKeySize || Describe(key) != k {
		return nil, schemas.Errorf(schemas.Integrity, "not an ed25519 public key with its fingerprint")
	}
	return key, nil
}

// ParsePin reads what a user gives to say whose signature is expected: a
// fingerprint, with or without "sha256:" before it, or a file with a public
// key in PEM. It returns the fingerprint.
func ParsePin(pin string) (fingerprint string, err error) {
	fingerprint = strings.ToLower(strings.TrimPrefix(pin, "sha256:"))
	if raw, err := hex.DecodeString(fingerprint); err == nil && len(raw) == sha256.Size {
		return fingerprint, nil
	}
	block, err := readPEM(pin)
	if err != nil {
		return "", schemas.Errorf(schemas.Usage, "public key: %w", err).
			WithHint("give a fingerprint of 64 hexadecimal digits, or a file with a public key in PEM")
	}
	if block != nil && block.Type == publicBlock {
		if key, err := x509.ParsePKIXPublicKey(block.Bytes); err == nil {
			if key, ok := key.(ed25519.PublicKey); ok {
				return Describe(key).Fingerprint, nil
			}
		}
	}
	return "", schemas.Errorf(schemas.Usage, "%s is not an ed25519 public key in PEM", pin).
		WithHint("take it from the private key with: openssl pkey -in KEY -pubout")
}

// Show is the form of a fingerprint for people.
func Show(k schemas.SigningKey) string { return "sha256:" + k.Fingerprint }
