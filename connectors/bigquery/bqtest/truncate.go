package bqtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// queryJob is what truncate reads of a job.
type queryJob struct {
	Configuration struct {
		DryRun bool `json:"dryRun"`
		Query  struct {
			Query            string `json:"query"`
			WriteDisposition string `json:"writeDisposition"`
			DestinationTable struct {
				Project string `json:"projectId"`
				Dataset string `json:"datasetId"`
				Table   string `json:"tableId"`
			} `json:"destinationTable"`
		} `json:"query"`
	} `json:"configuration"`
}

// truncate empties the destination of a query that replaces what is there, if
// a dry run finds that the query succeeds.
//
// Emulator: WRITE_TRUNCATE of a query appends. BigQuery: it replaces the table
// in the moment when the query is done. A query that reads the table that it
// replaces is refused here.
func (em *Emulator) truncate(ctx context.Context, call Call) error {
	if _, ok := call.Inserts(); !ok || strings.HasPrefix(call.Path, "/upload/") {
		return nil
	}
	var job queryJob
	if json.Unmarshal(call.Body, &job) != nil || job.Configuration.DryRun {
		return nil
	}
	q := job.Configuration.Query
	to := q.DestinationTable
	if q.WriteDisposition != "WRITE_TRUNCATE" || to.Table == "" {
		return nil
	}
	existing, err := em.get(ctx, "/projects/"+to.Project+"/datasets/"+to.Dataset+"/tables/"+to.Table)
	if err != nil || existing.status != http.StatusOK {
		return err // without a table there is nothing to replace
	}
	if strings.Contains(q.Query, to.Dataset+"."+to.Table) || strings.Contains(q.Query, to.Dataset+"`.`"+to.Table) {
		return errors.New("a query cannot replace a table that it reads")
	}
	if ok, err := em.wouldSucceed(ctx, call.Body); !ok || err != nil {
		return err
	}
	sql := fmt.Sprintf("TRUNCATE TABLE `%s.%s.%s`", to.Project, to.Dataset, to.Table)
	_, err = em.query(ctx, sql, false)
	return err
}

// wouldSucceed does a dry run of a job.
func (em *Emulator) wouldSucceed(ctx context.Context, body []byte) (bool, error) {
	var job map[string]any
	if err := json.Unmarshal(body, &job); err != nil {
		return false, err
	}
	job["jobReference"] = map[string]any{"projectId": project}
	job["configuration"].(map[string]any)["dryRun"] = true
	a, err := em.ask(ctx, http.MethodPost, "/projects/"+project+"/jobs", job)
	return err == nil && !bytes.Contains(a.body, []byte(`"errorResult"`)), nil
}
