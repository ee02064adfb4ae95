package schemas

// SuppressionListSchema names the version of the suppression list that is kept
// beside a table of Parquet files. Columns are only ever added, at the end.
const SuppressionListSchema = "optsweep.suppression.v1"

// SuppressionListColumns are those of a suppression list, a Parquet file sorted
// by id (by bytes). One row stands for one spelling of an id as it stands in
// the table, so that a join on the raw column finds it. The table
// optsweep_suppression in BigQuery has the same columns.
func SuppressionListColumns() []RunColumn {
	return []RunColumn{
		required("id", StringColumn, "The id as it stands in the table."),
		required("scope", StringColumn, "euid or uid2."),
		required("opted_out_since", TimestampColumn, "Since when the person has opted out."),
		required("first_flagged_at", TimestampColumn, "Start of the run that put the id here."),
		required("last_checked_at", TimestampColumn, "Start of the run that last changed this row; a listed id is not asked about again."),
		required("run_id", StringColumn, "That run."),
	}
}
