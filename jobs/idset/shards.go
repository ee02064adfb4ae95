package idset

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// ManifestName is the file in a folder of shards that lists them. It is
// written last: a folder without it is not complete.
const ManifestName = "manifest.json"

// ShardIDs is the usual number of ids in a shard.
const ShardIDs = 4 << 20

// Manifest describes a folder of shards: all their ids, in order, are all
// different.
type Manifest struct {
	Version int     `json:"version"`
	IDs     int64   `json:"ids"`
	Shards  []Shard `json:"shards"`
}

// Shard is one file of a set.
type Shard struct {
	Name string `json:"name"` // within the folder
	Info
}

// MergeOptions say how sets are merged.
type MergeOptions struct {
	Options
	ShardIDs int64 // ids per shard; 0 means ShardIDs
}

// Merge makes the union of unit files and writes it as shards into dir, which
// must exist. What dir held before is replaced: a merge that was interrupted
// is done again, with the same result to the byte. At most 256 files are open
// at a time. A single unit file is copied as one shard, whatever its size.
func Merge(ctx context.Context, opts MergeOptions, units []string, dir string) (Manifest, error) {
	if err := ctx.Err(); err != nil {
		return Manifest{}, err
	}
	if err := opts.Disk.Remove(filepath.Join(dir, ManifestName)); err != nil {
		return Manifest{}, err
	}
	w := &shardWriter{opts: opts, dir: dir}
	if w.opts.ShardIDs <= 0 {
		w.opts.ShardIDs = ShardIDs
	}
	defer w.discard()
	if err := w.write(ctx, units); err != nil {
		return Manifest{}, err
	}
	m := Manifest{Version: formatVersion, Shards: w.shards}
	for _, s := range m.Shards {
		m.IDs += s.IDs
	}
	if err := removeStale(opts.Disk, dir, len(m.Shards)); err != nil {
		return Manifest{}, err
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return Manifest{}, err
	}
	return m, opts.Disk.WriteFile(filepath.Join(dir, ManifestName), append(text, '\n'), fileMode)
}

func shardName(n int) string { return fmt.Sprintf("shard-%06d.ids", n) }

// removeStale removes the shards of an earlier, larger set.
func removeStale(disk durable.Disk, dir string, from int) error {
	for n := from; ; n++ {
		path := filepath.Join(dir, shardName(n))
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		if err := disk.Remove(path); err != nil {
			return err
		}
	}
}

// shardWriter writes ids, which come in order, into numbered shards.
type shardWriter struct {
	opts   MergeOptions
	dir    string
	out    *output
	left   int64 // ids that still fit into out
	shards []Shard
}

func (w *shardWriter) write(ctx context.Context, units []string) error {
	switch {
	case len(units) == 1:
		return w.copy(units[0])
	case len(units) <= unitFanIn:
		return w.merge(ctx, units)
	default:
		return w.rebuild(ctx, units)
	}
}

// copy makes a unit file the only shard. Its blocks are checked against the
// digest in the manifest when the shard is read.
func (w *shardWriter) copy(unit string) error {
	info, err := ReadInfo(unit)
	if err != nil || info.IDs == 0 {
		return err
	}
	disk, path := w.opts.Disk, filepath.Join(w.dir, shardName(0))
	w.shards = []Shard{{Name: shardName(0), Info: info}}
	if err := disk.Remove(path); err != nil {
		return err
	}
	if err := disk.Link(unit, path); err != nil {
		return err
	}
	return disk.SyncDir(w.dir)
}

// merge opens all units at once.
func (w *shardWriter) merge(ctx context.Context, units []string) error {
	var inputs []*file
	defer func() {
		for _, f := range inputs {
			f.close()
		}
	}()
	for _, unit := range units {
		f, err := open(unit, idKind)
		if err != nil {
			return err
		}
		inputs = append(inputs, f)
	}
	if err := merge(ctx, inputs, w.opts.memory(), w.append); err != nil {
		return err
	}
	return w.finish()
}

// rebuild reads one unit after the other into a Builder.
func (w *shardWriter) rebuild(ctx context.Context, units []string) error {
	b := NewBuilder(w.opts.Options)
	defer b.Close()
	stage := make([]schemas.ID, 0, blockRecords)
	collect := func(records []byte) error {
		stage = stage[:0]
		for ; len(records) > 0; records = records[idWidth:] {
			stage = append(stage, *record(records))
		}
		return b.Add(stage)
	}
	for _, unit := range units {
		f, err := open(unit, idKind)
		if err != nil {
			return err
		}
		err = copyRecords(ctx, f, collect)
		f.close()
		if err != nil {
			return err
		}
	}
	if err := b.drain(ctx, w.append); err != nil {
		return err
	}
	return w.finish()
}

func (w *shardWriter) append(records []byte) error {
	for len(records) > 0 {
		if w.left == 0 {
			if err := w.open(); err != nil {
				return err
			}
		}
		n := min(int64(len(records)/idWidth), w.left)
		if err := w.out.append(records[:n*idWidth]); err != nil {
			return err
		}
		w.left -= n
		records = records[n*idWidth:]
	}
	return nil
}

// open begins the next shard.
func (w *shardWriter) open() error {
	if err := w.finish(); err != nil {
		return err
	}
	out, err := create(w.opts.Disk, filepath.Join(w.dir, shardName(len(w.shards))), idKind, nil)
	if err != nil {
		return err
	}
	w.out, w.left = out, w.opts.ShardIDs
	return nil
}

// finish completes the shard that is being written.
func (w *shardWriter) finish() error {
	if w.out == nil {
		return nil
	}
	info, err := w.out.publish()
	if err != nil {
		return err
	}
	w.shards = append(w.shards, Shard{Name: shardName(len(w.shards)), Info: info})
	w.out, w.left = nil, 0
	return nil
}

func (w *shardWriter) discard() {
	if w.out != nil {
		w.out.discard()
	}
}

// ReadManifest reads and checks the manifest of a folder of shards.
func ReadManifest(dir string) (Manifest, error) {
	path := filepath.Join(dir, ManifestName)
	text, err := os.ReadFile(path)
	if err != nil {
		return Manifest{}, err
	}
	return parseManifest(path, text)
}

func parseManifest(path string, text []byte) (Manifest, error) {
	damaged := (&file{name: path, kind: idKind}).damaged
	var m Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return Manifest{}, damaged("it is no JSON of the right form")
	}
	if m.Version != formatVersion {
		return Manifest{}, damaged("its version is %d, not %d", m.Version, formatVersion)
	}
	left := m.IDs
	for i, s := range m.Shards {
		if s.Name != shardName(i) || s.IDs <= 0 || s.IDs > left {
			return Manifest{}, damaged("entry %d of its shards is wrong", i)
		}
		left -= s.IDs
	}
	if left != 0 {
		return Manifest{}, damaged("its shards do not add up to its number of ids")
	}
	return m, nil
}

// Reader gives the ids of a folder of shards in order. Every block is checked
// against the manifest before its ids are given out.
type Reader struct {
	dir    string
	m      Manifest
	starts []int64 // ordinal of the first id of each shard, and the end
	shard  int     // the one that cur reads
	cur    *cursor // nil when none is open
	next   int64   // ordinal of the next id
}

// OpenReader opens a folder that Merge has written.
func OpenReader(dir string) (*Reader, error) {
	m, err := ReadManifest(dir)
	if err != nil {
		return nil, err
	}
	r := &Reader{dir: dir, m: m, starts: make([]int64, 1, len(m.Shards)+1)}
	for i, s := range m.Shards {
		r.starts = append(r.starts, r.starts[i]+s.IDs)
	}
	return r, nil
}

// Len is the number of ids.
func (r *Reader) Len() int64 { return r.m.IDs }

// SeekTo makes the id with ordinal n (from 0) the next one. It reads at most one
// block. n may be Len, which leaves nothing to read.
func (r *Reader) SeekTo(n int64) error {
	if n < 0 || n > r.m.IDs {
		return fmt.Errorf("ordinal %d is outside a set of %d ids", n, r.m.IDs)
	}
	r.release()
	r.next = n
	return nil
}

// Next fills dst with the next ids. It gives fewer only at the end of the set,
// and 0 with io.EOF after it.
func (r *Reader) Next(dst []schemas.ID) (n int, err error) {
	for n < len(dst) && r.next < r.m.IDs {
		if err := r.fill(); err != nil {
			return n, err
		}
		rest := r.cur.rest
		for ; n < len(dst) && len(rest) > 0; n++ {
			dst[n] = schemas.ID(rest)
			rest = rest[idWidth:]
			r.next++
		}
		r.cur.rest = rest
	}
	if n == 0 && len(dst) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// From passes over the ids before id and gives the next one, which stays the
// next; nil at the end of the set. It is valid until another is asked for.
func (r *Reader) From(id *schemas.ID) (*schemas.ID, error) {
	for r.next < r.m.IDs {
		if err := r.fill(); err != nil {
			return nil, err
		}
		rest := r.cur.rest
		n := seek(0, len(rest)/idWidth, func(i int) bool { return compare(record(rest[i*idWidth:]), id) < 0 })
		r.pass(n)
		if len(r.cur.rest) > 0 {
			return record(r.cur.rest), nil
		}
	}
	return nil, nil
}

// Pass passes over the id that From gave.
func (r *Reader) Pass() { r.pass(1) }

func (r *Reader) pass(n int) {
	r.cur.rest = r.cur.rest[n*idWidth:]
	r.next += int64(n)
}

// fill makes sure that the shard of the next id is open and holds it.
func (r *Reader) fill() error {
	if r.cur != nil && r.next == r.starts[r.shard+1] {
		r.release()
	}
	if r.cur == nil {
		if err := r.open(); err != nil {
			return err
		}
	}
	return r.cur.fill()
}

// open opens the shard of the next id and goes there.
func (r *Reader) open() error {
	r.shard = 0
	for r.next >= r.starts[r.shard+1] {
		r.shard++
	}
	want := r.m.Shards[r.shard]
	f, err := open(filepath.Join(r.dir, want.Name), idKind)
	if err != nil {
		return err
	}
	if f.info() != want.Info {
		f.close()
		return f.damaged("it is not the shard that the manifest lists")
	}
	r.cur = newCursor(f)
	if err := r.cur.seek(r.next - r.starts[r.shard]); err != nil {
		r.release()
		return err
	}
	return nil
}

func (r *Reader) release() {
	if r.cur != nil {
		r.cur.close()
		r.cur = nil
	}
}

// Close closes the open shard. SeekTo or Next opens one again.
func (r *Reader) Close() { r.release() }
