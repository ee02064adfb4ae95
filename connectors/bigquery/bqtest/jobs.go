package bqtest

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

// failure is why a job failed.
type failure struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// job is a job as the REST API has it.
type job map[string]any

// fail makes the job one that failed.
func (j job) fail(f failure) {
	j["status"] = map[string]any{"state": "DONE", "errorResult": f, "errors": []failure{f}}
}

// id is the job's id.
func (j job) id() string {
	reference, _ := j["jobReference"].(map[string]any)
	id, _ := reference["jobId"].(string)
	return id
}

// failure is why the job failed, if it says so.
func (j job) failure() (failure, bool) {
	status, _ := j["status"].(map[string]any)
	result, ok := status["errorResult"].(map[string]any)
	var f failure
	f.Reason, _ = result["reason"].(string)
	f.Message, _ = result["message"].(string)
	if missing.MatchString(f.Message) {
		f = failure{"notFound", notFound(f.Message)}
	}
	return f, ok
}

// outcome corrects what an answer says of how a job ended.
//
// Emulator: a job that failed says so in the answer to jobs.insert only, with
// the reason jobInternalError whatever it was; jobs.get has it as done without
// an error. BigQuery: both give the reason.
//
// Emulator: a dry run that finds a fault succeeds with a job that failed.
// BigQuery: it is answered with an error, 404 or 400.
//
// Emulator: a load job that fails answers the upload with an error and stays
// behind as done. BigQuery: the upload is answered with the job, which failed.
func (em *Emulator) outcome(ctx context.Context, call Call, a answer) answer {
	id, inserts := call.Inserts()
	upload := strings.HasPrefix(call.Path, "/upload/")
	switch {
	case inserts && upload && a.status >= 400:
		return em.failedLoad(ctx, id, a)
	case a.status != http.StatusOK:
		return a
	case inserts:
		j := job{}
		if json.Unmarshal(a.body, &j) != nil {
			return a
		}
		f, failed := j.failure()
		switch {
		case failed && dryRun(call.Body) && f.Reason == "notFound":
			return errorAnswer(http.StatusNotFound, f.Reason, f.Message)
		case failed && dryRun(call.Body):
			return errorAnswer(http.StatusBadRequest, "invalidQuery", f.Message)
		case failed:
			return em.fails(j, f)
		}
	case call.Method == http.MethodGet:
		j := job{}
		if !strings.Contains(call.Path, "/jobs/") || json.Unmarshal(a.body, &j) != nil {
			return a
		}
		em.mu.Lock()
		f, failed := em.failed[j.id()]
		em.mu.Unlock()
		if failed {
			return em.fails(j, f)
		}
	}
	return a
}

// failedLoad is the load job that was stored before its upload failed.
func (em *Emulator) failedLoad(ctx context.Context, id string, a answer) answer {
	var fault struct {
		Error failure `json:"error"`
	}
	stored, err := em.get(ctx, "/projects/"+project+"/jobs/"+url.PathEscape(id))
	j := job{}
	if id == "" || err != nil || stored.status != http.StatusOK ||
		json.Unmarshal(stored.body, &j) != nil || json.Unmarshal(a.body, &fault) != nil {
		return a
	}
	f := failure{"invalid", fault.Error.Message}
	if a.status == http.StatusNotFound {
		f.Reason = "notFound"
	}
	return em.fails(j, f)
}

// fails remembers that a job failed and answers with it.
func (em *Emulator) fails(j job, f failure) answer {
	em.mu.Lock()
	em.failed[j.id()] = f
	em.mu.Unlock()
	j.fail(f)
	body, _ := json.Marshal(j)
	return answer{status: http.StatusOK, header: http.Header{"Content-Type": {"application/json"}}, body: body}
}

func dryRun(body []byte) bool {
	var j queryJob
	return json.Unmarshal(body, &j) == nil && j.Configuration.DryRun
}
