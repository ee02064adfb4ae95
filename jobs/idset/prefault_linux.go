package idset

import (
	"os"
	"syscall"
	"unsafe"
)

// populateWrite is MADV_POPULATE_WRITE of Linux 5.14 and later (madvise(2)).
const populateWrite = 23

// prefault has the system put memory behind all of b at once, which takes half
// the time of doing so page by page, at the first write to each. If it cannot,
// nothing is lost.
func prefault(b []byte) {
	page := uintptr(os.Getpagesize())
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(b))) % page
	if skip < uintptr(len(b)) {
		whole := b[skip:]
		_ = syscall.Madvise(whole[:uintptr(len(whole))/page*page], populateWrite)
	}
}
