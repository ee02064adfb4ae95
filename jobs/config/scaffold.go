package config

import _ "embed"

//go:embed scaffold.yaml
var scaffold string

// Scaffold is a commented example of a job file, which Parse accepts as it is:
// Parquet files and a public operator, with the other operators in comments.
func Scaffold() []byte { return []byte(scaffold) }
