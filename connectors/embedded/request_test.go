package embedded

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"optsweep/schemas"
)

// FuzzParseRequest compares the scanner with encoding/json.
func FuzzParseRequest(f *testing.F) {
	for _, s := range []string{
		`{"advertising_ids":["` + euidV3 + `","` + clearV3 + `"]}`,
		`{"advertising_ids":[null,1,-0.5e+3,true,false,"x\u0041\n",{"a":[]},["b"]]}`,
		`{"advertising_ids":"x","a":{"advertising_ids":[1]},"advertising\u005fids":[]}`,
		` { } `, `[]`, `null`, `{"a":01}`, `{"a":1.}`, `{"a":-}`, `{"a":"\x"}`, `{"a":"\ud800"}`, "{\"a\":\"\xff\"}",
		`{"advertising_ids":["EPv7+\/v7+\/v7+\/v7+\/v7+\/v7+\/v7+\/v7+\/v7+\/v7+\/v7"]}`, `{"a":1}{"b":2}`, `{"a":1,}`, `{,}`, `{"a" 1}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		got, ok := parseRequest(payload, nil)
		want, wantOK := referenceRequest(payload)
		if ok != wantOK && bytes.Count(payload, []byte("["))+bytes.Count(payload, []byte("{")) <= maxDepth {
			t.Fatalf("%q: ok %t, want %t", payload, ok, wantOK)
		}
		if !ok || !wantOK {
			return
		}
		if got.list != want.list || got.count != want.count || len(got.ids) != len(want.ids) {
			t.Fatalf("%q: %d elements, %d ids, state %d; want %d, %d, %d", payload, got.count, len(got.ids), got.list, want.count, len(want.ids), want.list)
		}
		for i := range want.ids {
			if got.ids[i] != want.ids[i] {
				t.Fatalf("%q: id %d differs", payload, i)
			}
		}
	})
}

func referenceRequest(payload []byte) (r request, ok bool) {
	var fields map[string]json.RawMessage
	if !utf8.Valid(payload) || json.Unmarshal(payload, &fields) != nil || fields == nil {
		return r, false
	}
	raw, found := fields["advertising_ids"]
	if !found || string(raw) == "null" {
		return r, true
	}
	var elements []json.RawMessage
	if json.Unmarshal(raw, &elements) != nil {
		r.list = malformed
		return r, true
	}
	r.list, r.count = present, len(elements)
	for _, e := range elements {
		var text string
		if e[0] == '"' && json.Unmarshal(e, &text) == nil {
			if id, ok := schemas.ParseText([]byte(text)); ok {
				r.ids = append(r.ids, id)
			}
		}
	}
	return r, true
}

func TestDeepJSON(t *testing.T) {
	nested := func(n int) []byte {
		return []byte(`{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}`)
	}
	if _, ok := parseRequest(nested(maxDepth-1), nil); !ok {
		t.Error("999 arrays in an object are refused")
	}
	if _, ok := parseRequest(nested(1<<19), nil); ok {
		t.Error("half a million arrays are accepted")
	}
}

// Ids already there stay, and room is used again.
func TestParseRequestAppends(t *testing.T) {
	before := []schemas.ID{parseID(t, clearV3)}
	r, ok := parseRequest([]byte(`{"advertising_ids":["`+euidV3+`"],"advertising_ids":["`+euidV3+`"]}`), before)
	if !ok || len(r.ids) != 2 || r.ids[0] != before[0] || r.ids[1] != parseID(t, euidV3) {
		t.Errorf("%d ids, %t", len(r.ids), ok)
	}
}
