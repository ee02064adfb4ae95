package parquet

import (
	"context"

	"optsweep/schemas"
)

// Find counts what Apply would flag, and writes nothing. missing gets each row
// whose flag is missing or later than it should be, concurrently and in no
// order; the cell is valid until it returns. Of the receipt only the counts of
// rows are filled in. It is an error if the unit is not, or does not stay, what
// it was planned as.
func (t *Table) Find(ctx context.Context, u schemas.Unit, since Since, missing func(row int64, cell []byte)) (schemas.Receipt, error) {
	if t.Mode == Suppression {
		receipt, _, err := t.compare(ctx, u, since, nil, missing)
		return receipt, err
	}
	s, err := t.open(u.Location)
	if err != nil {
		return schemas.Receipt{}, err
	}
	defer s.close()
	if s.version != u.Version {
		return schemas.Receipt{}, errChanged()
	}
	groups, err := t.flag(ctx, s, rule{since: since, missing: missing})
	if err != nil {
		return schemas.Receipt{}, err
	}
	receipt, _, _ := total(groups)
	receipt.Table, receipt.Unit = u.Table, u.Name
	return receipt, t.unchanged(ctx, u)
}
