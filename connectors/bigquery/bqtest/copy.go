package bqtest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// copied calls use with the resource name of a table, or, if another dataset
// has a table of that name too, with that of a copy under a name that no other
// table has.
//
// Emulator: the Storage Read API finds a table by the last part of its name
// alone, in whichever dataset has a table of that name first. The copy stays,
// since with every table that is deleted the emulator takes more memory.
func (em *Emulator) copied(ctx context.Context, name string, t table, use func(string) error) error {
	m := tablePath.FindStringSubmatch(name)
	if only, err := em.isOnly(ctx, m[1], m[3]); err != nil {
		return err
	} else if only {
		return use(name)
	}
	parent, id := "/projects/"+m[1]+"/datasets/"+m[2]+"/tables", "copy_"+strings.ToLower(rand.Text())
	reference := map[string]string{"projectId": m[1], "datasetId": m[2], "tableId": id}
	if _, err := em.ask(ctx, http.MethodPost, parent, map[string]any{"tableReference": reference, "schema": t.Schema}); err != nil {
		return err
	}
	sql := fmt.Sprintf("INSERT INTO `%s.%s.%s` SELECT * FROM `%s.%s.%s`", m[1], m[2], id, m[1], m[2], m[3])
	if _, err := em.query(ctx, sql, false); err != nil {
		return err
	}
	return use("projects/" + m[1] + "/datasets/" + m[2] + "/tables/" + id)
}

// isOnly tells whether only one dataset of a project has a table of this name.
func (em *Emulator) isOnly(ctx context.Context, project, table string) (bool, error) {
	a, err := em.get(ctx, "/projects/"+project+"/datasets")
	if err != nil {
		return false, err
	}
	var list struct {
		Datasets []struct {
			Reference struct {
				DatasetID string `json:"datasetId"`
			} `json:"datasetReference"`
		} `json:"datasets"`
	}
	if err := json.Unmarshal(a.body, &list); err != nil {
		return false, err
	}
	n := 0
	for _, d := range list.Datasets {
		a, err := em.get(ctx, "/projects/"+project+"/datasets/"+d.Reference.DatasetID+"/tables/"+table)
		if err != nil {
			return false, err
		}
		if a.status == http.StatusOK {
			n++
		}
	}
	return n == 1, nil
}

// rows answers tabledata.list by a query.
//
// Emulator: as copied has it, the rows may be those of another table.
func (em *Emulator) rows(ctx context.Context, call Call) (answer, error) {
	m := tableData.FindStringSubmatch(call.Path)
	columns := "*"
	if selected := call.Query.Get("selectedFields"); selected != "" {
		columns = "`" + strings.Join(strings.Split(selected, ","), "`, `") + "`"
	}
	start, _ := strconv.Atoi(call.Query.Get("startIndex"))
	if token := call.Query.Get("pageToken"); token != "" {
		start, _ = strconv.Atoi(token)
	}
	sql := fmt.Sprintf("SELECT %s FROM `%s.%s.%s`", columns, m[1], m[2], m[3])
	body, err := em.query(ctx, sql, call.Query.Get("formatOptions.useInt64Timestamp") == "true")
	if err != nil {
		return answer{}, err
	}
	var result struct {
		Rows []json.RawMessage `json:"rows"`
	}
	if err := json.Unmarshal(body, &result); err != nil {
		return answer{}, err
	}
	list := map[string]any{"kind": "bigquery#tableDataList", "totalRows": strconv.Itoa(len(result.Rows))}
	from := min(start, len(result.Rows))
	to := len(result.Rows)
	if limit, err := strconv.Atoi(call.Query.Get("maxResults")); err == nil && from+limit < to {
		to = from + limit
		list["pageToken"] = strconv.Itoa(to)
	}
	list["rows"] = result.Rows[from:to]
	page, err := json.Marshal(list)
	return answer{status: http.StatusOK, header: http.Header{"Content-Type": {"application/json"}}, body: page}, err
}

// query runs SQL and returns the answer of jobs.query.
func (em *Emulator) query(ctx context.Context, sql string, int64Timestamps bool) ([]byte, error) {
	a, err := em.ask(ctx, http.MethodPost, "/projects/"+project+"/queries", map[string]any{
		"query": sql, "useLegacySql": false, "formatOptions": map[string]any{"useInt64Timestamp": int64Timestamps},
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", sql, err)
	}
	return a.body, nil
}
