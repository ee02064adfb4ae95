package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"optsweep/schemas"
)

var euidProduction = schemas.Rules{Scope: schemas.EUID, Environment: schemas.Production}

// Ids of both layouts of the same hash, as the docs derive them.
const (
	idV3    = "ECVPd0UQ+q0UxndREKHnHlhpfD83nyRUaElOq/GlreSm"
	idV2    = "JU93RRD6rRTGd1EQoeceWGl8PzefJFRoSU6r8aWt5KY="
	idOther = "ACVPd0UQ+q0UxndREKHnHlhpfD83nyRUaElOq/GlreSm" // a UID2
)

func TestReadCanaries(t *testing.T) {
	path := filepath.Join(t.TempDir(), "canaries.csv")
	content := "id,expected\n# opted out in January\n" + idV3 + ",opted_out\n\" " + idV2 + "\",clear\n"
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := ReadCanaries(path, euidProduction)
	if err != nil {
		t.Fatal(err)
	}
	v3, _, _ := euidProduction.Parse([]byte(idV3))
	v2, _, _ := euidProduction.Parse([]byte(idV2))
	if len(got) != 2 || got[0] != (Canary{v3, true, 3}) || got[1] != (Canary{v2, false, 4}) {
		t.Errorf("got %v", got)
	}
	if _, err := ReadCanaries(path+"x", euidProduction); schemas.ClassOf(err) != schemas.Usage || schemas.HintOf(err) == "" {
		t.Errorf("missing file: %v", err)
	}
}

func TestCanaryProblems(t *testing.T) {
	var many strings.Builder
	many.WriteString("id,expected\n")
	for i := range maxCanaries + 1 {
		id := schemas.ID{0x10, 1, byte(i), byte(i >> 8)}
		many.Write(id.AppendText(nil))
		many.WriteString(",clear\n")
	}
	for _, c := range []struct{ name, content, want string }{
		{"empty", "", "c:1: holds no canaries"},
		{"header only", "id,expected\n", "c:1: holds no canaries"},
		{"no header", idV3 + ",clear\n", "c:1: the first line must be the header"},
		{"three fields", "id,expected\n" + idV3 + ",clear,x\n", "c:2: has 3 fields"},
		{"several", "id,expected\n" + idOther + ",clear\n" + idV3 + ",yes\n" + idV3 + ",clear\nx,clear\n",
			"c:2: the id is not usable: wrong_scope\nc:3: expected must be opted_out or clear\nc:4: the id is that of line 3 (remove one of the two)\nc:5: the id is not usable: not_base64"},
		{"quote", "id,expected\n\"" + idV3 + "\n", "c:2: not CSV: "},
		{"too many", many.String(), "c:5002: more than 5000 canaries"},
	} {
		t.Run(c.name, func(t *testing.T) {
			list, err := parseCanaries("c", strings.NewReader(c.content), euidProduction)
			if list != nil || err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Fatalf("got %v, %v", list, err)
			}
			if strings.Contains(err.Error(), "CVPd0") {
				t.Error("the error shows an id")
			}
		})
	}
}

func FuzzParseCanaries(f *testing.F) {
	for _, seed := range []string{"", "id,expected\n" + idV3 + ",clear\n", "id,expected\n\"\n", "#\n", "id,expected\n,,\n" + idOther} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, content string) {
		list, err := parseCanaries("c", strings.NewReader(content), euidProduction)
		if (err == nil) == (len(list) == 0) {
			t.Fatalf("%d canaries, error %v", len(list), err)
		}
		var problems *Problems
		if err != nil && (!errors.As(err, &problems) || len(problems.List) == 0) {
			t.Fatalf("not problems: %v", err)
		}
		if seen := fmt.Sprint(list); strings.Contains(seen, "CVPd0") {
			t.Fatal("a canary shows its id")
		}
	})
}
