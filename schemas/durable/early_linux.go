package durable

import (
	"os"
	"syscall"
)

// From linux/fs.h, linux/falloc.h and linux/magic.h.
const (
	syncFileRangeWrite = 2
	fallocKeepSize     = 1
	ext4Magic          = 0xEF53
)

// beginWriting starts the writing of a part of f to the disk.
func beginWriting(f *os.File, at, n int64) {
	if c, err := f.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) { _ = syscall.SyncFileRange(int(fd), at, n, syncFileRangeWrite) })
	}
}

// reserve allocates n bytes without changing the size of f. Only on ext4: some
// other file systems will share the space of a copy with the original.
func reserve(f *os.File, n int64) error {
	c, err := f.SyscallConn()
	if err != nil {
		return nil
	}
	var full error
	_ = c.Control(func(fd uintptr) {
		var fs syscall.Statfs_t
		if syscall.Fstatfs(int(fd), &fs) != nil || fs.Type != ext4Magic {
			return
		}
		err := error(syscall.ENOSPC)
		if free := int64(fs.Bfree); n/int64(fs.Bsize) < free { // or others would find no room until it has failed
			err = syscall.Fallocate(int(fd), fallocKeepSize, 0, n)
		}
		switch err {
		case syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG:
			full = &os.PathError{Op: "reserve", Path: f.Name(), Err: err}
		}
	})
	return full
}
