package schemas

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

const secretText = "EUID-C-L-999-hunter2.abcdefgh"

// exported is what someone might print without a thought.
type exported struct {
	ID      ID
	Pointer *ID
	List    []ID
	Array   [2]ID
	Map     map[string]ID
	Keys    map[ID]int
	Any     any
	OptOut  OptOut
	Secret  Secret
	Keep    *Secret
	Names   Pseudonyms
}

// unexported holds the types that are safe even there.
type unexported struct {
	secret  Secret
	secrets []Secret
	named   map[string]Secret
	names   Pseudonyms
	nested  struct{ secret *Secret }
}

// given are things that hold an id, a secret or a pseudonym key.
func given() map[string]any {
	id, _, _ := euidProduction.Parse([]byte(idV3))
	secret := NewSecret(secretText)
	names := NewPseudonyms([32]byte([]byte(strings.Repeat("k3y-0f-n4mes-", 3))))
	e := exported{
		ID: id, Pointer: &id, List: []ID{id}, Array: [2]ID{id, id}, Map: map[string]ID{"a": id}, Keys: map[ID]int{id: 1},
		Any: id, OptOut: OptOut{ID: id, SinceMS: 1}, Secret: secret, Keep: &secret, Names: names,
	}
	u := unexported{secret: secret, secrets: []Secret{secret}, named: map[string]Secret{"a": secret}, names: names}
	u.nested.secret = &secret
	return map[string]any{
		"id": id, "pointer to id": &id, "ids": []ID{id}, "map": map[ID]ID{id: id}, "exported": e, "pointer to exported": &e,
		"list of exported": []exported{e}, "answer": Answer{OptedOut: []OptOut{{ID: id}}, Rejected: []Rejection{{ID: id}}},
		"secret": secret, "pointer to secret": &secret, "secrets": []Secret{secret}, "unexported": u, "pointer to unexported": &u,
		"names": names, "pointer to names": &names,
	}
}

// showsNothing fails if text holds anything of the id, the secret or the key,
// in any usual notation.
func showsNothing(t *testing.T, how, text string) {
	t.Helper()
	id, _, _ := euidProduction.Parse([]byte(idV3))
	for _, raw := range [][]byte{id.Raw(), id[:], []byte(idV3), []byte(secretText), []byte("k3y-0f-n4mes-")} {
		part := raw[1:7]
		decimal := strings.Trim(fmt.Sprint([]byte(part)), "[]")
		for _, form := range []string{
			string(part), hex.EncodeToString(part), strings.ToUpper(hex.EncodeToString(part)), decimal,
			strings.ReplaceAll(decimal, " ", ", "), strings.ReplaceAll(decimal, " ", ","), strings.Trim(fmt.Sprintf("%#v", []byte(part)), "[]byte{}"),
			strings.Trim(fmt.Sprintf("% x", part), " "), strings.Trim(fmt.Sprintf("%o", []byte(part)), "[]"), strings.Trim(fmt.Sprintf("%b", []byte(part)), "[]"),
		} {
			if strings.Contains(text, form) {
				t.Errorf("%s shows it: %s", how, text)
				return
			}
		}
	}
}

func TestNothingIsPrinted(t *testing.T) {
	for name, v := range given() {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%o", "%b", "%c", "%U", "%e", "%t", "%5.2v", "%-8s", "none"} {
			showsNothing(t, name+" "+verb, fmt.Sprintf(verb, v))
		}
		showsNothing(t, name+" Sprintln", fmt.Sprintln(v, v))
		showsNothing(t, name+" in an error", Errorf(Failed, "it was %v", v).WithHint("not %s", v).Error())
		showsNothing(t, name+" in a joined error", errors.Join(fmt.Errorf("a %v", v)).Error())
	}
}

func TestNothingIsMarshalled(t *testing.T) {
	for name, v := range given() {
		if out, err := json.Marshal(v); err == nil {
			showsNothing(t, name+" json", string(out))
		} else {
			t.Errorf("%s: %v", name, err)
		}
		if out, err := yaml.Marshal(v); err == nil {
			showsNothing(t, name+" yaml", string(out))
		} else {
			t.Errorf("%s: %v", name, err)
		}
		if out, err := xml.Marshal(v); err == nil { // maps are errors there
			showsNothing(t, name+" xml", string(out))
		}
	}
}

func TestNothingIsLogged(t *testing.T) {
	for name, v := range given() {
		var out bytes.Buffer
		for _, handler := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
			log := slog.New(handler)
			log.Info("hello", "it", v, slog.Group("group", "it", v), "err", fmt.Errorf("it was %v", v))
			log.With("it", v).WithGroup("group").Error("hello", slog.Any("it", v))
		}
		if !strings.Contains(out.String(), "hello") {
			t.Fatal("nothing was logged")
		}
		showsNothing(t, name, out.String())
	}
}

// TestShowsNothingSees makes sure that the tests above can fail.
func TestShowsNothingSees(t *testing.T) {
	id, _, _ := euidProduction.Parse([]byte(idV3))
	for _, leak := range []string{idV3, fmt.Sprint([33]byte(id)), fmt.Sprintf("%x", [33]byte(id)), fmt.Sprintf("%#v", [33]byte(id)), secretText} {
		inner := &testing.T{}
		showsNothing(inner, "leak", leak)
		if !inner.Failed() {
			t.Errorf("not seen: %s", leak)
		}
	}
}

func TestSecret(t *testing.T) {
	secret, same, other := NewSecret(secretText), NewSecret(secretText), NewSecret("other")
	if secret.Reveal() != secretText || secret.IsZero() || secret != same || secret == other {
		t.Error("a secret is not what it was made of")
	}
	var zero Secret
	if !zero.IsZero() || zero.Reveal() != "" || NewSecret("") != zero {
		t.Error("an empty secret is not the zero value")
	}
}

func TestPseudonyms(t *testing.T) {
	id, _, _ := euidProduction.Parse([]byte(idV3))
	other, _, _ := euidProduction.Parse([]byte(idV2))
	a, again, b := NewPseudonyms([32]byte{1}), NewPseudonyms([32]byte{1}), NewPseudonyms([32]byte{2})
	shape := regexp.MustCompile(`^id:[0-9a-f]{12}$`)
	if !shape.MatchString(a.ID(id)) || a.ID(id) != again.ID(id) {
		t.Errorf("not stable: %s, %s", a.ID(id), again.ID(id))
	}
	if a.ID(id) == a.ID(other) || a.ID(id) == b.ID(id) {
		t.Error("two ids or two keys give one name")
	}
	if cell := a.Cell([]byte(idV3)); !strings.HasPrefix(cell, "cell:") || cell != again.Cell([]byte(idV3)) || cell == b.Cell([]byte(idV3)) {
		t.Errorf("cell %s", cell)
	}
	// HMAC-SHA-256 with key 01 00 .. 00 of the 33 bytes, as any other tool computes it.
	if got, want := a.ID(id), "id:bd927b4d6891"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Names of sets are as long as the digest, and tell nothing without the key.
func TestSetsAreNamedUnderTheKey(t *testing.T) {
	a, b := NewPseudonyms([32]byte{1}), NewPseudonyms([32]byte{2})
	if n := a.Set([]byte("x")); len(n) != 64 || n == b.Set([]byte("x")) || n == a.Set([]byte("y")) || n != a.Set([]byte("x")) {
		t.Error("sets are not told apart, or not under the key")
	}
}
