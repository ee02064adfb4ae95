package sweep

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"optsweep/schemas"
)

// readIdentity reads workspace.json. It is an error of class Usage if dir is no
// workspace, or one that a newer version has given a format of its own.
func readIdentity(dir string) (id identity, err error) {
	path := filepath.Join(dir, workspaceFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return id, schemas.Errorf(schemas.Usage, "%s is not a workspace", dir).
			WithHint("make one with: optsweep init; if there was one, look for it first: it holds the ledger and the suppression list")
	}
	if err != nil {
		return id, err
	}
	var of struct { // all that is known of a newer format
		Format int    `json:"format"`
		Tool   string `json:"tool_version"`
	}
	err = errors.Join(json.Unmarshal(data, &of), json.Unmarshal(data, &id))
	switch {
	case of.Format > WorkspaceFormat:
		return id, newerFormat(dir, of.Format, of.Tool)
	case err != nil || id.Format < 1:
		return id, schemas.Errorf(schemas.Integrity, "%s says no format of a workspace", path).
			WithHint("it was damaged: restore it from a copy of the workspace")
	}
	return id, nil
}

func newerFormat(dir string, format int, tool string) error {
	e := schemas.Errorf(schemas.Usage, "the workspace %s has format %d; this version of optsweep reads formats up to %d", dir, format, WorkspaceFormat)
	if tool == "" {
		return e.WithHint("a newer version has changed it: use that one, or a newer; nothing was changed by this one")
	}
	return e.WithHint("it needs optsweep %s, which gave it this format, or a newer one; nothing was changed by this one", tool)
}

// mark notes in workspace.json which version of the program has given the
// workspace its format, unless that is noted.
func (w *Workspace) mark(tool string) error {
	id, err := readIdentity(w.dir)
	if err != nil || tool == "" || id.Tool != "" {
		return err
	}
	id.Format, id.Tool = WorkspaceFormat, tool
	data, err := json.Marshal(id)
	if err != nil {
		return err
	}
	if err := w.disk.WriteFile(filepath.Join(w.dir, workspaceFile), append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("workspace: %w", err)
	}
	return nil
}
