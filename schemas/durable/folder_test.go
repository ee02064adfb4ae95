package durable

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestMkdirAllSyncsEveryFolderThatGotAnEntry(t *testing.T) {
	root := t.TempDir()
	var synced []string
	disk := Disk{Fault: func(step Step, path string) (bool, error) {
		if step == SyncDir {
			rel, err := filepath.Rel(root, path)
			if err != nil {
				t.Error(err)
			}
			synced = append(synced, rel)
		}
		return false, nil
	}}
	for _, want := range [][]string{{".", "a", "a/b"}, {"a/b"}} { // the second time nothing is missing
		synced = nil
		dir := filepath.Join(root, "a", "b", "c")
		if err := disk.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Fatal(info, err)
		}
		if !slices.Equal(synced, want) {
			t.Errorf("synced %q, want %q", synced, want)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := disk.MkdirAll(filepath.Join(root, "f", "x"), 0o700); err == nil {
		t.Error("made a folder in a file")
	}
}
