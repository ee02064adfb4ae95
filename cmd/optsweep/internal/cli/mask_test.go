package cli

import (
	"bytes"
	"testing"
)

// What arrives in pieces is masked as a whole, and nothing gets lost.
func TestMaskedLinesInPieces(t *testing.T) {
	const id = "EAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g"
	text := "first\n" + id + "\nlast " + id
	for size := 1; size <= len(text); size++ {
		var out bytes.Buffer
		m := &masked{w: &out}
		for rest := text; rest != ""; {
			n := min(size, len(rest))
			if k, err := m.Write([]byte(rest[:n])); k != n || err != nil {
				t.Fatal(k, err)
			}
			rest = rest[n:]
		}
		if err := m.flush(); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); got != "first\n[hidden]\nlast [hidden]" {
			t.Fatalf("in pieces of %d: %q", size, got)
		}
	}
}
