package bqtest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"time"
)

// seconds finds the times that the emulator gives in seconds.
var seconds = regexp.MustCompile(`"(creationTime|lastModifiedTime|startTime|endTime)":"(\d{9,10})"`)

// milliseconds corrects the unit of times.
//
// Emulator: seconds. BigQuery: milliseconds.
func milliseconds(body []byte) []byte {
	return seconds.ReplaceAll(body, []byte(`"$1":"${2}000"`))
}

// version is what a table was like when somebody last looked.
type version struct {
	content    string
	modifiedMS int64
}

// maxCompared is the number of rows up to which a change of a table's content
// is seen; in larger ones only a change of their number is.
const maxCompared = 20_000

// Paths of tables.get and tabledata.list.
var (
	tableGet  = regexp.MustCompile(`/projects/([^/]+)/datasets/([^/]+)/tables/([^/]+)$`)
	tableData = regexp.MustCompile(`/projects/([^/]+)/datasets/([^/]+)/tables/([^/]+)/data$`)
)

// modified corrects the time at which a table was last modified.
//
// Emulator: the time at which it was made. BigQuery: that of the last change.
// Here it moves on when somebody looks and the rows are not those of the last
// look.
func (em *Emulator) modified(ctx context.Context, call Call, a answer) answer {
	m := tableGet.FindStringSubmatch(call.Path)
	if call.Method != http.MethodGet || m == nil || a.status != http.StatusOK {
		return a
	}
	var t map[string]any
	if json.Unmarshal(a.body, &t) != nil || t["type"] != "TABLE" {
		return a
	}
	name := m[1] + "." + m[2] + "." + m[3]
	content, err := em.content(ctx, name, t["numRows"])
	if err != nil {
		return errorAnswer(http.StatusNotImplemented, "notImplemented", "BigQuery emulator: "+err.Error())
	}
	em.mu.Lock()
	v, seen := em.versions[name]
	if !seen || v.content != content {
		v = version{content: content, modifiedMS: max(time.Now().UnixMilli(), v.modifiedMS+1)}
		em.versions[name] = v
	}
	em.mu.Unlock()
	t["lastModifiedTime"] = strconv.FormatInt(v.modifiedMS, 10)
	if a.body, err = json.Marshal(t); err != nil {
		return errorAnswer(http.StatusNotImplemented, "notImplemented", err.Error())
	}
	return a
}

// content changes with the rows of a table.
func (em *Emulator) content(ctx context.Context, name string, numRows any) (string, error) {
	rows, _ := numRows.(string)
	if n, err := strconv.Atoi(rows); err != nil || n == 0 || n > maxCompared {
		return rows, nil
	}
	sql := fmt.Sprintf("SELECT CAST(BIT_XOR(FARM_FINGERPRINT(TO_JSON_STRING(t))) AS STRING) FROM `%s` t", name)
	body, err := em.query(ctx, sql, false)
	if err != nil {
		return "", err
	}
	var result struct {
		Rows []struct {
			F []struct {
				V string `json:"v"`
			} `json:"f"`
		} `json:"rows"`
	}
	if err := json.Unmarshal(body, &result); err != nil || len(result.Rows) != 1 {
		return "", fmt.Errorf("%s: %s", sql, body)
	}
	return rows + " " + result.Rows[0].F[0].V, nil
}
