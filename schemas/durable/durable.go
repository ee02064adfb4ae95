// Package durable writes files so that they appear whole or not at all, and
// stay after a power loss. It is the only place that creates, renames or syncs
// files which matter; tests inject faults here.
//
// The order of system calls for a file that replaces another: create a
// temporary file in the same folder, write, fsync, close, rename, fsync the
// folder. For an append: write, fsync.
package durable

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
)

// Step names a durable step, for fault injection.
type Step string

// The steps, in the order in which they happen.
const (
	Create  Step = "create"
	Write   Step = "write"
	Chmod   Step = "chmod"
	Sync    Step = "sync"
	Rename  Step = "rename"
	SyncDir Step = "syncdir"
	Remove  Step = "remove"
	Read    Step = "read" // what was written, back
	Link    Step = "link"
)

// Fault decides whether a step on a path fails. A nil error lets it happen.
// With stored true the step happens and is then reported as failed; with
// stored false it does not happen.
type Fault func(step Step, path string) (stored bool, err error)

// Disk performs the steps. The zero value is the real thing.
type Disk struct {
	Fault Fault // for tests; nil in the product
}

func (d Disk) do(step Step, path string, action func() error) error {
	if d.Fault == nil {
		return action()
	}
	stored, fault := d.Fault(step, path)
	if fault != nil && !stored {
		return fmt.Errorf("%s %s: %w", step, path, fault)
	}
	if err := action(); err != nil {
		return err
	}
	if fault != nil {
		return fmt.Errorf("%s %s: %w", step, path, fault)
	}
	return nil
}

// File is a file being written that is not yet at its final path.
type File struct {
	*os.File
	disk  Disk
	final string
	done  bool

	early       bool
	size, begun int64       // bytes that were written, and of them given to the disk
	giving      atomic.Bool // some to the disk
}

// TempSuffix ends the name of every temporary file; the name starts with a
// dot, so that readers of data folders pass it over.
const TempSuffix = ".optsweep-tmp"

// maxName leaves room in the 255 bytes of a file name for what Create adds.
const maxName = 200

// Create opens a new temporary file for final, beside it. Call Publish to put
// it in place and Discard (deferred, say) to drop it. If two processes write
// the same path, each renames only what it wrote itself.
func (d Disk) Create(final string, mode fs.FileMode) (*File, error) {
	name := filepath.Base(final)
	name = name[:min(len(name), maxName)]
	path := filepath.Join(filepath.Dir(final), "."+name+"."+rand.Text()[:8]+TempSuffix)
	var f *os.File
	err := d.do(Create, path, func() (err error) {
		f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
		return err
	})
	if err != nil {
		if f != nil {
			_ = f.Close()
			_ = os.Remove(path)
		}
		return nil, err
	}
	return &File{File: f, disk: d, final: final}, nil
}

// RemoveLeftovers removes the temporary files that killed processes left in
// dir. A process that still writes one of them fails at its rename, with
// nothing lost; holding the lease of the workspace first avoids that.
func RemoveLeftovers(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") || !strings.HasSuffix(e.Name(), TempSuffix) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Write writes b to the temporary file.
func (f *File) Write(b []byte) (n int, err error) {
	err = f.disk.do(Write, f.Name(), func() (err error) {
		n, err = f.File.Write(b)
		return err
	})
	f.wrote(int64(n))
	return n, err
}

// WriteString is Write; io.Copy prefers it for some readers.
func (f *File) WriteString(s string) (n int, err error) {
	return f.Write([]byte(s))
}

// ReadFrom keeps io.Copy on the operating system's fast path while the fault
// hook still sees the write.
func (f *File) ReadFrom(r io.Reader) (n int64, err error) {
	err = f.disk.do(Write, f.Name(), func() (err error) {
		n, err = f.File.ReadFrom(r)
		return err
	})
	f.wrote(n)
	return n, err
}

// ReadAt reads back what was written; see io.ReaderAt.
func (f *File) ReadAt(b []byte, at int64) (n int, err error) {
	if err := f.disk.do(Read, f.Name(), func() error { return nil }); err != nil {
		return 0, err
	}
	return f.File.ReadAt(b, at)
}

// Chmod sets the permissions of the temporary file, and so of the final one.
func (f *File) Chmod(mode fs.FileMode) error {
	return f.disk.do(Chmod, f.Name(), func() error { return f.File.Chmod(mode) })
}

// Sync makes what was written so far survive a power loss.
func (f *File) Sync() error {
	return f.disk.do(Sync, f.Name(), f.File.Sync)
}

// Publish syncs the file and renames it to its final path, replacing what is
// there, then syncs the folder. An error before the rename leaves the old file
// in place; one after it means that the new file is in place but may not
// survive a power loss, so the caller must treat the step as not done.
func (f *File) Publish() error {
	if err := f.Sync(); err != nil {
		return err
	}
	f.done = true
	if err := f.File.Close(); err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	err := f.disk.do(Rename, f.final, func() error { return os.Rename(f.Name(), f.final) })
	if err != nil {
		_ = os.Remove(f.Name()) // gone already if the rename happened
		return err
	}
	return f.disk.SyncDir(filepath.Dir(f.final))
}

// Discard closes and removes the temporary file unless it was published.
func (f *File) Discard() {
	if f.done {
		return
	}
	f.done = true
	_ = f.File.Close()
	_ = os.Remove(f.Name())
}

// Link gives the file at path, which nobody may write to again, a second name,
// which must be free. Where the file system has no second names, that is a
// copy. It stays after a power loss once the folder of the name is synced.
func (d Disk) Link(path, name string) error {
	err := d.do(Link, name, func() error { return os.Link(path, name) })
	for _, cannot := range []error{errors.ErrUnsupported, syscall.EPERM, syscall.EXDEV, syscall.EMLINK} {
		if errors.Is(err, cannot) {
			return d.copy(path, name)
		}
	}
	return err
}

func (d Disk) copy(path, name string) error {
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	info, err := from.Stat()
	if err != nil {
		return err
	}
	to, err := d.Create(name, info.Mode().Perm())
	if err != nil {
		return err
	}
	defer to.Discard()
	if _, err := to.ReadFrom(from); err != nil {
		return err
	}
	return to.Publish()
}

// WriteFile puts data at path, whole or not at all.
func (d Disk) WriteFile(path string, data []byte, mode fs.FileMode) error {
	f, err := d.Create(path, mode)
	if err != nil {
		return err
	}
	defer f.Discard()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Publish()
}

// SyncDir makes the entries of a folder survive a power loss. Windows has no
// such call, and refuses to sync a folder that is open to be read.
func (d Disk) SyncDir(dir string) error {
	return d.do(SyncDir, dir, func() error {
		if runtime.GOOS == "windows" {
			return nil
		}
		f, err := os.Open(dir)
		if err != nil {
			return err
		}
		defer f.Close()
		return f.Sync()
	})
}

// Remove removes a file; one that is not there is no error.
func (d Disk) Remove(path string) error {
	return d.do(Remove, path, func() error {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

// Log is a file that only ever grows, record by record.
type Log struct {
	f    *os.File
	disk Disk
	size int64
	bad  error // set once the end of the file is in doubt
}

// OpenLog opens the log at path for appending after its first size bytes and
// drops whatever a killed process left behind them. With create set, a missing
// file is made (mode 0600) and its folder synced; otherwise it is an error.
func (d Disk) OpenLog(path string, size int64, create bool) (*Log, error) {
	flags := os.O_RDWR
	if create {
		flags |= os.O_CREATE
	}
	var f *os.File
	err := d.do(Create, path, func() (err error) {
		f, err = os.OpenFile(path, flags, 0o600)
		return err
	})
	if err == nil && create {
		err = d.SyncDir(filepath.Dir(path))
	}
	if err == nil {
		err = cut(f, size)
	}
	if err != nil {
		if f != nil {
			_ = f.Close()
		}
		return nil, err
	}
	return &Log{f: f, disk: d, size: size}, nil
}

// cut shortens f to size bytes. A file that has fewer is an error: Truncate
// would fill it up with zeros.
func cut(f *os.File, size int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() < size {
		return fmt.Errorf("%s has %d bytes, want at least %d", f.Name(), info.Size(), size)
	}
	return f.Truncate(size)
}

// Append writes record at the end and syncs. After an error the end of the
// file is in doubt, so every later Append fails too; reopening the log cuts it
// back to its last whole record.
func (l *Log) Append(record []byte) error {
	if l.bad != nil {
		return l.bad
	}
	err := l.disk.do(Write, l.f.Name(), func() error {
		_, err := l.f.WriteAt(record, l.size)
		return err
	})
	if err == nil {
		err = l.disk.do(Sync, l.f.Name(), l.f.Sync)
	}
	if err != nil {
		l.bad = fmt.Errorf("append to %s: %w", l.f.Name(), err)
		return l.bad
	}
	l.size += int64(len(record))
	return nil
}

// Size is the length of the log in bytes.
func (l *Log) Size() int64 { return l.size }

// Close closes the file.
func (l *Log) Close() error { return l.f.Close() }
