package parquet

import (
	"context"

	"optsweep/connectors/parquet/chunk"
	"optsweep/schemas"
)

// Reading names what Scan gives of a file: the cells of one column. The number
// changes when they are read in another way.
func (t *Table) Reading() string { return "parquet 1 " + t.IDColumn + " " + string(t.IDEncoding) }

// CountFlags counts the flags of a unit. It reads and decodes the flag column
// only, with the checksums of its pages. It is an error if the unit is not, or
// does not stay, what it was planned as, or has no such column.
func (t *Table) CountFlags(ctx context.Context, u schemas.Unit) (n int64, err error) {
	s, err := t.open(u.Location)
	if err != nil {
		return 0, err
	}
	defer s.close()
	if s.version != u.Version {
		return 0, errChanged()
	}
	if s.flags < 0 {
		return 0, schemas.Errorf(schemas.Failed, "has no column %q", t.Column)
	}
	chunks, err := s.meta.Chunks(s.flags)
	if err != nil {
		return 0, err
	}
	reader := chunk.NewReader(s.file, s.meta.Columns[s.flags])
	defer reader.Close()
	for _, c := range chunks {
		flags, err := reader.Flags(ctx, c)
		if err != nil {
			return 0, err
		}
		n += int64(len(flags))
	}
	return n, t.unchanged(ctx, u)
}
