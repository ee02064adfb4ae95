package optoutlog

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"optsweep/schemas"
)

// Format is the format of a file to import.
type Format string

// The formats. CSV has a header line; JSONLines has one object per line.
const (
	CSV       Format = "csv"
	JSONLines Format = "jsonl"
	Parquet   Format = "parquet"
)

// TimeUnit says what the numbers or texts of a time column mean. It has to be
// stated: seconds and milliseconds are easily taken for each other.
type TimeUnit string

// The units.
const (
	Seconds      TimeUnit = "s"
	Milliseconds TimeUnit = "ms"
	RFC3339      TimeUnit = "rfc3339"   // text such as 2026-01-01T00:00:00Z
	Timestamp    TimeUnit = "timestamp" // Parquet only: the TIMESTAMP type of the column says it
)

// ImportOptions say what to import, and into which log.
type ImportOptions struct {
	Path       string // the file to import
	Format     Format
	IDColumn   string // also the name of the JSON field, or the dotted Parquet path
	TimeColumn string
	Unit       TimeUnit
	Rules      schemas.Rules    // ids of another scope or environment are bad
	SkipBad    bool             // leave bad rows out instead of importing nothing
	Writer     WriterOptions    // Start and End default to now
	Now        func() time.Time // nil: time.Now

	since int64 // second of all opt-outs, if there is no time column
}

// ImportResult counts rows.
type ImportResult struct {
	Path     string           `json:"path"` // the delta file; empty if none was written
	Rows     int64            `json:"rows"`
	Imported int64            `json:"imported"`
	Bad      map[string]int64 `json:"bad"` // by reason
}

// Reasons for a bad row beside those of schemas.Rules.
const (
	badNull = "null"
	badTime = "bad_time" // no time of the stated unit, or one before 2015 or after tomorrow
)

// Import writes the opt-outs of a file of another format as one delta file. A
// file with a bad row is refused, with nothing written and the counts of the
// result filled in, unless SkipBad is set.
func Import(ctx context.Context, opts ImportOptions) (ImportResult, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	now := opts.Now()
	if opts.Writer.Start.IsZero() {
		opts.Writer.Start = now
	}
	if opts.Writer.End.IsZero() {
		opts.Writer.End = now
	}
	if err := opts.check(); err != nil {
		return ImportResult{}, err
	}
	w, err := Create(opts.Writer)
	if err != nil {
		return ImportResult{}, err
	}
	defer w.Discard()
	im := newImporter(ctx, opts, now)
	im.take = func(id schemas.ID, second int64) error { return w.Add(NewEntry(id, second)) }
	if err := im.run(); err != nil {
		return im.result, fmt.Errorf("import %s: %w", opts.Path, err)
	}
	if bad := im.result.Rows - im.result.Imported; bad > 0 && !opts.SkipBad {
		im.result.Imported = 0
		return im.result, schemas.Errorf(schemas.Failed, "import %s: %d of %d rows are bad (%s)", opts.Path, bad, im.result.Rows, im.reasons()).
			WithHint("nothing was imported; check the columns and the unit of the time, or leave bad rows out explicitly")
	}
	im.result.Path, err = w.Publish()
	return im.result, err
}

func (o *ImportOptions) check() error {
	if o.IDColumn == "" || o.TimeColumn == "" && o.since == 0 {
		return schemas.Errorf(schemas.Usage, "import needs the names of the id column and of the time column")
	}
	if o.since != 0 {
		return nil
	}
	switch o.Unit {
	case Seconds, Milliseconds, RFC3339:
	case Timestamp:
		if o.Format != Parquet {
			return schemas.Errorf(schemas.Usage, "time unit %q is for Parquet only", o.Unit)
		}
	default:
		return schemas.Errorf(schemas.Usage, "time unit %q is none of s, ms, rfc3339 and timestamp", o.Unit).
			WithHint("the DSP webhook and opt-out logs count seconds, opted_out_since counts milliseconds")
	}
	return nil
}

// importer takes rows one by one.
type importer struct {
	ctx              context.Context
	opts             ImportOptions
	take             func(id schemas.ID, second int64) error
	bad              func(row int64, reason string, cell []byte) error // nil: bad rows are only counted
	earliest, latest int64                                             // Unix seconds that are believed
	result           ImportResult
}

func newImporter(ctx context.Context, opts ImportOptions, now time.Time) *importer {
	return &importer{ctx: ctx, opts: opts,
		earliest: time.Date(2015, 1, 1, 0, 0, 0, 0, time.UTC).Unix(), latest: now.Add(24 * time.Hour).Unix(),
		result: ImportResult{Bad: map[string]int64{}}}
}

func (im *importer) run() error {
	if im.opts.Format == Parquet {
		return im.parquet()
	}
	in, err := os.Open(im.opts.Path)
	if err != nil {
		return err
	}
	defer in.Close()
	switch im.opts.Format {
	case CSV:
		return im.csv(bufio.NewReaderSize(in, 1<<20))
	case JSONLines:
		return im.jsonLines(bufio.NewReaderSize(in, 1<<20))
	}
	return schemas.Errorf(schemas.Usage, "format %q is none of csv, jsonl and parquet", im.opts.Format)
}

func (im *importer) reasons() string {
	var list []string
	for reason, n := range im.result.Bad {
		list = append(list, fmt.Sprintf("%s: %d", reason, n))
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// row takes one row. A nil id is NULL; ok is false if the row has no time of
// the stated unit.
func (im *importer) row(id []byte, second int64, ok bool) error {
	if im.result.Rows++; im.result.Rows%4096 == 0 && im.ctx.Err() != nil {
		return im.ctx.Err()
	}
	if id == nil {
		return im.leaveOut(badNull, nil)
	}
	parsed, _, reason := im.opts.Rules.Parse(id)
	switch {
	case reason != schemas.Valid:
		return im.leaveOut(string(reason), id)
	case !ok || second < im.earliest || second > im.latest:
		return im.leaveOut(badTime, id)
	}
	im.result.Imported++
	return im.take(parsed, second)
}

func (im *importer) leaveOut(reason string, cell []byte) error {
	im.result.Bad[reason]++
	if im.bad == nil {
		return nil
	}
	return im.bad(im.result.Rows-1, reason, cell)
}

// textTime reads a time of the stated unit. Parts of a second are dropped,
// which makes an opt-out earlier, never later.
func (im *importer) textTime(text string) (second int64, ok bool) {
	if im.opts.Unit == RFC3339 {
		t, err := time.Parse(time.RFC3339, text)
		return t.Unix(), err == nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return im.numberTime(n), err == nil
}

func (im *importer) numberTime(n int64) (second int64) {
	if im.opts.Unit == Milliseconds {
		return n / 1000
	}
	return n
}

func (im *importer) csv(in io.Reader) error {
	r := csv.NewReader(in)
	r.ReuseRecord = true
	header, err := r.Read()
	if errors.Is(err, io.EOF) {
		return errors.New("it has no header line")
	} else if err != nil {
		return err
	}
	header[0] = strings.TrimPrefix(header[0], "\ufeff")
	id, err := column(header, im.opts.IDColumn)
	if err != nil {
		return err
	}
	at := -1
	if im.opts.since == 0 {
		if at, err = column(header, im.opts.TimeColumn); err != nil {
			return err
		}
	}
	for {
		fields, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		second, ok := im.opts.since, true
		if at >= 0 {
			second, ok = im.textTime(fields[at])
		}
		if err := im.row([]byte(fields[id]), second, ok); err != nil {
			return err
		}
	}
}

func column(header []string, name string) (int, error) {
	i := slices.Index(header, name)
	if i < 0 {
		return 0, schemas.Errorf(schemas.Usage, "it has no column %q", name).WithHint("its columns are: %s", strings.Join(header, ", "))
	}
	return i, nil
}

// maxLine is the longest line of JSON that is read.
const maxLine = 16 << 20

func (im *importer) jsonLines(in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	for n := 1; lines.Scan(); n++ {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(line, &fields); err != nil {
			return fmt.Errorf("line %d is not a JSON object", n) // err could quote an id
		}
		id, at := scalar(fields[im.opts.IDColumn]), scalar(fields[im.opts.TimeColumn])
		second, ok := im.opts.since, true
		if second == 0 {
			second, ok = im.textTime(string(at))
		}
		if err := im.row(id, second, ok); err != nil {
			return err
		}
	}
	return lines.Err()
}

// scalar is the text of a JSON string, or of a number as it stands; nil for
// null and for a field that is not there.
func scalar(raw json.RawMessage) []byte {
	var s string
	if len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, &s) == nil {
		return []byte(s)
	}
	if string(raw) == "null" {
		return nil
	}
	return raw
}
