package schemas_test

import (
	"bytes"
	"fmt"

	"optsweep/schemas"
)

// A cell of a table is an id, or it is refused with a reason: nothing is ever
// taken for "not opted out" because it could not be read.
func ExampleRules_Parse() {
	rules := schemas.Rules{Scope: schemas.EUID, Environment: schemas.Production}
	v2 := "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	for _, cell := range []string{v2, " " + v2 + "\n", v2[:43], "somebody@example.com"} {
		id, repaired, reason := rules.Parse([]byte(cell))
		if reason != schemas.Valid {
			fmt.Println("refused:", reason)
			continue
		}
		fmt.Println("valid, repaired:", repaired, "printed:", id)
	}
	// Output:
	// valid, repaired: false printed: id:redacted
	// valid, repaired: true printed: id:redacted
	// refused: missing_padding
	// refused: looks_like_email
}

// Pseudonyms tell two ids apart without giving either away.
func ExamplePseudonyms() {
	id, _ := schemas.FromRaw(bytes.Repeat([]byte{7}, 32))
	key := [32]byte{1, 2, 3} // of a workspace
	fmt.Println(schemas.NewPseudonyms(key).ID(id))
	fmt.Println(schemas.NewPseudonyms([32]byte{4}).ID(id) == schemas.NewPseudonyms(key).ID(id))
	// Output:
	// id:d96be90d5596
	// false
}

// An error has a class, which becomes the exit code, and a hint what to do.
func ExampleErrorf() {
	err := fmt.Errorf("plan: %w", schemas.Errorf(schemas.Usage, "there is no folder %s", "data").WithHint("make it first"))
	fmt.Println(err)
	fmt.Println(schemas.ClassOf(err))
	fmt.Println(schemas.HintOf(err))
	// Output:
	// plan: there is no folder data
	// usage
	// make it first
}

// A secret shows nothing, however it is printed.
func ExampleSecret() {
	s := schemas.NewSecret("do not show")
	fmt.Printf("%v %q %+v, %d bytes\n", s, s, s, len(s.Reveal()))
	// Output: redacted redacted redacted, 11 bytes
}
