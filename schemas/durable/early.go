package durable

// earlyStep is how many bytes are given to the disk at a time.
const earlyStep = 16 << 20

// WriteEarly has the system begin to write to the disk what is written to the
// file from now on, while more is being written, so that Sync has less to wait
// for. It promises nothing else.
func (f *File) WriteEarly() { f.early = true }

// wrote is told of n bytes that were written behind all others. On a slow disk
// what is given to it at a time is more.
func (f *File) wrote(n int64) {
	f.size += n
	if !f.early || f.size-f.begun < earlyStep || !f.giving.CompareAndSwap(false, true) {
		return
	}
	at, n := f.begun, f.size-f.begun
	f.begun = f.size
	go func() {
		beginWriting(f.File, at, n)
		f.giving.Store(false)
	}()
}

// Reserve makes room for n bytes on the disk, where that spares time later, or
// fails if there is not as much.
func (f *File) Reserve(n int64) error {
	if n < earlyStep {
		return nil
	}
	return reserve(f.File, n)
}
