package operator

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"

	"optsweep/schemas"

	"pgregory.net/rapid"
)

func TestBase64IsThatOfTheStandardLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		src := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "src")
		dst := make([]byte, base64.StdEncoding.EncodedLen(len(src)))
		putBase64(dst, src)
		if want := base64.StdEncoding.EncodeToString(src); string(dst) != want {
			t.Fatalf("got %s, want %s", dst, want)
		}
	})
}

func drawIDs(t *rapid.T) []schemas.ID {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) schemas.ID {
		raw := rapid.SliceOfN(rapid.Byte(), 33, 33).Draw(t, "raw")
		raw[0] = rapid.SampledFrom([]byte{0x00, 0x14, 0xB0}).Draw(t, "prefix")
		if rapid.Bool().Draw(t, "v2") {
			raw = raw[1:]
		}
		id, err := schemas.FromRaw(raw)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}), 0, 40).Draw(t, "ids")
}

func TestPayloadIsTheJSONOfTheIDs(t *testing.T) {
	b := new(batch) // one for all: buffers are used again
	rapid.Check(t, func(t *rapid.T) {
		ids := drawIDs(t)
		b.encode(ids)
		var got struct {
			IDs []string `json:"advertising_ids"`
		}
		d := json.NewDecoder(bytes.NewReader(b.payload))
		d.DisallowUnknownFields()
		if err := d.Decode(&got); err != nil || d.More() || got.IDs == nil {
			t.Fatalf("%v: %s", err, b.payload)
		}
		want := []string{}
		for i, id := range ids {
			want = append(want, string(id.AppendText(nil)))
			if string(b.idText(i)) != want[i] {
				t.Fatal("wrong text")
			}
		}
		if !slices.Equal(got.IDs, want) {
			t.Fatalf("%d ids, want %d", len(got.IDs), len(want))
		}
	})
}

// listed is an answer as encoding/json sees it.
type listed struct {
	Body struct {
		OptedOut []struct {
			ID    string `json:"advertising_id"`
			Since int64  `json:"opted_out_since"`
		} `json:"opted_out"`
	} `json:"body"`
	Status string `json:"status"`
}

func TestParseReadsWhatJSONWrites(t *testing.T) {
	b := new(batch)
	rapid.Check(t, func(t *rapid.T) {
		ids := drawIDs(t)
		b.encode(ids)
		var in listed
		in.Status = "success"
		var want []schemas.OptOut
		for range rapid.IntRange(0, 2*len(ids)).Draw(t, "hits") {
			i := rapid.IntRange(0, len(ids)-1).Draw(t, "hit")
			in.Body.OptedOut = append(in.Body.OptedOut, struct {
				ID    string `json:"advertising_id"`
				Since int64  `json:"opted_out_since"`
			}{string(ids[i].AppendText(nil)), rapid.Int64Range(minSinceMS, 2e12).Draw(t, "since")})
			want = append(want, schemas.OptOut{ID: ids[i], SinceMS: in.Body.OptedOut[len(want)].Since})
		}
		if in.Body.OptedOut == nil {
			in.Body.OptedOut = make([]struct {
				ID    string `json:"advertising_id"`
				Since int64  `json:"opted_out_since"`
			}, 0)
		}
		indent := strings.Repeat(" ", rapid.IntRange(0, 2).Draw(t, "indent"))
		payload, err := json.MarshalIndent(in, "\r\n", indent)
		if err != nil {
			t.Fatal(err)
		}
		got, err := b.parse(payload, 2e12, nil)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%d of %d: %v", len(got), len(want), err)
		}
	})
}

// seeds are the ids of the fuzz targets.
func seeds(t testing.TB) (b *batch, ids []schemas.ID) {
	for _, raw := range [][]byte{bytes.Repeat([]byte{0x10}, 33), bytes.Repeat([]byte{0xFE}, 32)} {
		id, err := schemas.FromRaw(raw)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	b = new(batch)
	b.encode(ids)
	return b, ids
}

// reference reads an answer by encoding/json, with member names as they are.
func reference(payload []byte) (status string, list []schemas.OptOut, texts []string, err error) {
	var top, body map[string]json.RawMessage
	var items []map[string]json.RawMessage
	err = errors.Join(json.Unmarshal(payload, &top), json.Unmarshal(top["status"], &status),
		json.Unmarshal(top["body"], &body), json.Unmarshal(body["opted_out"], &items))
	for _, item := range items {
		var text string
		var since int64
		err = errors.Join(err, json.Unmarshal(item["advertising_id"], &text), json.Unmarshal(item["opted_out_since"], &since))
		list = append(list, schemas.OptOut{SinceMS: since})
		texts = append(texts, text)
	}
	return status, list, texts, err
}

// FuzzParse holds the parser against encoding/json: what it accepts is valid
// JSON that means the same.
func FuzzParse(f *testing.F) {
	b, ids := seeds(f)
	item := fmt.Sprintf(`{"advertising_id":"%s","opted_out_since":1764547200000}`, b.idText(0))
	f.Add([]byte(`{"body":{"opted_out":[` + item + `]},"status":"success"}`))
	f.Add([]byte(`{"status":"success","body":{"opted_out":[` + item + "\n,\t" + item + `],"x":[[],{}]},"y":{"a":"\"]}"}}`))
	f.Add([]byte(`{"body":{"opted_out":[]},"status":"\u0073uccess","z":-1.5e3,"t":true}`))
	f.Add([]byte(strings.Replace(`{"body":{"opted_out":[`+item+`]},"status":"success"}`, "EBAQ", `\u0045BAQ`, 1)))
	f.Add([]byte(`{"body":{"opted_out":[{"advertising_id":"x"`))
	f.Add([]byte(`{"body":1,"status":"succe`))
	f.Add([]byte(`{"a":"\`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		const most = 2_000_000_000_000
		got, err := b.parse(payload, most, nil)
		if err != nil {
			if bytes.Contains([]byte(err.Error()), b.idText(0)) {
				t.Fatal("the error shows an id")
			}
			return
		}
		status, want, texts, err := reference(payload)
		if err != nil || status != "success" || len(got) != len(want) {
			t.Fatalf("%d entries, want %d, %v: %q", len(got), len(want), err, payload)
		}
		for i, o := range got {
			if !slices.Contains(ids, o.ID) || string(o.ID.AppendText(nil)) != texts[i] || o.SinceMS != want[i].SinceMS ||
				o.SinceMS < minSinceMS || o.SinceMS > most {
				t.Fatalf("entry %d differs: %q", i, payload)
			}
		}
	})
}

func TestFindFallsBackToAnIndex(t *testing.T) {
	b, _ := seeds(t)
	for _, i := range []int{1, 0, 0, 1} {
		if got, ok := b.find(b.idText(i)); !ok || got != i {
			t.Errorf("found %d, want %d", got, i)
		}
	}
	if _, ok := b.find(bytes.Repeat([]byte{'x'}, schemas.TextSize)); ok {
		t.Error("found what was not asked")
	}
}

func TestPresentable(t *testing.T) {
	for in, want := range map[string]string{
		"Unknown error": "Unknown error",
		"id EAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g bad":   "id ... bad",
		"key EUID-C-I-123-abcdef.AAAAAAAAAAAAAAAAAAAAAAAAAAAA=": "key ...",
		"line\nbreak \x1b[31m\x00":                              "line...break ...[31m...",
		strings.Repeat("word ", 100):                            strings.Repeat("word ", 24),
	} {
		if got := presentable(in); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestIntegerLimits(t *testing.T) {
	for in, want := range map[string]int64{"0": 0, " 7": 7, "9223372036854775807": math.MaxInt64, "9223372036854775808": -1, "": -1, "00": -1, "-1": -1, "+1": -1} {
		s := scanner{data: []byte(in)}
		got, err := s.integer()
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("%q is %d, want %d", in, got, want)
		}
	}
}

// Before the operator was reached at all, some failures cannot be passing.
func TestFirstContactIsLessPatient(t *testing.T) {
	c := &Client{base: &url.URL{Host: "operator.example.com"}}
	for name, err := range map[string]error{
		"no such host": &net.DNSError{Err: "no such host", Name: "operator.example.com", IsNotFound: true},
		"TLS alert":    &net.OpError{Op: "remote error", Err: errors.New("tls: handshake failure")},
	} {
		c.reached.Store(false)
		if f := c.networkFailure(err); f.class != fatal || schemas.HintOf(f.err) == "" {
			t.Errorf("%s at first: %s, %v", name, f.class, f.err)
		}
		c.reached.Store(true)
		if f := c.networkFailure(err); f.class != retry {
			t.Errorf("%s later: %s, %v", name, f.class, f.err)
		}
	}
}
