package powerloss

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// content of a file, or "gone".
func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return "gone"
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// The model itself: what is lost at each step of replacing a file.
func TestWhatIsLost(t *testing.T) {
	// create, write, sync, rename, syncdir
	for step, want := range map[int]string{0: "old", 1: "old", 2: "old", 3: "old", 4: "old", 5: "new"} {
		root := filepath.Join(t.TempDir(), "d")
		path := filepath.Join(root, "f")
		if err := errors.Join(os.Mkdir(root, 0o700), os.WriteFile(path, []byte("old"), 0o640)); err != nil {
			t.Fatal(err)
		}
		d, err := New(root, Cut{Step: step})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Durable().WriteFile(path, []byte("new"), 0o600); (err == nil) != (step == 5) || d.Dead() != (step < 5) {
			t.Fatalf("step %d: %v", step, err)
		}
		if err := d.Lose(); err != nil {
			t.Fatal(err)
		}
		if got := content(t, path); got != want {
			t.Errorf("step %d: %q is left, want %q", step, got, want)
		}
		names, err := os.ReadDir(root)
		if err != nil || len(names) != 1 {
			t.Errorf("step %d: %d files are left, %v", step, len(names), err)
		}
	}
}

func TestWhatIsLostOfALog(t *testing.T) {
	for _, c := range []struct {
		cut  Cut
		want string
	}{
		// create and syncdir of OpenLog, then write and sync of each record
		{Cut{Step: 1}, "gone"},
		{Cut{Step: 2}, ""},
		{Cut{Step: 3}, ""},
		{Cut{Step: 3, Torn: true}, "ab"},
		{Cut{Step: 3, Stored: true}, "abcd"},
		{Cut{Step: 5}, "abcd"},
		{Cut{Step: 5, Torn: true}, "abcdef"},
		{Cut{Step: 6}, "abcdefgh"},
	} {
		root := t.TempDir()
		path := filepath.Join(root, "d", "log")
		if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		d, err := New(root, c.cut)
		if err != nil {
			t.Fatal(err)
		}
		if l, err := d.Durable().OpenLog(path, 0, true); err == nil {
			_ = errors.Join(l.Append([]byte("abcd")), l.Append([]byte("efgh")), l.Close())
		}
		if err := d.Lose(); err != nil {
			t.Fatal(err)
		}
		if got := content(t, path); got != c.want {
			t.Errorf("%+v: %q is left, want %q", c.cut, got, c.want)
		}
	}
}

// A new folder is lost with all that is in it, until its own folder is synced.
func TestNewFolderIsLost(t *testing.T) {
	for _, synced := range []bool{false, true} {
		root := t.TempDir()
		d, err := New(root, Cut{Step: -1})
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(root, "new")
		err = errors.Join(os.Mkdir(dir, 0o700), d.Durable().WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o600))
		if synced {
			err = errors.Join(err, d.Durable().SyncDir(root))
		}
		if err := errors.Join(err, d.Lose()); err != nil {
			t.Fatal(err)
		}
		if got := content(t, filepath.Join(dir, "f")); (got == "x") != synced {
			t.Errorf("synced %v: %q", synced, got)
		}
	}
}

func TestRemovedFileComesBack(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, "f")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := New(root, Cut{Step: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Durable().Remove(path), d.Lose()); err != nil {
		t.Fatal(err)
	}
	if got := content(t, path); got != "x" {
		t.Errorf("%q is left", got)
	}
}
