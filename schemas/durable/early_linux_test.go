package durable

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestWriteEarly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	f, err := Disk{}.Create(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Discard()
	f.WriteEarly()
	piece := bytes.Repeat([]byte("0123456789abcdef"), earlyStep/64) // a quarter of a step
	if err := f.Reserve(int64(9 * len(piece))); err != nil {
		t.Fatal(err)
	}
	if info, err := f.Stat(); err != nil || info.Size() != 0 {
		t.Fatalf("room that is reserved shows: %v, %v", info.Size(), err)
	}
	for i := range 10 {
		if i%2 == 0 {
			_, err = f.Write(piece)
		} else {
			_, err = f.ReadFrom(bytes.NewReader(piece))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if f.begun < earlyStep || f.begun > f.size {
		t.Errorf("the disk was given %d bytes of %d", f.begun, f.size)
	}
	if err := f.Publish(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, bytes.Repeat(piece, 10)) {
		t.Errorf("%d bytes, want %d; %v", len(got), 10*len(piece), err)
	}
}

// More room than there is fails before anything is written, where it is known.
func TestReserveMoreThanThereIs(t *testing.T) {
	f, err := Disk{}.Create(filepath.Join(t.TempDir(), "file"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Discard()
	var fs syscall.Statfs_t
	if err := syscall.Fstatfs(int(f.Fd()), &fs); err != nil {
		t.Fatal(err)
	}
	err = f.Reserve(int64(fs.Bfree)*int64(fs.Bsize) + 1<<40)
	full := errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EFBIG)
	if full != (fs.Type == ext4Magic) || err != nil && !full {
		t.Errorf("on a file system of type %x: %v", fs.Type, err)
	}
}
