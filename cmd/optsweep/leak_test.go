package main

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"optsweep/schemas"
)

// window is the length of the pieces that are looked for: long enough not to
// occur by chance, short enough to find what was cut or wrapped.
const window = 12

// secrets finds pieces of known ids and secrets in texts.
type secrets struct {
	pieces map[[window]byte]string // what it is a piece of
}

func newSecrets() *secrets { return &secrets{pieces: map[[window]byte]string{}} }

// text adds a secret text. Only a piece that begins with its third byte is
// looked for: the first bytes of ids are much the same.
func (s *secrets) text(what string, form []byte) {
	const skip = 3
	if len(form) >= skip+window {
		s.pieces[[window]byte(form[skip:])] = what
	}
}

// bytes adds secret bytes in all usual notations.
func (s *secrets) bytes(what string, raw []byte) {
	s.text(what+", raw", raw)
	s.text(what+", base64", base64.StdEncoding.AppendEncode(nil, raw))
	s.text(what+", base64url", base64.URLEncoding.AppendEncode(nil, raw))
	digits := hex.AppendEncode(nil, raw)
	s.text(what+", hex", digits)
	s.text(what+", hex", bytes.ToUpper(digits))
}

func (s *secrets) id(id schemas.ID) {
	s.bytes("an id", id.Raw())
	s.bytes("an id in storage form", id[:])
}

// find names the first secret in text, if any.
func (s *secrets) find(text []byte) string {
	for at := 0; at+window <= len(text); at++ {
		if what, ok := s.pieces[[window]byte(text[at:])]; ok {
			return what
		}
	}
	return ""
}

// files looks through all files below dir but those that hold ids or keys by
// design, which must be private. A zip file is looked into.
func (s *secrets) files(t *testing.T, dir string, private ...string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		for _, pattern := range private {
			if ok, err := filepath.Match(pattern, rel); err != nil || !ok {
				continue
			}
			if info, err := d.Info(); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s may hold ids or keys and has mode %v", rel, info.Mode())
			}
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if what := s.find(data); what != "" {
			t.Errorf("%s shows %s", rel, what)
		}
		if strings.HasSuffix(rel, ".zip") {
			s.zip(t, rel, data)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (s *secrets) zip(t *testing.T, name string, data []byte) {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for _, entry := range z.File {
		r, err := entry.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if what := s.find(text); what != "" {
			t.Errorf("%s, %s shows %s", name, entry.Name, what)
		}
	}
}

// The search finds what it is to find, or it proves nothing.
func TestSecretsAreFound(t *testing.T) {
	id, _, _ := demoRules.Parse([]byte("EAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g"))
	v2, err := schemas.FromRaw(id.Raw()[1:])
	if err != nil {
		t.Fatal(err)
	}
	s := newSecrets()
	s.id(id)
	s.id(v2)
	s.text("a key", []byte("EUID-C-P-1-hunter2hunter2.abcdefgh")[len("EUID-C-P-1-"):])
	for _, leak := range []string{
		string(id.AppendText(nil)), string(id.AppendText(nil))[:20], string(v2.AppendText(nil)), string(id.Raw()), string(v2[:]),
		hex.EncodeToString(id.Raw()), strings.ToUpper(hex.EncodeToString(v2.Raw())), base64.StdEncoding.EncodeToString(v2[:]),
		base64.URLEncoding.EncodeToString(id.Raw()), "hunter2hunter2.abcdefgh",
	} {
		if s.find([]byte("a "+leak+" b")) == "" {
			t.Errorf("not found: %q", leak)
		}
	}
	if what := s.find([]byte(strings.Repeat("nothing to see here", 10))); what != "" {
		t.Errorf("found %s", what)
	}
}

// commands are the paths of all commands of the tree that cobra knows, by its
// own completion.
func commands(t *testing.T, run func(args ...string) string, path ...string) []string {
	t.Helper()
	out := run(slices.Concat([]string{"__complete"}, path, []string{""})...)
	var all []string
	for line := range strings.Lines(out) {
		name, _, isCommand := strings.Cut(strings.TrimSpace(line), "\t")
		if !isCommand || name == "" || strings.HasPrefix(name, "-") || slices.Contains(path, name) || len(path) > 0 && path[0] == "help" {
			continue
		}
		sub := append(slices.Clone(path), name)
		all = append(all, strings.Join(sub, " "))
		all = append(all, commands(t, run, sub...)...)
	}
	return all
}
