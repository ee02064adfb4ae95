// Package powerloss is a model of a disk that loses power, for tests: what was
// not made durable in the order that POSIX asks for is gone afterwards.
//
// The files are real ones in a folder. The model watches the durable steps and
// remembers what each sync has secured: of a file its content, of a folder its
// entries. Lose then puts the folder into the state that this amounts to.
// Everything else is undone: content written after the last sync of a file,
// files and folders whose own folder was not synced since they were made or
// renamed, and removals that were not followed by a sync of the folder. A real
// file system keeps more than that; a program that survives this survives them
// all.
package powerloss

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"optsweep/schemas/durable"
)

// ErrPower is what every durable step fails with once the power is gone.
var ErrPower = errors.New("the power is gone")

// Cut says when the power goes and what is left.
type Cut struct {
	Step   int  // number of the durable step, from 0
	Stored bool // the step itself still happens
	Torn   bool // half of what a file got after its last sync is there
}

// Disk is a disk under watch. It is safe for concurrent use.
type Disk struct {
	root string
	cut  Cut

	mu      sync.Mutex
	steps   int
	dead    bool
	folders map[string]map[string]entry // durable entries, by path
	files   map[uint64]*file            // by inode
}

// entry is a name in a folder.
type entry struct {
	inode uint64
	mode  fs.FileMode
}

// file is what is known of an inode. It is held open, so that its number is not
// used for another file.
type file struct {
	*os.File
	synced bool
	data   []byte
	at     time.Time // of modification, when it was synced
}

// New watches the folder root, in which everything counts as durable.
func New(root string, cut Cut) (*Disk, error) {
	d := &Disk{root: root, cut: cut, folders: map[string]map[string]entry{}, files: map[uint64]*file{}}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			return d.syncFolder(path)
		}
		return d.syncFile(path)
	})
	return d, err
}

// Durable is the disk for the code under test.
func (d *Disk) Durable() durable.Disk { return durable.Disk{Fault: d.fault} }

// Dead tells whether the power is gone; otherwise all steps were done before.
func (d *Disk) Dead() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dead
}

func (d *Disk) fault(step durable.Step, path string) (stored bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return false, ErrPower
	}
	d.dead = d.steps == d.cut.Step
	d.steps++
	if d.dead && !d.cut.Stored {
		return false, ErrPower
	}
	switch step {
	case durable.Sync:
		err = d.syncFile(path)
	case durable.SyncDir:
		err = d.syncFolder(path)
	}
	if err == nil && d.dead {
		return true, ErrPower
	}
	return false, err
}

func inodeOf(info fs.FileInfo) (uint64, error) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, errors.New("this system has no inodes")
	}
	return stat.Ino, nil
}

// hold finds or opens the file at path.
func (d *Disk) hold(path string) (*file, fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	inode, err := inodeOf(info)
	if err != nil || d.files[inode] != nil {
		return d.files[inode], info, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	d.files[inode] = &file{File: f}
	return d.files[inode], info, nil
}

// syncFile secures the content of a file.
func (d *Disk) syncFile(path string) error {
	f, info, err := d.hold(path)
	if err != nil {
		return err
	}
	f.data, err = os.ReadFile(path)
	f.synced, f.at = true, info.ModTime()
	return err
}

// syncFolder secures the entries of a folder.
func (d *Disk) syncFolder(path string) error {
	names, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	entries := map[string]entry{}
	for _, n := range names {
		info, err := n.Info()
		if err != nil {
			return err
		}
		inode, err := inodeOf(info)
		if err != nil {
			return err
		}
		if info.Mode().IsRegular() {
			if _, _, err := d.hold(filepath.Join(path, n.Name())); err != nil {
				return err
			}
		}
		entries[n.Name()] = entry{inode: inode, mode: info.Mode()}
	}
	d.folders[path] = entries
	return nil
}

// Lose puts the folder into the state after the power came back, and lets go of
// it.
func (d *Disk) Lose() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
	left, err := os.MkdirTemp(filepath.Dir(d.root), "left-")
	if err != nil {
		return err
	}
	if err := d.rebuild(d.root, left); err != nil {
		return err
	}
	for _, f := range d.files {
		_ = f.Close()
	}
	info, err := os.Stat(d.root)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(d.root); err != nil {
		return err
	}
	if err := os.CopyFS(d.root, os.DirFS(left)); err != nil {
		return err
	}
	if err := errors.Join(likeIn(left, d.root), os.Chmod(d.root, info.Mode().Perm())); err != nil {
		return err
	}
	return os.RemoveAll(left)
}

// likeIn gives what stands below to the modes and times that it has below from.
func likeIn(from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		return errors.Join(os.Chmod(target, info.Mode().Perm()), os.Chtimes(target, info.ModTime(), info.ModTime()))
	})
}

// rebuild makes the durable content of the folder at path in to.
func (d *Disk) rebuild(path, to string) error {
	for name, e := range d.folders[path] {
		target := filepath.Join(to, name)
		if e.mode.IsDir() {
			if err := os.Mkdir(target, e.mode.Perm()); err != nil {
				return err
			}
			if err := d.rebuild(filepath.Join(path, name), target); err != nil {
				return err
			}
			continue
		}
		f := d.files[e.inode]
		if f == nil {
			return fmt.Errorf("%s is not a regular file", filepath.Join(path, name))
		}
		data, err := d.left(f)
		if err != nil {
			return err
		}
		if err := os.WriteFile(target, data, e.mode.Perm()); err != nil {
			return err
		}
		if !f.at.IsZero() {
			if err := os.Chtimes(target, f.at, f.at); err != nil {
				return err
			}
		}
	}
	return nil
}

// left is the content of a file that survives.
func (d *Disk) left(f *file) ([]byte, error) {
	if !d.cut.Torn {
		return f.data, nil
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	more := (info.Size() - int64(len(f.data))) / 2
	if more <= 0 {
		return f.data, nil
	}
	data := append([]byte{}, f.data...)
	tail := make([]byte, more)
	_, err = f.ReadAt(tail, int64(len(data)))
	return append(data, tail...), err
}
