package parquet

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// Plan lists the files of the table in the order of their names. A file that
// cannot be used is a failure with its reason; the error is non-nil only if
// nothing can be listed.
//
// As in Spark and Hive, files and folders whose name starts with "." or "_" are
// passed over (unless it holds a "=", which makes it a partition), except where
// the pattern itself names such a thing. Of several links to one file the first
// counts. Names are relative to the fixed part of the path, so that they stay
// the same when the data set moves.
func (t *Table) Plan(ctx context.Context) (units []schemas.Unit, failed []schemas.UnitFailure, err error) {
	base, paths, err := t.list()
	if err != nil {
		return nil, nil, err
	}
	folders := folders{}
	seen := map[string]bool{}
	for _, path := range paths {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		name, err := filepath.Rel(base, path)
		if err != nil {
			name = path
		}
		u := schemas.Unit{Table: t.Table, Name: filepath.ToSlash(name), Location: path}
		target, err := resolve(path)
		if err == nil && seen[target] {
			continue
		}
		seen[target] = true
		if err == nil {
			err = folders.check(target)
		}
		if err == nil {
			err = t.inspect(&u)
		}
		if err != nil {
			failed = append(failed, schemas.UnitFailure{
				Table: t.Table, Unit: u.Name, Error: err.Error(), Hint: schemas.HintOf(err),
			})
			continue
		}
		units = append(units, u)
	}
	return units, failed, nil
}

// resolve follows symbolic links.
func resolve(path string) (target string, err error) {
	if target, err = filepath.EvalSymlinks(path); err != nil {
		return "", openError(err)
	}
	return target, nil
}

// inspect fills in what the footer says.
func (t *Table) inspect(u *schemas.Unit) error {
	s, err := t.open(u.Location)
	if err != nil {
		return err
	}
	defer s.close()
	u.Version, u.Rows, u.Bytes = s.version, s.cells, s.meta.Size
	return nil
}

// list expands the path.
func (t *Table) list() (base string, paths []string, err error) {
	pattern, err := filepath.Abs(t.Path)
	if err != nil {
		return "", nil, err
	}
	pattern = filepath.ToSlash(pattern)
	if !doublestar.ValidatePattern(pattern) {
		return "", nil, schemas.Errorf(schemas.Usage, "path %q is not a valid pattern", t.Path)
	}
	if info, err := os.Stat(filepath.FromSlash(pattern)); err == nil && info.IsDir() {
		return "", nil, schemas.Errorf(schemas.Usage, "path %q is a folder", t.Path).
			WithHint("name its files, for example %s", filepath.Join(t.Path, "**", "*.parquet"))
	}
	base, rest := doublestar.SplitPattern(pattern)
	base = filepath.FromSlash(base)
	paths, err = doublestar.FilepathGlob(pattern, doublestar.WithFilesOnly(), doublestar.WithFailOnIOErrors())
	if err != nil {
		return "", nil, schemas.Errorf(schemas.Failed, "list %q: %w", t.Path, err).
			WithHint("check the path, the permissions of its folders, and for links that lead in a circle")
	}
	if !strings.HasPrefix(rest, ".") && !strings.HasPrefix(rest, "_") && !strings.Contains(rest, "/.") && !strings.Contains(rest, "/_") {
		paths = slices.DeleteFunc(paths, func(path string) bool { return hidden(base, path) })
	}
	if len(paths) == 0 {
		return "", nil, schemas.Errorf(schemas.Failed, "no file matches %q", t.Path).
			WithHint("check the path; files whose name starts with \".\" or \"_\" do not count")
	}
	if list, err := filepath.Abs(t.List); err == nil && t.Mode == Suppression && slices.Contains(paths, list) {
		return "", nil, schemas.Errorf(schemas.Usage, "the suppression list %s is one of the files that %q matches", t.List, t.Path).
			WithHint("keep it elsewhere: write.path")
	}
	slices.Sort(paths)
	return base, paths, nil
}

// hidden tells whether a part of path below base names something that data
// folders hold beside their data.
func hidden(base, path string) bool {
	name, err := filepath.Rel(base, path)
	if err != nil {
		return false
	}
	for part := range strings.SplitSeq(filepath.ToSlash(name), "/") {
		if (part[0] == '.' || part[0] == '_') && !strings.Contains(part, "=") {
			return true
		}
	}
	return false
}

// folders remembers what is wrong with the files in a folder, if anything.
type folders map[string]error

// check refuses a file in a folder of a table format, which keeps the size of
// each file in a manifest, or next to a summary, whose schema would be stale.
// All folders above the file count.
func (f folders) check(file string) error {
	return f.folder(filepath.Dir(file))
}

func (f folders) folder(dir string) error {
	if err, known := f[dir]; known {
		return err
	}
	err := inspectFolder(dir)
	if parent := filepath.Dir(dir); err == nil && parent != dir {
		err = f.folder(parent)
	}
	f[dir] = err
	return err
}

func inspectFolder(dir string) error {
	for format, entry := range map[string]string{"Delta": "_delta_log", "Hudi": ".hoodie"} {
		if info, err := os.Stat(filepath.Join(dir, entry)); err == nil && info.IsDir() {
			return refuseLake(format, dir)
		}
	}
	entries, err := os.ReadDir(filepath.Join(dir, "metadata"))
	if err == nil && slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		return strings.Contains(e.Name(), ".metadata.json") // some are compressed: .metadata.json.gz
	}) {
		return refuseLake("Iceberg", dir)
	}
	for _, name := range []string{"_metadata", "_common_metadata"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode().IsRegular() {
			return schemas.Errorf(schemas.Failed, "the summary file %s would go stale", filepath.Join(dir, name)).
				WithHint("remove the summary file: readers do without it")
		}
	}
	return nil
}

func refuseLake(format, where string) *schemas.Error {
	return schemas.Errorf(schemas.Failed, "belongs to the %s table %s, whose manifests would no longer fit", format, where).
		WithHint("leave it out of the path, and flag an exported copy or a table in another store")
}

// Version returns the current version of a unit. It differs from an earlier one
// whenever size, time of modification or footer differ. In mode suppression it
// differs, too, if a run under way can no longer rely on the list.
func (t *Table) Version(_ context.Context, u schemas.Unit) (string, error) {
	f, err := openFile(u.Location)
	if err != nil {
		return "", err
	}
	defer f.Close()
	version, err := versionOf(f)
	if err == nil && t.Mode == Suppression && t.listReplaced(u.Run.ID) {
		version += "-list-replaced"
	}
	return version, err
}

// RemoveLeftovers removes the temporary files that killed runs left in the
// folders of units. Only the holder of the lease may call it, before any Apply.
// In mode suppression it begins what Finish ends.
func (t *Table) RemoveLeftovers(units []schemas.Unit) error {
	done := map[string]bool{}
	if t.Mode == Suppression {
		return t.beginList(units)
	}
	if t.Mode == Remove && t.Removed != "" {
		if err := durable.RemoveLeftovers(t.Removed); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, u := range units {
		target, err := filepath.EvalSymlinks(u.Location)
		if err != nil {
			continue // the file is gone, and Apply will say so
		}
		dir := filepath.Dir(target)
		if done[dir] {
			continue
		}
		done[dir] = true
		if err := durable.RemoveLeftovers(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
