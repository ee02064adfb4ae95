package wire

import (
	"runtime/debug"
	"testing"
)

// Runs side by side may use what all of them may use; after the last one the
// limit is what it was before the first.
func TestMemoryIsShared(t *testing.T) {
	const mib = 1 << 20
	before := debug.SetMemoryLimit(4096 * mib)
	defer debug.SetMemoryLimit(before)
	m := new(memory)
	want := func(mibs int64) {
		t.Helper()
		if got := debug.SetMemoryLimit(-1); got != mibs*mib {
			t.Errorf("%d MiB, want %d", got/mib, mibs)
		}
	}
	first := m.take(1600 * mib)
	want(1500)
	second := m.take(800 * mib)
	want(2250)
	first()
	want(750)
	second()
	want(4096)
}
