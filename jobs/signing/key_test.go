package signing

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

func TestMadeKeyIsPrivateAndLoadsAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	key, err := Make(durable.Disk{}, path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Load(path)
	if err != nil || !key.Equal(again) {
		t.Fatalf("not the same key: %v", err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	other, err := Make(durable.Disk{}, filepath.Join(t.TempDir(), "key"))
	if err != nil || key.Equal(other) {
		t.Fatalf("two keys are equal, %v", err)
	}
}

func TestFailedMakeIsSeen(t *testing.T) {
	for _, step := range []durable.Step{durable.Create, durable.Write, durable.Sync, durable.Rename, durable.SyncDir} {
		for _, stored := range []bool{false, true} {
			disk := durable.Disk{Fault: func(s durable.Step, _ string) (bool, error) {
				if s == step {
					return stored, errors.New("injected")
				}
				return false, nil
			}}
			path := filepath.Join(t.TempDir(), "key")
			if _, err := Make(disk, path); err == nil {
				t.Errorf("%s stored=%v: not seen", step, stored)
			}
			if _, err := Load(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s stored=%v: half a key: %v", step, stored, err)
			}
		}
	}
}

func TestWhatIsNoKey(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecDER, err := x509.MarshalPKCS8PrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	whole := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	for name, data := range map[string][]byte{
		"empty": nil, "text": []byte("hello"), "cut": whole[:len(whole)/2], "two": append(bytes.Clone(whole), whole...),
		"ECDSA":      pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: ecDER}),
		"other type": pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}),
		"broken":     pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der[:20]}),
		"public":     mustPublicPEM(t, key),
	} {
		path := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); schemas.ClassOf(err) != schemas.Usage || schemas.HintOf(err) == "" {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func mustPublicPEM(t *testing.T, key ed25519.PrivateKey) []byte {
	t.Helper()
	data, err := PublicPEM(key.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestPins(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	want := Of(key).Fingerprint
	path := filepath.Join(t.TempDir(), "public.pem")
	if err := os.WriteFile(path, mustPublicPEM(t, key), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, pin := range []string{want, "sha256:" + want, strings.ToUpper(want), Show(Of(key)), path} {
		if got, err := ParsePin(pin); err != nil || got != want {
			t.Errorf("%s: %s, %v", pin, got, err)
		}
	}
	private := filepath.Join(t.TempDir(), "private.pem")
	if _, err := Make(durable.Disk{}, private); err != nil {
		t.Fatal(err)
	}
	for _, pin := range []string{"", want[1:], "sha256:", path + "x", private} {
		if got, err := ParsePin(pin); schemas.ClassOf(err) != schemas.Usage || got != "" {
			t.Errorf("%q: %s, %v", pin, got, err)
		}
	}
}

func TestDescribedKeyMustFitItsFingerprint(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	public, err := Public(Of(key))
	if err != nil || !public.Equal(key.Public()) {
		t.Fatal(err)
	}
	other := Of(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32)))
	for name, k := range map[string]schemas.SigningKey{
		"none": {}, "short": {PublicKey: "00"}, "no hexadecimal": {PublicKey: "zz"},
		"other fingerprint": {PublicKey: Of(key).PublicKey, Fingerprint: other.Fingerprint},
		"upper case":        {PublicKey: strings.ToUpper(other.PublicKey), Fingerprint: other.Fingerprint},
	} {
		if _, err := Public(k); schemas.ClassOf(err) != schemas.Integrity {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
