package schemas

import (
	"bytes"
	"strings"
	"testing"
)

func TestHide(t *testing.T) {
	const id = "EAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g"
	const v2 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	hex := strings.Repeat("0123456789abcdef", 4)
	for text, want := range map[string]string{
		"open " + id + ": no such file":                "open [hidden]: no such file",
		"a " + v2 + " b " + id:                         "a [hidden] b [hidden]",
		`invalid "` + strings.TrimRight(v2, "=") + `"`: `invalid "[hidden]"`,
		"/data/" + id + "/x.parquet":                   "/data/[hidden]/x.parquet",
		"unknown flag: --" + id:                        "unknown flag: --[hidden]",
		"x=" + v2:                                      "x=[hidden]",
		"EAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd-_8g": "[hidden]",
		"to jane.doe+x@mail.example.com!":              "to [hidden]!",
		"key EUID-C-P-1-hunter2hunter2.abcdefgh is":    "key EUID-C-P-1-[hidden] is",
		"key EUID-C-P-1- is":                           "key EUID-C-P-1- is",
		"sha256 " + hex:                                "sha256 " + hex,
		"id:0123456789ab":                              "id:0123456789ab",
		"/a/long/path/with/many/folders/but/no/id/in/it/at/all/whatever": "/a/long/path/with/many/folders/but/no/id/in/it/at/all/whatever",
		"/tmp/TestNothingShowsAnIDOrASecret899714966/001/d/x":            "/tmp/TestNothingShowsAnIDOrASecret899714966/001/d/x",
		"/tmp/TestBigQueryJob95661468/001/d/operator":                    "/tmp/TestBigQueryJob95661468/001/d/operator", // 43 characters
		"/data/warehouse/audience/2026/part-000001ab":                    "/data/warehouse/audience/2026/part-000001ab",
		"": "",
	} {
		if got := string(Hide([]byte(text))); got != want {
			t.Errorf("%d characters: got %q, want %q", len(text), got, want)
		}
	}
}

func FuzzHide(f *testing.F) {
	f.Add([]byte("EAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g a@b.c"))
	f.Fuzz(func(t *testing.T, text []byte) {
		once := Hide(text)
		if twice := Hide(once); !bytes.Equal(once, twice) {
			t.Errorf("masking again changes %q to %q", once, twice)
		}
	})
}
