package envelope_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"optsweep/connectors/envelope"
	"optsweep/schemas"

	"pgregory.net/rapid"
)

// The vectors' key is the bytes 0 to 31.
const vectorSecret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

const (
	vectorTimeMS = 1767225600000
	v1Payload    = `{"advertising_ids":["EAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g","FCEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj9A"]}`
	v1Text       = "AaChoqOkpaanqKmqq+YYfbYzEaq/Y2eE1wJ8x9YLjjh05NIwGPV9T+gY9BxloVR9pI1nEngc3XOZTzjkmg5YFyculFtODhpzH/Y17f3h+tc2aOKmi5Wlh2/rhqSCqimHhoOC3BOnDG/2+/Mu+8TXRNlP7b/u0qFHKMjioBhqBDidkXHwCmC1qZ3kP8sM50zNlVQN5VpyxycHr8jWb49bUA=="
)

type vector struct {
	name, iv, nonce, payload, sealed string
	timeMS                           int64
	response                         bool
}

// vectors were made by running the operator's own code.
var vectors = []vector{
	{
		name: "V1 request", iv: "a0a1a2a3a4a5a6a7a8a9aaab", nonce: "0102030405060708", timeMS: vectorTimeMS, payload: v1Payload,
		sealed: "01a0a1a2a3a4a5a6a7a8a9aaabe6187db63311aabf636784d7027cc7d60b8e3874e4d23018f57d4fe818f41c65a1547da48d6712781cdd73994f38e49a0e5817272e945b4e0e1a731ff635edfde1fad73668e2a68b95a5876feb86a482aa2987868382dc13a70c6ff6fbf32efbc4d744d94fedbfeed2a14728c8e2a0186a04389d9171f00a60b5a99de43fcb0ce74ccd95540de55a72c72707afc8d66f8f5b50",
	},
	{
		name: "V2 empty list", iv: "000000000000000000000000", nonce: "ffffffffffffffff", timeMS: vectorTimeMS, payload: `{"advertising_ids":[]}`,
		sealed: "010000000000000000000000000ebcb445c3f62bbdf75756cae7d36e66a96137375ee4125be9eddaeda2a034323d7ddce7778ff86f76c48ad412c5bcbdda3cde22086f",
	},
	{
		name: "V3 shortest", iv: "0c0c0c0c0c0c0c0c0c0c0c0c", nonce: "0102030405060708", timeMS: vectorTimeMS, payload: "",
		sealed: "010c0c0c0c0c0c0c0c0c0c0c0cf4b31a6228c3c26fc2f5334fd38483361ddf25ea93ce9abbcdb4e0d512d10b13",
	},
	{
		name: "V4 response", iv: "b0b1b2b3b4b5b6b7b8b9babb", nonce: "0102030405060708", timeMS: vectorTimeMS + 250, response: true,
		payload: `{"body":{"opted_out":[{"advertising_id":"EAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g","opted_out_since":1764547200000}]},"status":"success"}`,
		sealed:  "b0b1b2b3b4b5b6b7b8b9babb99555b309a1713a546fa94a6c85b8fcaff1e2bbd7157ad0f25eced8128e796496a3e57185985dd9ac43fd62f4ecdebc644037098725f60ca6fcf2d7547da57aef4aa59d743ff37b55598e36ed1429a7014d5a1fffd3e2784adbc3afb4a1e77c807e81663a9f51a34313e6eb9f685aff579e9c4fe1d90a8184236c0ef2a3b1b157b9d97be333eee731f792f55587e456ef09f7ef2b816207ed48250ff34fc8f47015afed8d1c58863a54b4352d1",
	},
}

func TestVectors(t *testing.T) {
	c := newCipher(t, vectorSecret)
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			want := unhex(t, v.sealed)
			in := envelope.Request{TimeMS: v.timeMS, Nonce: envelope.Nonce(unhex(t, v.nonce)), Payload: []byte(v.payload)}
			iv := [12]byte(unhex(t, v.iv))
			prefix := []byte("kept")

			seal, open := c.SealRequest, c.OpenRequest
			if v.response {
				seal = c.SealResponse
				open = func(dst, sealed []byte) (envelope.Request, error) { return c.OpenResponse(dst, sealed, in.Nonce) }
			}
			got := seal(prefix, in, iv)
			if !bytes.Equal(got, append(prefix, want...)) {
				t.Errorf("sealed %x, want %x", got[len(prefix):], want)
			}
			for _, dst := range [][]byte{nil, prefix, make([]byte, 0, 1000)} {
				out, err := open(dst, want)
				if err != nil {
					t.Fatal(err)
				}
				if out.TimeMS != v.timeMS || out.Nonce != in.Nonce || string(out.Payload) != v.payload {
					t.Errorf("opened %d %x %q", out.TimeMS, out.Nonce, out.Payload)
				}
			}
			if v.name == "V1 request" && base64.StdEncoding.EncodeToString(want) != v1Text {
				t.Error("text mode of V1 differs")
			}
			body := 12
			if !v.response {
				body = 13
			}
			if out, err := open(want[body:body], want); err != nil || string(out.Payload) != v.payload {
				t.Errorf("in place: %q, %v", out.Payload, err)
			}
		})
	}
}

func TestOpenRequestChecksInTheOperatorsOrder(t *testing.T) {
	c := newCipher(t, vectorSecret)
	other := newCipher(t, base64.StdEncoding.EncodeToString(make([]byte, 32)))
	sealed := c.SealRequest(nil, envelope.Request{Payload: []byte("x")}, [12]byte{1})

	wrongVersion := bytes.Clone(sealed)
	wrongVersion[0] = 2
	wrongTag := bytes.Clone(sealed)
	wrongTag[len(wrongTag)-1] ^= 1
	shortWrongVersion := bytes.Repeat([]byte{9}, envelope.RequestOverhead-1)

	for name, tc := range map[string]struct {
		cipher *envelope.Cipher
		sealed []byte
		want   error
	}{
		"empty":                   {c, nil, envelope.ErrShort},
		"short before version":    {c, shortWrongVersion, envelope.ErrShort},
		"version before secret":   {other, wrongVersion, &envelope.VersionError{Got: 2}},
		"wrong secret":            {other, sealed, envelope.ErrAuth},
		"damaged":                 {c, wrongTag, envelope.ErrAuth},
		"cut to the minimum size": {c, sealed[:envelope.RequestOverhead], envelope.ErrAuth},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := tc.cipher.OpenRequest(nil, tc.sealed)
			var version *envelope.VersionError
			if errors.As(tc.want, &version) {
				var got *envelope.VersionError
				if !errors.As(err, &got) || got.Got != version.Got {
					t.Fatalf("got %v, want %v", err, tc.want)
				}
			} else if !errors.Is(err, tc.want) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			if r.Payload != nil || r.TimeMS != 0 {
				t.Error("an error came with a result")
			}
		})
	}
}

func TestOpenResponseRefusals(t *testing.T) {
	c := newCipher(t, vectorSecret)
	nonce := envelope.Nonce{1, 2, 3}
	sealed := c.SealResponse(nil, envelope.Request{Nonce: nonce, Payload: []byte("x")}, [12]byte{1})
	for name, tc := range map[string]struct {
		sealed []byte
		nonce  envelope.Nonce
		want   error
	}{
		"short":           {sealed[:envelope.ResponseOverhead-1], nonce, envelope.ErrShort},
		"cut":             {sealed[:len(sealed)-1], nonce, envelope.ErrAuth},
		"other nonce":     {sealed, envelope.Nonce{1, 2, 4}, envelope.ErrNonce},
		"request instead": {c.SealRequest(nil, envelope.Request{Nonce: nonce}, [12]byte{1}), nonce, envelope.ErrAuth},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := c.OpenResponse(nil, tc.sealed, tc.nonce)
			if !errors.Is(err, tc.want) || r.Payload != nil {
				t.Fatalf("got %v, %v, want %v", r, err, tc.want)
			}
		})
	}
}

func TestRoundTripAndAnyBitFlip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "key")
		c, err := envelope.NewCipher(schemas.NewSecret(base64.StdEncoding.EncodeToString(key)))
		if err != nil {
			t.Fatal(err)
		}
		in := envelope.Request{
			TimeMS:  rapid.Int64().Draw(t, "time"),
			Nonce:   envelope.Nonce(rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "nonce")),
			Payload: rapid.SliceOf(rapid.Byte()).Draw(t, "payload"),
		}
		iv := [12]byte(rapid.SliceOfN(rapid.Byte(), 12, 12).Draw(t, "iv"))
		flip := func(sealed []byte, from int) []byte {
			b := bytes.Clone(sealed)
			b[rapid.IntRange(from, len(b)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
			return b
		}

		request := c.SealRequest(nil, in, iv)
		if len(request) != len(in.Payload)+envelope.RequestOverhead {
			t.Fatalf("request of %d bytes", len(request))
		}
		out, err := c.OpenRequest(nil, request)
		if err != nil || out.TimeMS != in.TimeMS || out.Nonce != in.Nonce || !bytes.Equal(out.Payload, in.Payload) {
			t.Fatalf("request: %v, %v", out, err)
		}
		if _, err := c.OpenRequest(nil, flip(request, 1)); !errors.Is(err, envelope.ErrAuth) {
			t.Fatalf("damaged request: %v", err)
		}
		response := c.SealResponse(nil, in, iv)
		if !bytes.Equal(response, request[1:]) {
			t.Fatal("a response is a request without its version")
		}
		if _, err := c.OpenResponse(nil, flip(response, 0), in.Nonce); !errors.Is(err, envelope.ErrAuth) {
			t.Fatalf("damaged response: %v", err)
		}
	})
}

func TestNewCipherRefusesAndHidesBadSecrets(t *testing.T) {
	for _, secret := range []string{"", "AAEC", "not base64 at all!", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", strings.Repeat("A", 64)} {
		_, err := envelope.NewCipher(schemas.NewSecret(secret))
		if schemas.ClassOf(err) != schemas.Usage || schemas.HintOf(err) == "" {
			t.Errorf("error %v lacks class or hint", err)
		}
		if secret != "" && strings.Contains(fmt.Sprintf("%v %+v", err, err), secret) {
			t.Error("the error shows the secret")
		}
	}
}

func TestCipherPrintsAsRedacted(t *testing.T) {
	c := newCipher(t, vectorSecret)
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "cipher", c)
	j, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{fmt.Sprint(c), fmt.Sprintf("%#v", c), fmt.Sprintf("%x", *c), string(j), log.String()} {
		if !strings.Contains(got, "redacted") || strings.Contains(got, "0x") {
			t.Errorf("prints %q", got)
		}
	}
}

func TestCipherIsSafeForConcurrentUse(t *testing.T) {
	c := newCipher(t, vectorSecret)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 50 {
				in := envelope.Request{TimeMS: int64(i), Nonce: envelope.Nonce{byte(g), byte(i)}, Payload: bytes.Repeat([]byte{byte(g)}, 100+i)}
				out, err := c.OpenResponse(nil, c.SealResponse(nil, in, [12]byte{byte(g), byte(i)}), in.Nonce)
				if err != nil || !bytes.Equal(out.Payload, in.Payload) {
					t.Errorf("round trip: %v", err)
				}
			}
		})
	}
	wg.Wait()
}

func FuzzOpen(f *testing.F) {
	c := newCipher(f, vectorSecret)
	for _, v := range vectors {
		f.Add(unhex(f, v.sealed), unhex(f, v.nonce))
	}
	f.Add([]byte{}, make([]byte, 8))
	f.Add(make([]byte, 45), make([]byte, 8))
	f.Fuzz(func(t *testing.T, sealed, nonce []byte) {
		if len(nonce) < 8 {
			return
		}
		if r, err := c.OpenRequest(nil, sealed); err == nil {
			if again := c.SealRequest(nil, r, [12]byte(sealed[1:13])); !bytes.Equal(again, sealed) {
				t.Fatal("a request that opens does not seal to the same bytes")
			}
		} else if r.Payload != nil {
			t.Fatal("an error came with a result")
		}
		want := envelope.Nonce(nonce[:8])
		if r, err := c.OpenResponse(nil, sealed, want); err == nil {
			if again := c.SealResponse(nil, r, [12]byte(sealed[:12])); !bytes.Equal(again, sealed) || r.Nonce != want {
				t.Fatal("a response that opens does not seal to the same bytes")
			}
		} else if r.Payload != nil {
			t.Fatal("an error came with a result")
		}
	})
}

// batchPayload has the size of a request for 5,000 ids.
const batchPayload = 22 + 5000*47 - 1

func BenchmarkSealRequest(b *testing.B) {
	c := newCipher(b, vectorSecret)
	in := envelope.Request{Payload: make([]byte, batchPayload)}
	var dst []byte
	b.SetBytes(batchPayload)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		dst = c.SealRequest(dst[:0], in, [12]byte{byte(i), byte(i >> 8), byte(i >> 16)})
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "batches/s")
}

func BenchmarkOpenRequest(b *testing.B) {
	c := newCipher(b, vectorSecret)
	sealed := c.SealRequest(nil, envelope.Request{Payload: make([]byte, batchPayload)}, [12]byte{1})
	dst := make([]byte, 0, len(sealed))
	b.SetBytes(batchPayload)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.OpenRequest(dst, sealed); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "batches/s")
}

func newCipher(t testing.TB, secret string) *envelope.Cipher {
	t.Helper()
	c, err := envelope.NewCipher(schemas.NewSecret(secret))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
