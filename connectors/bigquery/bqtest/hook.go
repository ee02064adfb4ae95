package bqtest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Call is one request to the REST API.
type Call struct {
	Method string
	Path   string // such as /projects/p/jobs, without a query
	Query  url.Values
	Body   []byte
	N      int // counts the calls of this method and path at this endpoint, from 1
}

// Inserts reports whether the call inserts a job (jobs.insert, with or without
// an upload) and under which id; "" leaves the id to BigQuery.
func (c Call) Inserts() (jobID string, ok bool) {
	if c.Method != http.MethodPost || !strings.HasSuffix(c.Path, "/jobs") {
		return "", false
	}
	return jobOf(c.Body).JobID, true
}

// Response is what a hook does instead of passing a call through. The zero
// value closes the connection with nothing done and nothing answered.
type Response struct {
	// Forward passes the call to the emulator before the rest applies: with an
	// error status, a call that failed but was stored.
	Forward bool
	// Edit changes the emulator's answer. It needs Forward; Status and Body
	// are ignored.
	Edit func(status int, body []byte) (int, []byte)
	// Status and Body answer the call. Without a status the connection closes.
	Status int
	Body   []byte
}

// Hook sees each call before the emulator does; nil passes it through. Calls
// may come at the same time.
type Hook func(Call) *Response

// Fail answers with an error of BigQuery, such as 503 and "backendError". The
// emulator does not see the call.
func Fail(status int, reason, message string) *Response {
	return &Response{Status: status, Body: errorBody(status, reason, message)}
}

// FailStored is Fail after the emulator has done what was asked.
func FailStored(status int, reason, message string) *Response {
	r := Fail(status, reason, message)
	r.Forward = true
	return r
}

// Lose does what was asked and closes the connection with no answer.
func Lose() *Response { return &Response{Forward: true} }

func errorBody(status int, reason, message string) []byte {
	type item struct {
		Domain  string `json:"domain"`
		Reason  string `json:"reason"`
		Message string `json:"message"`
	}
	type fault struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Errors  []item `json:"errors"`
	}
	body, _ := json.Marshal(map[string]fault{"error": {status, message, []item{{"global", reason, message}}}})
	return body
}

// jobReference is what the proxy reads of a job.
type jobReference struct {
	JobID    string `json:"jobId"`
	Location string `json:"location"`
}

// jobOf finds the reference of a job in the body of jobs.insert: JSON, or a
// multipart upload whose first part is JSON.
func jobOf(body []byte) jobReference {
	var job struct {
		JobReference jobReference `json:"jobReference"`
	}
	at := slices.Index(body, '{')
	if at < 0 || json.NewDecoder(strings.NewReader(string(body[at:]))).Decode(&job) != nil {
		return jobReference{}
	}
	return job.JobReference
}
