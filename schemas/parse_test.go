package schemas

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const base64Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// Ids that the docs derive from test@example.com, and ids from the examples
// of a request.
const (
	idV2     = "JU93RRD6rRTGd1EQoeceWGl8PzefJFRoSU6r8aWt5KY="
	idV3     = "ECVPd0UQ+q0UxndREKHnHlhpfD83nyRUaElOq/GlreSm"
	idEmail  = "EAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g"
	idPhone  = "FCEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj9A"
	allZeros = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	allOnes  = "//////////////////////////////////////////8="
)

var euidProduction = Rules{Scope: EUID, Environment: Production}

// withPrefix is an id of 33 bytes; a v4 one has a right checksum.
func withPrefix(prefix byte) string {
	raw := make([]byte, 33)
	raw[0] = prefix
	for i := 1; i < 32; i++ {
		raw[i] = byte(i * 37)
	}
	if prefix&prefixV4 != 0 {
		for _, b := range raw[:32] {
			raw[32] ^= b
		}
	}
	return base64.StdEncoding.EncodeToString(raw)
}

func TestReasons(t *testing.T) {
	badSum := []byte(withPrefix(0xB0))
	badSum[20] ^= 1 // another character of the alphabet, another byte
	cases := []struct {
		cell string
		want Reason
	}{
		{idV2, Valid}, {idV3, Valid}, {idEmail, Valid}, {idPhone, Valid},
		{" " + idV3, Valid}, {idV2 + "\r\n", Valid}, {"\t\v\f\n " + idV3 + " \t", Valid},
		{"", Empty}, {" \n", Empty},
		{"\x10" + strings.Repeat("@+\x80", 10) + "x", RawBytes}, {strings.Repeat("\xff", 33), RawBytes}, {strings.Repeat("\x01", 31), NotBase64}, {strings.Repeat("ä", 16), NotBase64},
		{idV3[:20] + " " + idV3[20:], Whitespace}, {idV3[:43] + "\n" + idV3[43:], Whitespace}, {idV3[:20] + "\n" + idV3[21:], Whitespace},
		{idV3 + "\u00a0", Whitespace}, {idV3 + " " + idV3, Whitespace},
		{"someone@example.com", LooksLikeEmail}, {" Some One <someone@example.com>", LooksLikeEmail},
		{"+12345678901", LooksLikePhone}, {"+49 (170) 123-45.67", LooksLikePhone},
		{"+123456", BadLength}, {"+1234567890123456", NotBase64}, {"12345678", BadLength},
		{strings.Repeat("A", 180), LooksLikeToken}, {strings.Repeat("a-_9", 45), LooksLikeToken}, {strings.Repeat("A", 98) + "==", LooksLikeToken},
		{strings.Repeat("A", 98), BadLength}, {strings.Repeat("!", 180), NotBase64},
		{strings.Repeat("0123456789abcdef", 4), HexHash}, {strings.Repeat("0123456789ABCDEF", 2), HexHash}, {strings.Repeat("0a", 20), HexHash},
		{strings.Repeat("0a", 28), HexHash}, {strings.Repeat("0a", 48), HexHash}, {strings.Repeat("0a", 64), HexHash},
		{strings.Repeat("0a", 21), BadLength},
		{strings.Replace(idV3, "+", "-", 1), URLSafeBase64}, {strings.Replace(idV3, "/", "_", 1), URLSafeBase64},
		{"-" + idV2[1:43], URLSafeBase64}, {"_" + idV2[1:], URLSafeBase64}, {"123e4567-e89b-12d3-a456-426614174000", NotBase64},
		{idV2[:43], MissingPadding}, {idV3[:43], MissingPadding},
		{idV3[:40], BadLength}, {idV3[:42], BadLength}, {idV3[:42] + "==", BadLength}, {idV3 + "AA==", BadLength}, {idV3 + idV3, BadLength}, {"hell", BadLength},
		{idV3[:41], NotBase64}, {"hello", NotBase64}, {"x", NotBase64}, {"=", NotBase64}, {"====", NotBase64}, {idV2 + "=", NotBase64}, {idV3 + "=", NotBase64},
		{"\"" + idV3 + "\"", NotBase64}, {idV2[:20] + "=" + idV2[21:], NotBase64}, {idV2[:41] + "===", NotBase64},
		{strings.Replace(idV3, "+", "%2B", 1), NotBase64}, {"ä" + idV3[2:], NotBase64}, {"\x00" + idV3[1:], NotBase64}, {"\xff" + idV3[1:], NotBase64}, {idV3[:43] + "\xa0", NotBase64},
		{idV2[:42] + "Z=", NonCanonical}, {idV2[:42] + "b=", NonCanonical},
		{"/" + idV3[1:], UnknownPrefix}, {"//" + idV3[2:], UnknownPrefix}, {withPrefix(0x01), UnknownPrefix}, {withPrefix(0x18), UnknownPrefix}, {withPrefix(0xFF), UnknownPrefix},
		{withPrefix(0x50), UnknownPrefix}, {withPrefix(0xF0), UnknownPrefix},
		{string(badSum), BadChecksum},
		{allZeros, ReservedID}, {allOnes, ReservedID}, {"EAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", ReservedID}, {"EP//////////////////////////////////////////", ReservedID},
		{withPrefix(0x00), WrongScope}, {withPrefix(0xA4), WrongScope}, {withPrefix(0x64), WrongScope},
		{withPrefix(0x70), WrongEnvironment}, {withPrefix(0x30), WrongEnvironment}, {withPrefix(0xB0), Valid}, {withPrefix(0xB4), Valid},
	}
	seen := make(map[Reason]bool)
	for _, c := range cases {
		id, repaired, reason := euidProduction.Parse([]byte(c.cell))
		seen[reason] = true
		if reason != c.want {
			t.Errorf("%q: got %q, want %q", c.cell, reason, c.want)
			continue
		}
		if (reason == Valid) != (id != ID{}) {
			t.Errorf("%q: %q with id %t", c.cell, reason, id != ID{})
		}
		if trimmed := strings.TrimSpace(c.cell); repaired != (reason == Valid && trimmed != c.cell) {
			t.Errorf("%q: repaired is %t", c.cell, repaired)
		} else if reason == Valid && string(id.AppendText(nil)) != trimmed {
			t.Errorf("%q: another text", c.cell)
		}
	}
	for _, reason := range []Reason{
		Valid, Empty, RawBytes, Whitespace, LooksLikeEmail, LooksLikePhone, LooksLikeToken, HexHash, URLSafeBase64, MissingPadding,
		BadLength, NotBase64, NonCanonical, UnknownPrefix, BadChecksum, ReservedID, WrongScope, WrongEnvironment,
	} {
		if !seen[reason] {
			t.Errorf("no case for %q", reason)
		}
	}
}

// TestPrefixes holds every first byte against the table of the layouts.
func TestPrefixes(t *testing.T) {
	type meaning struct {
		version     Version
		scope       Scope
		environment Environment
	}
	known := map[byte]meaning{
		0x00: {V3, UID2, ""}, 0x04: {V3, UID2, ""}, 0x10: {V3, EUID, ""}, 0x14: {V3, EUID, ""},
		0x20: {V4, UID2, "test"}, 0x24: {V4, UID2, "test"}, 0x30: {V4, EUID, "test"}, 0x34: {V4, EUID, "test"},
		0x60: {V4, UID2, Integration}, 0x64: {V4, UID2, Integration}, 0x70: {V4, EUID, Integration}, 0x74: {V4, EUID, Integration},
		0xA0: {V4, UID2, Production}, 0xA4: {V4, UID2, Production}, 0xB0: {V4, EUID, Production}, 0xB4: {V4, EUID, Production},
	}
	for prefix := range 256 {
		m, ok := known[byte(prefix)]
		for _, scope := range []Scope{EUID, UID2} {
			for _, environment := range []Environment{Production, Integration} {
				want := Valid
				switch {
				case !ok:
					want = UnknownPrefix
				case m.scope != scope:
					want = WrongScope
				case m.version == V4 && m.environment != environment:
					want = WrongEnvironment
				}
				text := withPrefix(byte(prefix))
				id, _, reason := Rules{Scope: scope, Environment: environment}.Parse([]byte(text))
				if ok != (want != UnknownPrefix) || reason != want && !(want == UnknownPrefix && reason == BadChecksum) {
					t.Errorf("%02x for %s %s: got %q, want %q", prefix, scope, environment, reason, want)
				}
				if reason != Valid {
					continue
				}
				if got, has := id.Scope(); got != scope || !has || id.Version() != m.version {
					t.Errorf("%02x: version %d, scope %s", prefix, id.Version(), got)
				}
			}
		}
	}
	id, _, _ := euidProduction.Parse([]byte(idV2))
	if scope, has := id.Scope(); has || scope != "" || id.Version() != V2 {
		t.Errorf("v2: version %d, scope %q", id.Version(), scope)
	}
}

func TestSextets(t *testing.T) {
	for c := range 256 {
		want := strings.IndexByte(base64Alphabet, byte(c))
		if want < 0 {
			want = 0x80
		}
		if len(sextets) != 256 || int(sextets[c]) != want {
			t.Errorf("character %#x: got %#x, want %#x", c, sextets[c], want)
		}
	}
}

// reference says what a cell is worth with the standard library and the table
// of the layouts, slowly.
func reference(r Rules, cell []byte) (id ID, repaired, ok bool) {
	text := bytes.Trim(cell, " \t\n\v\f\r")
	raw, err := base64.StdEncoding.Strict().DecodeString(string(text))
	if err != nil || len(text) != 44 { // the length excludes line breaks, which the library skips
		return ID{}, false, false
	}
	hexadecimal := hex.EncodeToString(raw)
	body := hexadecimal
	if len(raw) == 33 {
		body = hexadecimal[2:]
	}
	if body == strings.Repeat("00", 32) || body == strings.Repeat("ff", 32) {
		return ID{}, false, false
	}
	switch len(raw) {
	case 32:
		id[0] = 0xFF
		copy(id[1:], raw)
	case 33:
		prefixes := map[Rules]string{
			{EUID, Production}: "10 14 b0 b4", {EUID, Integration}: "10 14 70 74",
			{UID2, Production}: "00 04 a0 a4", {UID2, Integration}: "00 04 60 64",
		}[r]
		var sum byte
		for _, b := range raw {
			sum ^= b
		}
		if !strings.Contains(prefixes, hexadecimal[:2]) || raw[0] >= 0x20 && sum != 0 {
			return ID{}, false, false
		}
		copy(id[:], raw)
	default:
		return ID{}, false, false
	}
	return id, len(text) != len(cell), true
}

func checkCell(t interface{ Fatalf(string, ...any) }, r Rules, cell []byte) {
	before := bytes.Clone(cell)
	id, repaired, reason := r.Parse(cell)
	wantID, wantRepaired, ok := reference(r, cell)
	if (reason == Valid) != ok || id != wantID || repaired != wantRepaired {
		t.Fatalf("%q: got %q, repaired %t; the reference says %t, repaired %t", cell, reason, repaired, ok, wantRepaired)
	}
	if !bytes.Equal(cell, before) {
		t.Fatalf("%q: the cell was changed", before)
	}
	if !ok {
		return
	}
	text := id.AppendText(nil)
	if again, _, _ := r.Parse(text); again != id || len(text) != TextSize || !bytes.Contains(cell, text) {
		t.Fatalf("%q: its canonical text is another", cell)
	}
	if raw, err := FromRaw(id.Raw()); err != nil || raw != id {
		t.Fatalf("%q: not the same from its raw bytes: %v", cell, err)
	}
}

func anyRules(t *rapid.T) Rules {
	return Rules{
		Scope:       rapid.SampledFrom([]Scope{EUID, UID2}).Draw(t, "scope"),
		Environment: rapid.SampledFrom([]Environment{Production, Integration}).Draw(t, "environment"),
	}
}

// TestAgainstReference parses ids of all layouts as they are and after small
// accidents.
func TestAgainstReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.SliceOfN(rapid.Byte(), 30, 36).Draw(t, "raw")
		switch rapid.IntRange(0, 3).Draw(t, "layout") {
		case 0:
			raw = append(raw, make([]byte, 6)...)[:32]
		case 1, 2:
			raw = append(raw, make([]byte, 6)...)[:33]
			raw[0] = rapid.SampledFrom([]byte{0x00, 0x04, 0x10, 0x14, 0x30, 0x60, 0x70, 0x74, 0xA0, 0xB0, 0xB4, 0xFF}).Draw(t, "prefix")
			raw[32] = 0
			for _, b := range raw[:32] {
				raw[32] ^= b
			}
		}
		cell := []byte(base64.StdEncoding.EncodeToString(raw))
		for range rapid.IntRange(0, 2).Draw(t, "accidents") {
			at := rapid.IntRange(0, len(cell)).Draw(t, "at")
			piece := []byte(rapid.SampledFrom([]string{" ", "\n", "=", "-", "_", "A", "/", "+", "b", "\x00", "\u00a0", "é"}).Draw(t, "piece"))
			switch rest := cell[at:]; rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0: // insert
				cell = append(append(bytes.Clone(cell[:at]), piece...), rest...)
			case 1: // replace
				cell = append(append(bytes.Clone(cell[:at]), piece...), rest[min(1, len(rest)):]...)
			case 2: // cut
				cell = bytes.Clone(cell[:at])
			case 3: // white space around
				cell = append(append(bytes.Clone(piece), cell...), ' ')
			}
		}
		checkCell(t, anyRules(t), cell)
	})
}

// TestOneSpelling changes single characters of a valid id: what is accepted is
// another id, never the same one.
func TestOneSpelling(t *testing.T) {
	for _, text := range []string{idV2, idV3} {
		id, _, _ := euidProduction.Parse([]byte(text))
		for at := range text {
			for c := range 256 {
				cell := []byte(text)
				cell[at] = byte(c)
				checkCell(t, euidProduction, cell)
				if other, _, reason := euidProduction.Parse(cell); reason == Valid && other == id && string(cell) != text {
					t.Fatalf("%q is read as %q", cell, text)
				}
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", idV2, idV3, idPhone, allZeros, allOnes, " " + idV3 + "\n", idV2[:43], "+12345678901", "a@b", withPrefix(0xB0), withPrefix(0xFF),
		strings.Repeat("0a", 32), strings.Repeat("A-", 90), idV3[:20] + "\n" + idV3[20:], "\u00a0", "====", "\xff"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, cell []byte) {
		for _, scope := range []Scope{EUID, UID2} {
			for _, environment := range []Environment{Production, Integration} {
				checkCell(t, Rules{Scope: scope, Environment: environment}, cell)
			}
		}
	})
}

func TestFromBytesIsLikeParse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.SliceOfN(rapid.Byte(), IDSize-1, IDSize).Draw(t, "raw")
		if rapid.Bool().Draw(t, "prefix") {
			raw[0] = rapid.SampledFrom([]byte{0x10, 0x14, 0xB0, 0x70, 0x00, 0xFF}).Draw(t, "first")
		}
		if rapid.Bool().Draw(t, "reserved") {
			copy(raw[1:], bytes.Repeat(raw[1:2], IDSize))
		}
		want, _, reason := euidProduction.Parse([]byte(base64.StdEncoding.EncodeToString(raw)))
		var id ID
		if ok := euidProduction.FromBytes(&id, raw); ok != (reason == Valid) || ok && id != want {
			t.Fatalf("ok %v, Parse: %q", ok, reason)
		}
	})
	var id ID
	for _, raw := range [][]byte{nil, make([]byte, IDSize-2)} {
		if euidProduction.FromBytes(&id, raw) {
			t.Errorf("%d bytes are an id", len(raw))
		}
	}
}

func BenchmarkParse(b *testing.B) {
	cells := make([][]byte, 1024)
	for i := range cells {
		id := ID{0x10}
		if i%3 == 0 {
			id[0] = v2Tag
		}
		for j := 1; j < IDSize; j++ {
			id[j] = byte(i*31 + j*j*17 + i>>3)
		}
		cells[i] = id.AppendText(nil)
	}
	next := 0
	for b.Loop() {
		if _, _, reason := euidProduction.Parse(cells[next%len(cells)]); reason != Valid {
			b.Fatal(reason)
		}
		next++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mids/s")
}
