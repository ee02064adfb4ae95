package schemas

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"
)

// Every type of event that this package declares is known; others are not.
func TestEventsThatAreDeclaredAreKnown(t *testing.T) {
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(node ast.Node) bool {
			spec, ok := node.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if typ, ok := spec.Type.(*ast.Ident); !ok || typ.Name != "EventType" {
				return true
			}
			name, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil || !KnownEvent(EventType(name)) {
				t.Errorf("%s is not known (%v)", name, err)
			}
			n++
			return true
		})
	}
	if n < 41 {
		t.Errorf("only %d types were found", n)
	}
	for typ, known := range map[EventType]bool{"note_": true, "note_of_a_newer_version": true, "": false, "run_paused": false, "Run_started": false} {
		if KnownEvent(typ) != known {
			t.Errorf("%q: known is %v", typ, !known)
		}
	}
}
