package config_test

import (
	"fmt"

	"optsweep/jobs/config"
)

// All problems of a job file are told at once, with their places.
func ExampleParse() {
	_, err := config.Parse("job.yaml", []byte("version: 1\njob: crm\nscope: uid\nenvironment: production\noperator: {kind: embedded}\nworkspace: ws\ntables: []\n"), "/jobs")
	fmt.Println(err)
	// Output:
	// job.yaml:3:8: scope: must be euid or uid2 (did you mean euid?)
	// job.yaml:5:11: operator.optout_log: is missing
	// job.yaml:7:9: tables: is empty
}
