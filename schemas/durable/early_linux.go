package durable

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// beginWriting starts the writing of a part of f to the disk.
func beginWriting(f *os.File, at, n int64) {
	if c, err := f.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) { _ = unix.SyncFileRange(int(fd), at, n, unix.SYNC_FILE_RANGE_WRITE) })
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
		var fs unix.Statfs_t
		if unix.Fstatfs(int(fd), &fs) != nil || fs.Type != unix.EXT4_SUPER_MAGIC {
			return
		}
		err := error(syscall.ENOSPC)
		if free := int64(fs.Bfree); n/int64(fs.Bsize) < free { // or others would find no room until it has failed
			err = unix.Fallocate(int(fd), unix.FALLOC_FL_KEEP_SIZE, 0, n)
		}
		switch err {
		case syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG:
			full = &os.PathError{Op: "reserve", Path: f.Name(), Err: err}
		}
	})
	return full
}
