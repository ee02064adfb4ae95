package sweep

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"optsweep/jobs/ledger"
	"optsweep/jobs/signing"
	"optsweep/schemas"
)

// A ledger that was cut back to an earlier line is whole in itself; the head
// that is kept beside it gives it away, and nothing is written behind it.
func TestLedgerThatWasCutOffIsRefused(t *testing.T) {
	b := newBench(t)
	b.mustRun()
	path := filepath.Join(b.dir, ledgerFile)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cut := whole[:bytes.LastIndexByte(whole[:len(whole)-1], '\n')+1]
	if err := os.WriteFile(path, cut, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := b.run(context.Background()); schemas.ClassOf(err) != schemas.Integrity || schemas.HintOf(err) == "" {
		t.Fatalf("got %v", err)
	}
	if now, _ := os.ReadFile(path); !bytes.Equal(now, cut) {
		t.Error("the ledger was written to")
	}
}

func TestHeadIsKeptInTheWorkspaceAndWithTheRun(t *testing.T) {
	b := newBench(t)
	rep := b.mustRun()
	end, err := ledger.Read(filepath.Join(b.dir, ledgerFile), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{Layout(b.dir).Head(), Layout(b.dir).Run(rep.Run, ledger.HeadFile)} {
		if head, err := ledger.ReadHead(path); err != nil || head != end.Head {
			t.Errorf("%s: %+v, %v; want %+v", path, head, err, end.Head)
		}
	}
}

func (b *bench) signingKey() (schemas.SigningKey, error) {
	w, err := OpenWorkspace(b.disk, b.dir, b.now, ledger.Owner{PID: 1})
	if err != nil {
		return schemas.SigningKey{}, err
	}
	defer w.Close()
	key, err := w.SigningKey()
	if err != nil {
		return schemas.SigningKey{}, err
	}
	return signing.Of(key), nil
}

func TestSigningKeyIsTheOneInTheLedger(t *testing.T) {
	b := newBench(t)
	known, err := Layout(b.dir).Signer()
	if err != nil || known == (schemas.SigningKey{}) {
		t.Fatalf("%+v, %v", known, err)
	}
	if got, err := b.signingKey(); err != nil || got != known {
		t.Fatalf("%+v, %v", got, err)
	}
	path := Layout(b.dir).EvidenceKey()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := b.signingKey(); schemas.HintOf(err) == "" {
		t.Errorf("lost key: %v", err)
	}
	if _, err := signing.Make(b.disk, path); err != nil {
		t.Fatal(err)
	}
	if _, err := b.signingKey(); schemas.ClassOf(err) != schemas.Integrity {
		t.Errorf("another key: %v", err)
	}
}

// A workspace from before there were signing keys gets one, once.
func TestOldWorkspaceGetsASigningKey(t *testing.T) {
	b := newBench(t)
	layout := Layout(b.dir)
	var first []byte
	if _, err := ledger.ReadLines(layout.Ledger(), func(l ledger.Line) error {
		if l.Event.Type == schemas.EventWorkspaceCreated {
			first = l.Raw
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(layout.Ledger(), first, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{layout.Head(), layout.EvidenceKey()} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	b.mustRun() // needs none
	made, err := b.signingKey()
	if err != nil {
		t.Fatal(err)
	}
	if known, err := layout.Signer(); err != nil || known != made {
		t.Errorf("the ledger knows %+v, %v", known, err)
	}
	if again, err := b.signingKey(); err != nil || again != made {
		t.Errorf("%+v, %v", again, err)
	}
}
