package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"optsweep/schemas"
)

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string, mode os.FileMode) SecretRef {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // past the umask
			t.Fatal(err)
		}
		return SecretRef{File: path}
	}
	env := map[string]string{"PLAIN": "s3cret", "NEWLINE": "s3cret\n", "TWO": "s3cret\n\n", "EMPTY": "", "LINE": "\n", "SPACE": "s3 cret"}
	getenv := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	cases := []struct {
		name    string
		ref     SecretRef
		err     string // how the error starts; empty for the secret "s3cret"
		warning bool
	}{
		{"env", SecretRef{Env: "PLAIN"}, "", false},
		{"env with newline", SecretRef{Env: "NEWLINE"}, "", false},
		{"env not set", SecretRef{Env: "OTHER"}, "there is no secret in environment variable OTHER", false},
		{"env empty", SecretRef{Env: "EMPTY"}, "there is no secret in environment variable EMPTY", false},
		{"env of a newline", SecretRef{Env: "LINE"}, "there is no secret in environment variable LINE", false},
		{"only one newline goes", SecretRef{Env: "TWO"}, "the secret in environment variable TWO holds white space", false},
		{"space", SecretRef{Env: "SPACE"}, "the secret in environment variable SPACE holds white space", false},
		{"file", file("a", "s3cret\n", 0o600), "", false},
		{"file with CRLF", file("b", "s3cret\r\n", 0o400), "", false},
		{"file for the group", file("c", "s3cret", 0o640), "", true},
		{"file for all", file("d", "s3cret", 0o604), "", true},
		{"file empty", file("e", "\n", 0o600), "there is no secret in file " + filepath.Join(dir, "e"), false},
		{"file of two lines", file("f", "s3cret\ns3cret\n", 0o600), "the secret in file ", false},
		{"file too long", file("g", strings.Repeat("s", maxSecret+1), 0o600), "file ", false},
		{"file missing", SecretRef{File: filepath.Join(dir, "none")}, "the secret cannot be read: open " + filepath.Join(dir, "none"), false},
		{"folder", SecretRef{File: dir}, "the secret cannot be read: read ", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			secret, warning, err := c.ref.Resolve(getenv)
			if c.err != "" {
				if err == nil || !strings.HasPrefix(err.Error(), c.err) || schemas.ClassOf(err) != schemas.Usage {
					t.Fatalf("got error %v", err)
				}
				if strings.Contains(err.Error()+schemas.HintOf(err), "s3") || !secret.IsZero() || warning != "" {
					t.Errorf("the error shows too much: %v %q", err, warning)
				}
				return
			}
			if err != nil || secret.Reveal() != "s3cret" {
				t.Fatalf("got %q, %v", secret.Reveal(), err)
			}
			if (warning != "") != c.warning || c.warning && !strings.Contains(warning, "chmod 600") {
				t.Errorf("warning %q", warning)
			}
		})
	}
}
