package durable

// earlyStep is how many bytes are handed to the disk at a time.
const earlyStep = 16 << 20

// WriteEarly has the system begin to write to the disk what is written to the
// file from now on, while more is being written, so that Sync has less to wait
// for. It promises nothing else.
func (f *File) WriteEarly() { f.early = true }

// wrote is told of n bytes that were written behind all others.
func (f *File) wrote(n int64) {
	f.size += n
	if f.early && f.size-f.begun >= earlyStep {
		at := f.begun
		f.begun = f.size
		go beginWriting(f.File, at, f.size-at)
	}
}

// Reserve makes room for n bytes on the disk, where that spares time later, or
// fails if there is not as much.
func (f *File) Reserve(n int64) error {
	if n < earlyStep {
		return nil
	}
	return reserve(f.File, n)
}
