package parquet

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// pendingRecord is a line of the file beside a list that holds what the units of
// a run add to it, until all have been looked at. The first line says which run
// that is and what list it goes by.
type pendingRecord struct {
	Run  string `json:"run,omitempty"`
	List string `json:"list,omitempty"` // its version when the run began

	Unit  string   `json:"unit,omitempty"`
	IDs   []string `json:"ids,omitempty"`
	Since []int64  `json:"since,omitempty"` // of each of IDs, Unix ms
	Clear []string `json:"clear,omitempty"` // ids that an unflag takes off

	Written string `json:"written,omitempty"` // version of the list that is about to take the place of the old one
}

// pending is what such a file holds.
type pending struct {
	pendingRecord                  // the first line, with the last Written
	found         map[string]int64 // earliest times
	clear         map[string]bool
	size          int64 // of its whole lines
}

// pendingPath is the file beside a list.
func pendingPath(list string) string {
	return filepath.Join(filepath.Dir(list), "."+filepath.Base(list)+".pending")
}

// line encodes a record: its checksum, and JSON.
func (r pendingRecord) line() ([]byte, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%08x %s\n", crc32.ChecksumIEEE(data), data), nil
}

// readPending reads the whole lines of a file; what a killed process left behind
// them does not count. If there is no file, or no whole line in it, the result
// is nil.
func readPending(path string) (*pending, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p := &pending{found: map[string]int64{}, clear: map[string]bool{}}
	in := bufio.NewReaderSize(f, 1<<20)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		r, ok := parsePending(line)
		if !ok {
			break
		}
		if p.size == 0 {
			p.pendingRecord = r
		}
		p.add(r)
		p.size += int64(len(line))
	}
	if p.size == 0 {
		return nil, nil
	}
	return p, nil
}

func parsePending(line []byte) (r pendingRecord, ok bool) {
	sum, data, found := bytes.Cut(line, []byte(" "))
	data, whole := bytes.CutSuffix(data, []byte("\n"))
	if !found || !whole || string(sum) != fmt.Sprintf("%08x", crc32.ChecksumIEEE(data)) {
		return r, false
	}
	return r, json.Unmarshal(data, &r) == nil && len(r.IDs) == len(r.Since)
}

func (p *pending) add(r pendingRecord) {
	for i, id := range r.IDs {
		if ms, known := p.found[id]; !known || r.Since[i] < ms {
			p.found[id] = r.Since[i]
		}
	}
	for _, id := range r.Clear {
		p.clear[id] = true
	}
	if r.Written != "" {
		p.Written = r.Written
	}
}

// fits tells whether the list is as the run left it: it has the version that the
// run began with, or the one that it was about to put in place.
func (p *pending) fits(list string) bool {
	return list == p.List || list == p.Written
}
