package schemas

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestFromRaw(t *testing.T) {
	for _, c := range []struct {
		name string
		raw  []byte
		err  string // how the error ends; empty for none
	}{
		{"v2", bytes.Repeat([]byte{0x10}, 32), ""},
		{"v3", append([]byte{0x14}, make([]byte, 32)...), ""},
		{"v4 of any environment", append([]byte{0x30}, make([]byte, 32)...), ""},
		{"no prefix", append([]byte{0xFF}, make([]byte, 32)...), "unknown_prefix"},
		{"short", make([]byte, 31), "31 bytes, want 32 or 33"},
		{"long", make([]byte, 34), "34 bytes, want 32 or 33"},
		{"empty", nil, "0 bytes, want 32 or 33"},
	} {
		id, err := FromRaw(c.raw)
		switch {
		case c.err == "" && (err != nil || !bytes.Equal(id.Raw(), c.raw)):
			t.Errorf("%s: %v", c.name, err)
		case c.err != "" && (err == nil || !strings.HasSuffix(err.Error(), c.err) || id != ID{}):
			t.Errorf("%s: got %v", c.name, err)
		}
	}
}

func TestCompareOrdersBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := ID(rapid.SliceOfN(rapid.ByteRange(0, 2), IDSize, IDSize).Draw(t, "a"))
		b := ID(rapid.SliceOfN(rapid.ByteRange(0, 2), IDSize, IDSize).Draw(t, "b"))
		if a.Compare(b) != slices.Compare(a[:], b[:]) || a.Compare(b) != -b.Compare(a) || (a.Compare(b) == 0) != (a == b) {
			t.Fatalf("compare gives %d", a.Compare(b))
		}
	})
}

func TestScopesAndEnvironments(t *testing.T) {
	for _, text := range []string{"euid", "uid2"} {
		if scope, err := ParseScope(text); err != nil || string(scope) != text {
			t.Errorf("%s: %q, %v", text, scope, err)
		}
	}
	for _, text := range []string{"production", "integration"} {
		if environment, err := ParseEnvironment(text); err != nil || string(environment) != text {
			t.Errorf("%s: %q, %v", text, environment, err)
		}
	}
	for _, text := range []string{"", "EUID", "test", "prod", "production "} {
		if scope, err := ParseScope(text); err == nil || scope != "" {
			t.Errorf("scope %q is accepted", text)
		}
		if environment, err := ParseEnvironment(text); err == nil || environment != "" {
			t.Errorf("environment %q is accepted", text)
		}
	}
}

func TestParseText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOfN(rapid.SampledFrom([]byte(base64Alphabet+"=- ")), 43, 45).Draw(t, "text")
		id, ok := ParseText(text)
		if ok && !bytes.Equal(id.AppendText(nil), text) || !ok && id != (ID{}) {
			t.Fatalf("%q: %t", text, ok)
		}
	})
	for text, want := range map[string]bool{
		idV2: true, idV3: true, allZeros: true, "": false, " " + idV3: false, idV2[:43]: false, "/" + idV3[1:]: true, "//" + idV3[2:]: false,
	} {
		if _, ok := ParseText([]byte(text)); ok != want {
			t.Errorf("%q: %t", text, ok)
		}
	}
}
