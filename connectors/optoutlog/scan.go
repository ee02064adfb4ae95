package optoutlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"optsweep/schemas"
)

// file is a log file as it stood when the folder was listed.
type file struct {
	path  string // in the folder, for messages and as the name to remember
	size  int64
	mtime time.Time
}

func (f file) entries() int { return int(f.size / EntrySize) }

// same tells whether g is f, unchanged.
func (f file) same(g file) bool {
	return f.path == g.path && f.size == g.size && f.mtime.Equal(g.mtime)
}

// list finds the log files under dir, at any depth. Names that start with a
// dot are passed over; links to files are followed, links to folders are not.
func list(ctx context.Context, dir string) ([]file, error) {
	root, err := filepath.EvalSymlinks(dir)
	if err == nil {
		var info fs.FileInfo
		if info, err = os.Stat(root); err == nil && !info.IsDir() {
			err = errors.New("it is not a folder")
		}
	}
	if err != nil {
		return nil, schemas.Errorf(schemas.Usage, "opt-out log folder %s cannot be opened: %w", dir, err).
			WithHint("point optout_log at the folder that holds the optout-delta-*.dat and optout-partition-*.dat files")
	}
	var files []file
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if path != root && strings.HasPrefix(d.Name(), ".") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if _, ok := ParseName(d.Name()); !ok || d.IsDir() {
			return nil
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		files = append(files, file{path: rel, size: info.Size(), mtime: info.ModTime()})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list opt-out logs in %s: %w", dir, err)
	}
	return files, nil
}

// segment is how much of a file one goroutine reads at a time.
const segment = 1 << 16 * EntrySize // 4.5 MiB

// checkSizes finds files that end within an entry.
func checkSizes(files []file) error {
	for _, f := range files {
		if f.size%EntrySize != 0 {
			return badFile(f.path, fmt.Errorf("its %d bytes are not whole entries of %d: it is truncated or still being copied", f.size, EntrySize))
		}
	}
	return nil
}

// read gives the whole entries of files to visit, from up to workers goroutines
// that each pass their own number. The slice that visit gets is valid only
// during the call. A file that has an opening entry but no closing one, or that
// changes meanwhile, is an error.
func read(ctx context.Context, dir string, files []file, workers int, visit func(worker int, entries []byte) error) error {
	type job struct {
		file  file
		at    int64
		state *fileState
	}
	g, ctx := errgroup.WithContext(ctx)
	jobs := make(chan job)
	g.Go(func() error {
		defer close(jobs)
		for _, f := range files {
			state := &fileState{size: f.size - f.size%EntrySize}
			state.left.Store((state.size + segment - 1) / segment)
			for at := int64(0); at < state.size; at += segment {
				select {
				case jobs <- job{f, at, state}:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
		return nil
	})
	for worker := range workers {
		g.Go(func() error {
			buf := make([]byte, 0, segment)
			for j := range jobs {
				b := buf[:min(segment, j.state.size-j.at)]
				err := j.state.read(filepath.Join(dir, j.file.path), j.file, j.at, b)
				if err == nil {
					err = visit(worker, b)
				}
				if err == nil {
					err = j.state.done()
				}
				if err != nil {
					return badFile(j.file.path, err)
				}
				if ctx.Err() != nil {
					return ctx.Err()
				}
			}
			return nil
		})
	}
	return g.Wait()
}

func badFile(path string, err error) error {
	return schemas.Errorf(schemas.Failed, "opt-out log %s: %w", path, err).
		WithHint("put a whole copy of the file in place, under another name first and then renamed; until then the state before it is kept")
}

// fileState is what the segments of one file have in common.
type fileState struct {
	size         int64        // of all whole entries
	left         atomic.Int64 // segments not yet read
	opens, ended atomic.Bool  // has an opening, a closing entry
}

var (
	errChanged   = errors.New("it changed while it was read")
	errTruncated = errors.New("it has an opening but no closing entry: it is truncated or still being copied")
)

func (s *fileState) read(path string, f file, at int64, b []byte) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	if _, err := in.ReadAt(b, at); errors.Is(err, io.EOF) {
		return errChanged
	} else if err != nil {
		return err
	}
	if at == 0 && kindOf(b[:EntrySize]) == Start {
		s.opens.Store(true)
	}
	if at+int64(len(b)) == s.size && kindOf(b[len(b)-EntrySize:]) == End {
		s.ended.Store(true)
	}
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if info.Size() != f.size || !info.ModTime().Equal(f.mtime) {
		return errChanged
	}
	return nil
}

// done checks the file once its last segment is read.
func (s *fileState) done() error {
	if s.left.Add(-1) == 0 && s.opens.Load() && !s.ended.Load() {
		return errTruncated
	}
	return nil
}
