package bqtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

func (em *Emulator) backURL() *url.URL {
	return &url.URL{Scheme: "http", Host: em.process.rest}
}

// get asks the emulator for a resource, past hooks.
func (em *Emulator) get(ctx context.Context, path string) (answer, error) {
	return em.do(ctx, http.MethodGet, path, nil)
}

// ask asks the emulator to do something, past hooks; it is an error if it does
// not.
func (em *Emulator) ask(ctx context.Context, method, path string, body any) (answer, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return answer{}, err
	}
	a, err := em.do(ctx, method, path, data)
	if err == nil && a.status >= 300 {
		err = fmt.Errorf("%s %s: %d %s", method, path, a.status, a.body)
	}
	return a, err
}

func (em *Emulator) do(ctx context.Context, method, path string, body []byte) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, em.backURL().String()+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	r.Header.Set("Content-Type", "application/json")
	a, err := em.send(r)
	if died := em.Died(); err != nil && died != nil {
		err = died
	}
	return a, err
}

// mended is the answer that BigQuery would give to a call.
func (p *restProxy) mended(r *http.Request, call Call) (answer, error) {
	em, ctx := p.em, r.Context()
	if a, refused := em.unqualified(call); refused {
		return a, nil
	}
	if a, refused := em.duplicate(ctx, call); refused {
		return a, nil
	}
	if call.Method == http.MethodGet && tableData.MatchString(call.Path) {
		a, err := em.rows(ctx, call)
		return orFault(a, err), ctx.Err()
	}
	if err := em.truncate(ctx, call); err != nil {
		return orFault(answer{}, err), ctx.Err()
	}
	a, err := p.forward(r, call.Body)
	if err != nil {
		return a, err
	}
	p.locate(a.header)
	a.body = milliseconds(a.body)
	a = em.outcome(ctx, call, classified(a))
	return em.modified(ctx, call, a), nil
}

// orFault is a, or after an error an answer that no client repeats.
func orFault(a answer, err error) answer {
	if err != nil {
		return classified(errorAnswer(http.StatusInternalServerError, "internalError", err.Error()))
	}
	return a
}

// unqualified refuses a query with a default dataset.
//
// Emulator: it looks for a table without a dataset in all of them, and takes
// the first that was made. BigQuery: in the default dataset. The product
// writes full names.
func (em *Emulator) unqualified(call Call) (a answer, refused bool) {
	if call.Method == http.MethodPost && bytes.Contains(call.Body, []byte(`"defaultDataset"`)) {
		return errorAnswer(http.StatusNotImplemented, "notImplemented", "BigQuery emulator: it does not mind a default dataset; write full names of tables"), true
	}
	return answer{}, false
}

// duplicate refuses a job whose id was used before.
//
// Emulator: it runs the job in part, and answers 400 jobInternalError, 500
// internalError or the name of another resource that exists, depending on the
// job. BigQuery: 409 duplicate, and nothing runs.
func (em *Emulator) duplicate(ctx context.Context, call Call) (a answer, refused bool) {
	id, ok := call.Inserts()
	if !ok || id == "" {
		return answer{}, false
	}
	known, err := em.get(ctx, "/projects/"+project+"/jobs/"+url.PathEscape(id))
	if err != nil || known.status != http.StatusOK {
		return answer{}, false // after a fault, forward says what is wrong
	}
	location := jobOf(call.Body).Location
	if location == "" {
		location = "US"
	}
	message := fmt.Sprintf("Already Exists: Job %s:%s.%s", project, location, id)
	return errorAnswer(http.StatusConflict, "duplicate", message), true
}

// missing is how the emulator's SQL engine names a table or dataset that does
// not exist.
var missing = regexp.MustCompile(`Table not found: ([^\s;]+)|dataset "?[\w-]+"? is not found|failed to find destination dataset`)

// classified corrects the class of an error.
//
// Emulator: a missing table in SQL is 400 jobInternalError. BigQuery: 404
// notFound.
//
// Emulator: every fault of its own is 500, which the client takes for a
// passing fault and repeats until its deadline. Here it is 501, which ends
// the test at once.
func classified(a answer) answer {
	var fault struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	switch {
	case a.status < 400:
		return a
	case json.Unmarshal(a.body, &fault) != nil:
		fault.Error.Message = strings.TrimSpace(string(a.body)) // some faults are plain text
		fallthrough
	default:
		switch {
		case a.status != http.StatusNotFound && missing.MatchString(fault.Error.Message):
			return errorAnswer(http.StatusNotFound, "notFound", notFound(fault.Error.Message))
		case a.status == http.StatusInternalServerError:
			return errorAnswer(http.StatusNotImplemented, "notImplemented", "BigQuery emulator: "+fault.Error.Message)
		}
	}
	return a
}

// notFound words a missing table as BigQuery does.
func notFound(message string) string {
	m := missing.FindStringSubmatch(message)
	if m[1] == "" {
		return "Not found: " + message
	}
	return "Not found: Table " + strings.Trim(m[1], "`\"'") + " was not found"
}
