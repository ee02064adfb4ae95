package schemas

import (
	"bytes"
	_ "embed"
)

//go:embed job.schema.json
var jobSchema []byte

// JobSchema is the JSON Schema (draft 2020-12) of job files, for editors and
// other tools. jobs/config checks more than a schema can say.
func JobSchema() []byte { return bytes.Clone(jobSchema) }
