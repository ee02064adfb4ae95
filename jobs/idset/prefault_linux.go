package idset

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// prefault has the system put memory behind all of b at once, which takes half
// the time of doing so page by page, at the first write to each. If it cannot,
// nothing is lost.
func prefault(b []byte) {
	page := uintptr(os.Getpagesize())
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(b))) % page
	if skip < uintptr(len(b)) {
		whole := b[skip:]
		_ = unix.Madvise(whole[:uintptr(len(whole))/page*page], unix.MADV_POPULATE_WRITE)
	}
}
