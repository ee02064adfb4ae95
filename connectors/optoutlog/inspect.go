package optoutlog

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"optsweep/schemas"
)

// Inspection says what a log holds, without any id. Times are Unix seconds, 0
// if there is none.
type Inspection struct {
	Files      []FileInspection `json:"files"`
	Total      Counts           `json:"total"`
	EmptyFiles int              `json:"empty_files"`
	BadFiles   int              `json:"bad_files"`
}

// FileInspection is one file of an Inspection.
type FileInspection struct {
	Path    string   `json:"path"`
	Kind    FileKind `json:"kind,omitempty"` // empty if the name is not one of a log
	Problem string   `json:"problem,omitempty"`
	Counts
}

// Counts are of entries.
type Counts struct {
	Bytes       int64 `json:"bytes"`
	OptOuts     int64 `json:"opt_outs"`
	Sentinels   int64 `json:"sentinels"` // opening and closing entries
	FirstS      int64 `json:"first_s"`   // earliest opt-out
	LastS       int64 `json:"last_s"`    // latest opt-out
	WindowFromS int64 `json:"window_from_s"`
	WindowToS   int64 `json:"window_to_s"`
	V2          int64 `json:"v2"` // says no scope
	V3          int64 `json:"v3"`
	V4          int64 `json:"v4"`
	EUID        int64 `json:"euid"`
	UID2        int64 `json:"uid2"`
	BadTime     int64 `json:"bad_time"`     // time that no opt-out can have
	BadPrefix   int64 `json:"bad_prefix"`   // 33 bytes that no version has
	BadChecksum int64 `json:"bad_checksum"` // v4 whose bytes do not XOR to 0
}

// Bad is the number of entries with something wrong.
func (c Counts) Bad() int64 { return c.BadTime + c.BadPrefix + c.BadChecksum }

// Inspect reads a log file, or all log files under a folder. A file that
// cannot be read, or is no whole log, has a Problem and is no error.
func Inspect(ctx context.Context, path string) (Inspection, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Inspection{}, schemas.Errorf(schemas.Usage, "opt-out log cannot be opened: %w", err)
	}
	dir, files := filepath.Dir(path), []file{{path: filepath.Base(path), size: info.Size(), mtime: info.ModTime()}}
	if info.IsDir() {
		dir = path
		if files, err = list(ctx, dir); err != nil {
			return Inspection{}, err
		}
	}
	in := Inspection{Files: make([]FileInspection, 0, len(files))}
	for _, f := range files {
		fi, err := inspect(ctx, dir, f)
		if err != nil {
			return Inspection{}, err
		}
		in.Files = append(in.Files, fi)
		in.Total.merge(fi.Counts)
		if f.size == 0 {
			in.EmptyFiles++
		}
		if fi.Problem != "" {
			in.BadFiles++
		}
	}
	return in, nil
}

func inspect(ctx context.Context, dir string, f file) (FileInspection, error) {
	fi := FileInspection{Path: f.path}
	if name, ok := ParseName(filepath.Base(f.path)); ok {
		fi.Kind = name.Kind
	}
	err := read(ctx, dir, []file{f}, 1, func(_ int, entries []byte) error {
		for i := 0; i < len(entries); i += EntrySize {
			fi.Counts.add((*[EntrySize]byte)(entries[i:]))
		}
		return nil
	})
	if ctx.Err() != nil {
		return fi, ctx.Err()
	}
	switch {
	case f.size%EntrySize != 0:
		fi.Problem = fmt.Sprintf("%d bytes after the last whole entry: truncated or still being copied", f.size%EntrySize)
	case err != nil:
		fi.Problem = err.Error()
	case fi.BadTime > 0:
		fi.Problem = errTime.Error()
	}
	fi.Bytes = f.size
	return fi, nil
}

func (c *Counts) add(b *[EntrySize]byte) {
	e, kind, err := Decode(b)
	switch {
	case kind == Start:
		c.Sentinels++
		c.WindowFromS = earliest(c.WindowFromS, e.Second)
		return
	case kind == End:
		c.Sentinels++
		c.WindowToS = max(c.WindowToS, e.Second)
		return
	case err != nil:
		c.BadTime++
		return
	}
	c.OptOuts++
	c.FirstS = earliest(c.FirstS, e.Second)
	c.LastS = max(c.LastS, e.Second)
	switch e.ID.Version() {
	case schemas.V2:
		c.V2++
		return
	case schemas.V3:
		c.V3++
	case schemas.V4:
		c.V4++
		if checksum(e.ID[:]) != 0 {
			c.BadChecksum++
		}
	}
	if scope, _ := e.ID.Scope(); scope == schemas.EUID {
		c.EUID++
	} else {
		c.UID2++
	}
	if _, err := schemas.FromRaw(e.ID.Raw()); err != nil {
		c.BadPrefix++
	}
}

// earliest is the smaller of two times of which 0 is none.
func earliest(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

func (c *Counts) merge(o Counts) {
	c.Bytes += o.Bytes
	c.OptOuts += o.OptOuts
	c.Sentinels += o.Sentinels
	c.FirstS = earliest(c.FirstS, o.FirstS)
	c.LastS = max(c.LastS, o.LastS)
	c.WindowFromS = earliest(c.WindowFromS, o.WindowFromS)
	c.WindowToS = max(c.WindowToS, o.WindowToS)
	c.V2 += o.V2
	c.V3 += o.V3
	c.V4 += o.V4
	c.EUID += o.EUID
	c.UID2 += o.UID2
	c.BadTime += o.BadTime
	c.BadPrefix += o.BadPrefix
	c.BadChecksum += o.BadChecksum
}
