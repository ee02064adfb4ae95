package config

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml/ast"

	"optsweep/schemas"
)

// SecretRef says where a secret is: in an environment variable or in a file.
// One of the two is set, or neither where a job needs no secret.
type SecretRef struct {
	Env  string // name of an environment variable
	File string // path of a file
}

// String names the place, not the secret.
func (r SecretRef) String() string {
	switch {
	case r.Env != "":
		return "environment variable " + r.Env
	case r.File != "":
		return "file " + r.File
	default:
		return "no place"
	}
}

// maxSecret is far more than any key, in bytes.
const maxSecret = 64 << 10

// Resolve fetches the secret, without the one line break that editors and
// echo put at the end. getenv is os.LookupEnv or the like. The warning is not
// empty if other users of this machine can read the file. Errors are of class
// schemas.Usage and name the place.
func (r SecretRef) Resolve(getenv func(string) (string, bool)) (secret schemas.Secret, warning string, err error) {
	var text string
	switch {
	case r.Env != "":
		text, _ = getenv(r.Env)
	case r.File != "":
		text, warning, err = readSecret(r.File)
	}
	if err != nil {
		return schemas.Secret{}, "", schemas.Errorf(schemas.Usage, "the secret cannot be read: %w", err)
	}
	text = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
	switch {
	case text == "":
		return schemas.Secret{}, "", schemas.Errorf(schemas.Usage, "there is no secret in %s", r).
			WithHint("put the value there, or change the reference in the job file")
	case len(text) > maxSecret:
		return schemas.Secret{}, "", schemas.Errorf(schemas.Usage, "%s is too long for a secret", r)
	case strings.ContainsFunc(text, notInSecret):
		return schemas.Secret{}, "", schemas.Errorf(schemas.Usage, "the secret in %s holds white space or a control character", r).
			WithHint("put only the value there, without quotes, spaces or a second line")
	}
	return schemas.NewSecret(text), warning, nil
}

func notInSecret(c rune) bool { return unicode.IsSpace(c) || unicode.IsControl(c) }

func readSecret(path string) (text, warning string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", "", err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+3))
	if err != nil {
		return "", "", err
	}
	if mode := info.Mode().Perm(); mode&0o044 != 0 {
		warning = fmt.Sprintf("file %s can be read by other users (mode %04o): chmod 600 keeps the secret in it to yourself", path, mode)
	}
	return string(data), warning, nil
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// secretRef reads {env: NAME} or {file: PATH}. Nothing of another value is
// ever repeated: it is probably the secret itself.
func (v value) secretRef() SecretRef {
	const hint = "write {env: NAME} or {file: PATH}"
	if !v.present() {
		return SecretRef{}
	}
	if _, mapping := v.node.(ast.MapNode); !mapping {
		v.fail("must be a reference to the secret, not the secret itself", hint)
		return SecretRef{}
	}
	s := v.mapping(true)
	ref := SecretRef{
		Env:  s.optional("env").matching(envName, "the name of an environment variable"),
		File: s.optional("file").path(),
	}
	s.done()
	_, env := s.entries["env"]
	_, file := s.entries["file"]
	if s.at.present() && env == file {
		v.fail("must say where the secret is, in one way", hint)
		return SecretRef{}
	}
	return ref
}
