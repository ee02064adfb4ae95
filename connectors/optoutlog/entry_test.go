package optoutlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"testing"
	"time"

	"optsweep/schemas"
)

func textID(t testing.TB, text string) schemas.ID {
	t.Helper()
	id, ok := schemas.ParseText([]byte(text))
	if !ok {
		t.Fatal("bad id in test")
	}
	return id
}

const euidV3 = "EAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g" // bytes 10 01 02 .. 20

// vectorDelta is the published file of four entries: opening, an EUID v3 id, a
// v2 id, closing.
func vectorDelta(t testing.TB) []byte {
	t.Helper()
	v2id := textID(t, base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0x33}, 32)))
	b := appendSentinel(nil, 0, 1764547200)
	b = Append(b, Entry{Hash: [32]byte(bytes.Repeat([]byte{0x11}, 32)), ID: textID(t, euidV3), Second: 1764547200})
	b = Append(b, Entry{Hash: [32]byte(bytes.Repeat([]byte{0x22}, 32)), ID: v2id, Second: 1764547260})
	return appendSentinel(b, 0xFF, 1764547500)
}

func TestDeltaVector(t *testing.T) {
	b := vectorDelta(t)
	sum := sha256.Sum256(b)
	if got := hex.EncodeToString(sum[:]); got != "23c347c917c685d3847b6e36c68028fa1bffaeec49de827da21d4647551a9033" {
		t.Errorf("sha256 of the delta is %s", got)
	}
	if got := hex.EncodeToString(b[136:144]); got != "80da2c6900000050" {
		t.Errorf("entry 2 ends in %s", got)
	}
	if got := hex.EncodeToString(b[208:216]); got != "bcda2c6900000000" {
		t.Errorf("entry 3 ends in %s", got)
	}
	var kinds []Kind
	for i := 0; i < len(b); i += EntrySize {
		e, kind, err := Decode((*[EntrySize]byte)(b[i:]))
		if err != nil {
			t.Fatal(err)
		}
		if kind == OptOut && !bytes.Equal(Append(nil, e), b[i:i+EntrySize]) {
			t.Errorf("entry %d does not read back", i/EntrySize)
		}
		kinds = append(kinds, kind)
	}
	if want := []Kind{Start, OptOut, OptOut, End}; string(kindBytes(kinds)) != string(kindBytes(want)) {
		t.Errorf("kinds %v, want %v", kinds, want)
	}
}

func kindBytes(kinds []Kind) (b []byte) {
	for _, k := range kinds {
		b = append(b, byte(k))
	}
	return b
}

// v4ID makes a v4 id with a right checksum.
func v4ID(first byte) (id schemas.ID) {
	id[0] = first
	for i := 1; i < 32; i++ {
		id[i] = byte(i * 7)
	}
	id[32] = checksum(id[:32])
	return id
}

// Every first byte of a v4 id comes back, for both scopes, both types and all
// three environments; an entry holds only six bits of it.
func TestV4FirstByteIsRecovered(t *testing.T) {
	for _, first := range []byte{0x20, 0x24, 0x30, 0x34, 0x60, 0x64, 0x70, 0x74, 0xA0, 0xA4, 0xB0, 0xB4} {
		id := v4ID(first)
		b := Append(nil, Entry{ID: id, Second: 5})
		if want := 0x40 | first; b[71] != want {
			t.Errorf("%02x: metadata %02x, want %02x", first, b[71], want)
		}
		e, _, err := Decode((*[EntrySize]byte)(b))
		if err != nil || e.ID != id {
			t.Errorf("%02x reads back with first byte %02x, %v", first, e.ID[0], err)
		}
		sent := id
		sent[0] &= 0x3F // as the webhook sends it
		if RestoreV4(sent) != id {
			t.Errorf("%02x: not restored", first)
		}
	}
	broken := v4ID(0x30)
	broken[9] ^= 1
	if RestoreV4(broken) != broken {
		t.Error("an id whose checksum fits no environment was changed")
	}
	v2id := schemas.ID{0: v2, 4: 9}
	if RestoreV4(v2id) != v2id {
		t.Error("a v2 id was changed")
	}
}

// Metadata with its two highest bits clear is a v2 id whatever the rest is;
// any other value is a 33-byte id.
func TestMetadata(t *testing.T) {
	for m := range 256 {
		b := make([]byte, EntrySize)
		b[40], b[64], b[71] = 1, 1, byte(m)
		e, kind, err := Decode((*[EntrySize]byte)(b))
		if err != nil || kind != OptOut {
			t.Fatalf("%02x: %v %v", m, kind, err)
		}
		if short := m < 0x40; short != (e.ID.Version() == schemas.V2) {
			t.Errorf("%02x: version %d", m, e.ID.Version())
		} else if !short && e.ID[0]&prefix != byte(m)&prefix {
			t.Errorf("%02x: first byte %02x", m, e.ID[0])
		}
	}
}

func TestImpossibleTimes(t *testing.T) {
	for _, tc := range []struct {
		second int64
		ok     bool
	}{{0, false}, {1, true}, {maxSecond, true}, {maxSecond + 1, false}, {1<<56 - 1, false}} {
		_, _, err := Decode((*[EntrySize]byte)(Append(nil, Entry{ID: textID(t, euidV3), Second: tc.second})))
		if (err == nil) != tc.ok {
			t.Errorf("second %d: %v", tc.second, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(vectorDelta(f)[:72])
	f.Add(vectorDelta(f)[72:144])
	f.Add(vectorDelta(f)[144:216])
	f.Add(vectorDelta(f)[216:])
	f.Add(Append(nil, Entry{ID: v4ID(0xB0), Second: 7}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != EntrySize {
			return
		}
		e, kind, err := Decode((*[EntrySize]byte)(b))
		if err != nil || kind != OptOut {
			if e.ID != (schemas.ID{}) {
				t.Fatal("an id without an opt-out")
			}
			return
		}
		again, _, err := Decode((*[EntrySize]byte)(Append(nil, e)))
		if err != nil || again != e {
			t.Fatal("an entry changes when it is written and read again")
		}
		c := newCollector(&seed{}, 0)
		if err := c.addAll(b); err != nil || c.size != 1 {
			t.Fatal("Decode and the loader disagree")
		}
	})
}

func TestNames(t *testing.T) {
	n, ok := ParseName("optout-delta-000_2024-04-01T00.00.00Z_418810dc.dat")
	if !ok || n.Kind != Delta || n.Replica != 0 || !n.Time.Equal(time.Date(2024, 4, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v %t", n, ok)
	}
	for _, good := range []string{
		"optout-partition-017_2024-02-29T23.59.59Z_00000000.dat",
		"optout-delta-1234_2024-04-01T00.00.00Z_ffffffff.dat",
	} {
		if n, ok := ParseName(good); !ok || n.String() != good {
			t.Errorf("%s reads as %s, %t", good, n, ok)
		}
	}
	for _, bad := range []string{
		"", "optout-delta-000.dat",
		"optout-delta-00_2024-04-01T00.00.00Z_418810dc.dat",
		"optout-delta-000_2024-04-01T00:00:00Z_418810dc.dat",
		"optout-delta-000_2024-04-01T00.00.00.5Z_418810dc.dat",
		"optout-delta-000_2024-13-01T00.00.00Z_418810dc.dat",
		"optout-delta-000_2023-02-29T00.00.00Z_418810dc.dat",
		"optout-delta-000_2024-04-01T00.00.00Z_418810DC.dat",
		"optout-delta-000_2024-04-01T00.00.00Z_418810dc.dat.part",
		" optout-delta-000_2024-04-01T00.00.00Z_418810dc.dat",
		"optout-delta-000_2024-04-01T00.00.00Z_418810dc.dat\n",
		"optout-gamma-000_2024-04-01T00.00.00Z_418810dc.dat",
		".optout-delta-000_2024-04-01T00.00.00Z_418810dc.dat",
		"optout-delta-99999999999999999999_2024-04-01T00.00.00Z_418810dc.dat",
	} {
		if _, ok := ParseName(bad); ok {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func FuzzParseName(f *testing.F) {
	f.Add("optout-delta-000_2024-04-01T00.00.00Z_418810dc.dat")
	f.Add("optout-partition-1000_2024-12-31T23.59.59Z_00ff00ff.dat")
	f.Fuzz(func(t *testing.T, base string) {
		n, ok := ParseName(base)
		if !ok {
			return
		}
		again, ok := ParseName(n.String())
		if !ok || again != n || len(n.String()) > len(base) {
			t.Fatalf("%q reads as %s", base, n)
		}
	})
}
