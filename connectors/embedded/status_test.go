package embedded

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"

	"optsweep/connectors/envelope"
	"optsweep/schemas"
)

const (
	hintEUID = " See https://euid.eu/docs/getting-started/gs-encryption-decryption for details on the request envelope format."
	jsonHint = "Invalid body: The request body is unencrypted JSON. It must be an encrypted request envelope. See https://euid.eu/docs/getting-started/gs-encryption-decryption#encryption-and-decryption-code-examples for encryption and decryption code examples."
)

func clientErrorBody(message string) string {
	return `{"status":"client_error","message":"` + message + `"}`
}

// Published request and response vectors, through the whole answerer.
func TestVectors(t *testing.T) {
	cipher, err := envelope.NewCipher(schemas.NewSecret(vectorSecret))
	if err != nil {
		t.Fatal(err)
	}
	opted := parseID(t, euidV3)
	a := answerer{scope: schemas.EUID, maxIDs: 5000, nowMS: func() int64 { return vectorMS + 250 },
		lookup: func(dst []schemas.OptOut, ids []schemas.ID) []schemas.OptOut {
			for _, id := range ids {
				if id == opted {
					dst = append(dst, schemas.OptOut{ID: id, SinceMS: sinceS * 1000})
				}
			}
			return dst
		}}
	for name, tc := range map[string]struct {
		request string
		nonce   envelope.Nonce
		status  int
		want    string
	}{
		"two ids": {"01a0a1a2a3a4a5a6a7a8a9aaabe6187db63311aabf636784d7027cc7d60b8e3874e4d23018f57d4fe818f41c65a1547da48d6712781cdd73994f38e49a0e5817272e945b4e0e1a731ff635edfde1fad73668e2a68b95a5876feb86a482aa2987868382dc13a70c6ff6fbf32efbc4d744d94fedbfeed2a14728c8e2a0186a04389d9171f00a60b5a99de43fcb0ce74ccd95540de55a72c72707afc8d66f8f5b50",
			testNonce, 200, oneOptedOut},
		"empty list": {"010000000000000000000000000ebcb445c3f62bbdf75756cae7d36e66a96137375ee4125be9eddaeda2a034323d7ddce7778ff86f76c48ad412c5bcbdda3cde22086f",
			envelope.Nonce{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 200, noneOptedOut},
		"no payload": {"010c0c0c0c0c0c0c0c0c0c0c0cf4b31a6228c3c26fc2f5334fd38483361ddf25ea93ce9abbcdb4e0d512d10b13",
			testNonce, 400, clientErrorBody("Invalid request body")},
	} {
		t.Run(name, func(t *testing.T) {
			body, err := hex.DecodeString(tc.request)
			if err != nil {
				t.Fatal(err)
			}
			rep := a.answer(cipher, body, true, &scratch{})
			got := string(rep.body)
			if rep.status == 200 {
				opened, err := cipher.OpenResponse(nil, rep.body, tc.nonce)
				if err != nil || opened.TimeMS != vectorMS+250 {
					t.Fatalf("answer of %d: %v", opened.TimeMS, err)
				}
				got = string(opened.Payload)
			}
			if rep.status != tc.status || got != tc.want {
				t.Errorf("%d %s", rep.status, got)
			}
		})
	}
}

// What the operator answers to every kind of payload.
func TestPayloads(t *testing.T) {
	r := newRig(t, nil)
	unpadded := strings.TrimRight("MzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzM=", "=")
	writeLog(t, r.dir, 77, parseID(t, "MzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzM="), parseID(t, "EPv7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7"))
	r.server.Refresh(t.Context())
	list := func(elements string) string { return `{"advertising_ids":[` + elements + `]}` }
	quoted := `"` + euidV3 + `"`
	invalid := clientErrorBody("Invalid payload in body: Data is not valid json string.")
	noIDs := clientErrorBody("Required Parameter Missing: advertising_ids")
	tooLarge := clientErrorBody("Request payload is too large")
	unknown := `{"status":"unknown","message":"Unknown error while getting optout status"}`
	plusHit := `{"body":{"opted_out":[{"advertising_id":"EPv7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7","opted_out_since":77000}]},"status":"success"}`
	for _, tc := range []struct {
		name, payload string
		status        int
		want          string
	}{
		{"empty list", list(""), 200, noneOptedOut},
		{"opted out and clear", list(quoted + `,"` + clearV3 + `"`), 200, oneOptedOut},
		{"duplicates are repeated", list(quoted + `,"` + clearV3 + `",` + quoted), 200, twoOptedOut},
		{"garbage strings", list(`"","x","é","` + strings.Repeat("A", 100000) + `"`), 200, noneOptedOut},
		{"UID2 scope", list(`"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g"`), 200, noneOptedOut},
		{"unpadded", list(`"` + unpadded + `"`), 200, noneOptedOut},
		{"padded", list(`"` + unpadded + `="`), 200, `{"body":{"opted_out":[{"advertising_id":"` + unpadded + `=","opted_out_since":77000}]},"status":"success"}`},
		{"spare bits", list(`"` + unpadded[:42] + `N="`), 200, noneOptedOut},
		{"URL safe", list(`"EPv7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7"`), 200, noneOptedOut},
		{"plus and slash", list(`"EPv7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7"`), 200, plusHit},
		{"escaped slash", list(`"EPv7+\/v7+\/v7+\/v7+\/v7+\/v7+\/v7+\/v7+\/v7+\/v7+\/v7"`), 200, plusHit},
		{"escaped letters", list(`"\u0045AECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g"`), 200, oneOptedOut},
		{"white space inside", list(`" ` + euidV3 + `","` + euidV3 + `\n"`), 200, noneOptedOut},
		{"null, number, boolean, object, array", list(`null,1.5e3,true,{"a":[` + quoted + `]},[` + quoted + `],` + quoted), 200, oneOptedOut},
		{"all zeros and all ones", list(`"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","//////////////////////////////////////////8="`), 200, noneOptedOut},
		{"first byte of no version", list(`"//////////////////////////////////////////////"`), 200, noneOptedOut},
		{"missing", `{}`, 400, noIDs},
		{"null instead of a list", `{"advertising_ids":null}`, 400, noIDs},
		{"other case", `{"Advertising_IDs":[]}`, 400, noIDs},
		{"string instead of a list", `{"advertising_ids":` + quoted + `}`, 500, unknown},
		{"number instead of a list", `{"advertising_ids":5}`, 500, unknown},
		{"object instead of a list", `{"advertising_ids":{}}`, 500, unknown},
		{"5000 ids", list(strings.Repeat(quoted+",", 2) + strings.TrimSuffix(strings.Repeat("1,", 4998), ",")), 200, twoOptedOut},
		{"5001 ids", list(strings.TrimSuffix(strings.Repeat(`"`+clearV3+`",`, 5001), ",")), 400, tooLarge},
		{"5001 nulls", list(strings.TrimSuffix(strings.Repeat(`null,`, 5001), ",")), 400, tooLarge},
		{"extra fields", `{"a":{"advertising_ids":[]},"advertising_ids":[` + quoted + `],"z":"\u00e9"}`, 200, oneOptedOut},
		{"the last one counts", `{"advertising_ids":[` + quoted + `,` + quoted + `],"advertising_ids":[` + quoted + `]}`, 200, oneOptedOut},
		{"the last one is null", `{"advertising_ids":[` + quoted + `],"advertising_ids":null}`, 400, noIDs},
		{"the last one is a list", `{"advertising_ids":7,"advertising_ids":[` + quoted + `]}`, 200, oneOptedOut},
		{"escaped key", `{"advertising\u005fids":[` + quoted + `]}`, 200, oneOptedOut},
		{"space and line breaks", " {\n\t\"advertising_ids\" : [ " + quoted + " ]\r\n} \n", 200, oneOptedOut},
		{"an array", `[` + quoted + `]`, 400, invalid},
		{"null", `null`, 400, invalid},
		{"a string", quoted, 400, invalid},
		{"cut short", `{"advertising_ids":[` + quoted, 400, invalid},
		{"something behind", list(quoted) + `x`, 400, invalid},
		{"two objects", list(quoted) + `{}`, 400, invalid},
		{"no comma", list(quoted + quoted), 400, invalid},
		{"comma too much", list(quoted + `,`), 400, invalid},
		{"not UTF-8", list(quoted + `,"` + "\xff" + `"`), 400, invalid},
		{"control character", list(quoted + `,"` + "\n" + `"`), 400, invalid},
		{"only space", ` `, 400, invalid},
		{"nothing", ``, 400, clientErrorBody("Invalid request body")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := r.post(text(r.seal(vectorMS, tc.payload)), nil)
			got := w.Body.String()
			wantType := typeJSON
			if tc.status == 200 {
				got, wantType = r.open(w), typeText
			}
			if w.Code != tc.status || got != tc.want || w.Header().Get("Content-Type") != wantType {
				t.Errorf("%d %s %.300s", w.Code, w.Header().Get("Content-Type"), got)
			}
		})
	}
}

// What the operator answers to every kind of envelope, in text and binary
// mode.
func TestEnvelopes(t *testing.T) {
	r := newRig(t, nil)
	sealed := r.seal(vectorMS, `{"advertising_ids":["`+euidV3+`"]}`)
	with := func(change func(b []byte)) []byte {
		b := append([]byte(nil), sealed...)
		change(b)
		return b
	}
	secret := clientErrorBody("Invalid body: Check encryption key (ClientSecret)." + hintEUID)
	short := clientErrorBody("Invalid body: Body too short. Check encryption method." + hintEUID)
	notBase64 := clientErrorBody("Invalid body: Body is not valid base64." + hintEUID)
	missing := clientErrorBody("Invalid body: Body is missing.")
	unencrypted := clientErrorBody(jsonHint)
	version := func(n int) string {
		return clientErrorBody(fmt.Sprintf("Invalid body: Invalid request envelope format version: received %d, must be 1.", n) + hintEUID)
	}
	const plain = `{"advertising_ids":["` + euidV3 + `"]}`
	v0, v255 := with(func(b []byte) { b[0] = 0 }), with(func(b []byte) { b[0] = 255 })
	corrupt := with(func(b []byte) { b[40] ^= 1 })
	for _, tc := range []struct {
		name   string
		body   []byte
		status int
		want   string // of a text request
		binary string // of a binary request
		asText bool   // the binary request is answered as text
	}{
		{name: "nothing", status: 400, want: missing, binary: missing},
		{name: "base64", body: text(sealed), status: 200, want: oneOptedOut, binary: oneOptedOut, asText: true},
		{name: "base64 of a wrong version", body: text(v0), status: 400, want: version(0), binary: version(0)},
		{name: "base64 of version 255", body: text(v255), status: 400, want: version(255), binary: version(255)},
		{name: "base64 of a corrupt envelope", body: text(corrupt), status: 400, want: secret, binary: secret},
		{name: "base64 without padding", body: []byte(strings.TrimRight(string(text(sealed)), "=")), status: 200, want: oneOptedOut, binary: oneOptedOut, asText: true},
		{name: "base64 with a line break", body: append(text(sealed), '\n'), status: 400, want: notBase64, binary: version(int(text(sealed)[0]))},
		{name: "raw, version 0", body: v0, status: 400, want: notBase64, binary: version(0)},
		{name: "raw, corrupt", body: corrupt, status: 400, want: notBase64, binary: secret},
		{name: "raw, 44 bytes", body: sealed[:44], status: 400, want: notBase64, binary: short},
		{name: "base64 of 44 bytes", body: text(sealed[:44]), status: 400, want: short, binary: short},
		{name: "one character", body: []byte("A"), status: 400, want: notBase64, binary: short},
		{name: "two characters", body: []byte("AA"), status: 400, want: short, binary: short},
		{name: "plain JSON", body: []byte(plain), status: 400, want: unencrypted, binary: unencrypted},
		{name: "base64 of plain JSON", body: text([]byte(plain)), status: 400, want: unencrypted, binary: unencrypted},
		{name: "base64 of short plain JSON", body: text([]byte(`{}`)), status: 400, want: unencrypted, binary: unencrypted},
		{name: "JSON array", body: []byte(`["` + euidV3 + `"]`), status: 400, want: notBase64, binary: version('[')},
		{name: "only equals signs", body: []byte("===="), status: 400, want: notBase64, binary: short},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, mode := range []struct {
				contentType, want string
				answer            string
			}{
				{"", tc.want, typeText},
				{"application/x-www-form-urlencoded", tc.want, typeText},
				{"application/octet-stream; charset=utf-8", tc.want, typeText},
				{"Application/Octet-Stream", tc.binary, map[bool]string{true: typeText, false: typeBinary}[tc.asText]},
			} {
				w := r.post(tc.body, func(req *http.Request) { req.Header.Set("Content-Type", mode.contentType) })
				got, wantType := w.Body.String(), typeJSON
				if w.Code == 200 {
					got, wantType = r.open(w), mode.answer
				}
				if w.Code != tc.status || got != mode.want || w.Header().Get("Content-Type") != wantType {
					t.Errorf("%q: %d %s %s", mode.contentType, w.Code, w.Header().Get("Content-Type"), got)
				}
			}
		})
	}
	t.Run("raw", func(t *testing.T) {
		w := r.post(sealed, func(req *http.Request) { req.Header.Set("Content-Type", typeBinary) })
		if got := r.open(w); got != oneOptedOut || w.Header().Get("Content-Type") != typeBinary {
			t.Errorf("%s %s", w.Header().Get("Content-Type"), got)
		}
		if w := r.post(sealed, nil); w.Body.String() != notBase64 {
			t.Errorf("as text: %s", w.Body)
		}
	})
	t.Run("UID2 hint", func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.Scope = schemas.UID2 })
		want := clientErrorBody("Invalid body: Body is not valid base64." + strings.Replace(hintEUID, "euid.eu", "unifiedid.com", 1))
		if w := r.post([]byte("?"), nil); w.Body.String() != want {
			t.Errorf("%s", w.Body)
		}
	})
}

// The accepted window is not symmetric: -119 to 119 whole seconds, rounded
// down.
func TestTimeWindow(t *testing.T) {
	r := newRig(t, nil)
	for _, tc := range []struct {
		requestMS int64
		ok        bool
	}{
		{vectorMS, true},
		{vectorMS - 119_999, true}, {vectorMS - 120_000, false},
		{vectorMS + 119_000, true}, {vectorMS + 119_001, false},
		{math.MinInt64, false}, {math.MaxInt64, false}, {0, false},
	} {
		w := r.post(text(r.seal(tc.requestMS, `{"advertising_ids":[]}`)), nil)
		if tc.ok {
			if got := r.open(w); got != noneOptedOut {
				t.Errorf("%d: %s", tc.requestMS-vectorMS, got)
			}
		} else if w.Code != 400 || w.Body.String() != clientErrorBody("Invalid timestamp: Request too old or client time drift.") {
			t.Errorf("%d ms from now: %d %s", tc.requestMS-vectorMS, w.Code, w.Body)
		}
	}
	// Time comes before the payload, the envelope before time.
	if w := r.post(text(r.seal(0, `broken`)), nil); !strings.Contains(w.Body.String(), "Invalid timestamp") {
		t.Errorf("%s", w.Body)
	}
}

func FuzzDecodeBase64(f *testing.F) {
	for _, s := range []string{"", "A", "AA", "AA=", "AA==", "AAA=", "AAAA", "AAAA=", "AA\nAA", "AA==AA==", "-_==", "AB=="} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		got, ok := decodeBase64(nil, src)
		want, wantOK := javaBase64(src)
		if ok != wantOK || ok && string(got) != string(want) {
			t.Fatalf("%q: %t, want %t", src, ok, wantOK)
		}
	})
}

// Long texts go through vector instructions: a wrong character must be found
// at every place in them.
func TestDecodeLongBase64(t *testing.T) {
	for _, size := range []int{128, 130, 131, 200} {
		good := bytes.Repeat([]byte("QUJD"), 50)[:size]
		for at := range good {
			for _, c := range []byte("\n\r -_=A\x00\x80\xff") {
				src := bytes.Clone(good)
				src[at] = c
				got, ok := decodeBase64(nil, src)
				want, wantOK := javaBase64(src)
				if ok != wantOK || ok && !bytes.Equal(got, want) {
					t.Fatalf("%d characters with %q at %d: %t, want %t", size, c, at, ok, wantOK)
				}
			}
		}
	}
}

// javaBase64 follows the steps of java.util.Base64's basic decoder.
func javaBase64(src []byte) (out []byte, ok bool) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	bits, shift := 0, 18
	i := 0
	for i < len(src) {
		c := src[i]
		i++
		if c == '=' {
			if shift == 18 || shift == 6 && (i == len(src) || src[i] != '=') {
				return nil, false
			}
			if shift == 6 {
				i++
			}
			break
		}
		v := strings.IndexByte(alphabet, c)
		if v < 0 {
			return nil, false
		}
		bits |= v << shift
		if shift -= 6; shift < 0 {
			out = append(out, byte(bits>>16), byte(bits>>8), byte(bits))
			bits, shift = 0, 18
		}
	}
	switch shift {
	case 6:
		out = append(out, byte(bits>>16))
	case 0:
		out = append(out, byte(bits>>16), byte(bits>>8))
	case 12:
		return nil, false
	}
	return out, i == len(src)
}
