package prove

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"optsweep/jobs/ledger"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
)

// act opens the workspace for one act.
func (w *world) act(do func(*sweep.Workspace) error) {
	w.t.Helper()
	workspace, err := sweep.OpenWorkspace(w.disk, w.dir, w.now, ledger.Owner{PID: os.Getpid()})
	if err != nil {
		w.t.Fatal(err)
	}
	defer workspace.Close()
	if err := do(workspace); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) importOwn(source, user string, ids ...int) {
	w.t.Helper()
	w.act(func(workspace *sweep.Workspace) error {
		_, _, err := workspace.ImportOwn(context.Background(), sweep.OwnImport{
			Source: source, Basis: "form of the site", FileDigest: user + source, User: user, Host: "alpha", MaxBad: -1, Now: w.now,
			Read: func(_ context.Context, valid func(schemas.ID, int64) error, _ func(int64, schemas.Reason, []byte) error) error {
				for _, n := range ids {
					if err := valid(testID(n), 1_550_000_000_000); err != nil {
						return err
					}
				}
				return nil
			},
		})
		return err
	})
}

func TestOwnListsAreToldAndExplainFlags(t *testing.T) {
	w := newWorld(t)
	w.fill()
	w.importOwn("form", "ann", 5)
	first := w.run(false)
	w.importOwn("form", "bob", 5, 7)
	w.run(false)
	for n, user := range map[int]string{5: "ann", 7: "bob"} {
		p := w.prove(testID(n))
		if len(p.OwnLists) != 1 || p.Listing != nil || answers(p) != "clear clear" {
			t.Fatalf("id %d: %+v", n, p)
		}
		if l := p.OwnLists[0]; l.Source != "form" || l.User != user || l.Basis != "form of the site" || l.SinceMS != 1_550_000_000_000 {
			t.Errorf("id %d: %+v", n, l)
		}
		if f := p.Units[0].FlaggedBy; f == nil || (f.Run == first) != (n == 5) {
			t.Errorf("id %d: flagged by %+v", n, f)
		}
	}
	if p := w.prove(testID(9)); len(p.OwnLists) != 0 || p.Units[0].FlaggedBy != nil {
		t.Errorf("%+v", p)
	}
	if p := w.prove(testID(7)); !p.Seen {
		t.Error("never seen")
	}

	// Of a list that is gone nothing can be told any more.
	w.act(func(workspace *sweep.Workspace) error {
		_, _, err := workspace.RemoveOwn(sweep.OwnRemoval{Source: "form", Reason: "test", User: "carol", Host: "alpha"})
		return err
	})
	p := w.prove(testID(5))
	if len(p.OwnLists) != 0 || !slices.ContainsFunc(p.Gaps, func(g string) bool {
		return strings.Contains(g, "the own list form (form of the site) was removed at ") && strings.Contains(g, "by carol")
	}) {
		t.Errorf("%+v", p)
	}
}
