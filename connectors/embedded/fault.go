package embedded

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"optsweep/schemas"
)

// Faults are how a server misbehaves on status requests, so that the users of
// a client can test it. The zero value is no fault at all.
type Faults struct {
	terms []*fault
	count *atomic.Int64 // status requests so far
}

// FaultHelp describes the text form of Faults.
const FaultHelp = `faults, separated by commas; each may end in :every=N to hit only every Nth request
  400..599          answer with that status, for example 429:every=10
                    (with :retry_after=DURATION to send Retry-After)
  slow=DURATION     answer later, for example slow=2s
  skew=DURATION     a clock that is ahead (or, with -3m, behind)
  drop              close the connection without an answer
  cut               close the connection in the middle of the answer
  garbage           200 with a body that is no envelope
  nonce             seal the answer for another request
  unasked           list an id as opted out that was not asked`

// fault is one term.
type fault struct {
	kind       string
	status     int           // of kind "status"
	duration   time.Duration // of slow and skew
	every      int64
	retryAfter time.Duration
}

// Kinds of faults.
const (
	faultStatus  = "status"
	faultSlow    = "slow"
	faultSkew    = "skew"
	faultDrop    = "drop"
	faultCut     = "cut"
	faultGarbage = "garbage"
	faultNonce   = "nonce"
	faultUnasked = "unasked"
)

// ParseFaults reads the form that FaultHelp describes.
func ParseFaults(text string) (Faults, error) {
	f := Faults{count: new(atomic.Int64)}
	if text == "" {
		return f, nil
	}
	for term := range strings.SplitSeq(text, ",") {
		one, err := parseFault(term)
		if err != nil {
			return Faults{}, schemas.Errorf(schemas.Usage, "fault %q: %w", term, err).WithHint("%s", FaultHelp)
		}
		f.terms = append(f.terms, one)
	}
	return f, nil
}

func parseFault(term string) (*fault, error) {
	parts := strings.Split(term, ":")
	name, value, hasValue := strings.Cut(parts[0], "=")
	f := &fault{kind: name, every: 1}
	var err error
	switch name {
	case faultSlow, faultSkew:
		if f.duration, err = time.ParseDuration(value); err != nil || name == faultSlow && f.duration < 0 {
			return nil, fmt.Errorf("%s needs a duration such as %s=2s", name, name)
		}
	case faultDrop, faultCut, faultGarbage, faultNonce, faultUnasked:
		if hasValue {
			return nil, fmt.Errorf("%s takes no value", name)
		}
	default:
		f.kind = faultStatus
		if f.status, err = strconv.Atoi(name); err != nil || f.status < 400 || f.status > 599 || hasValue || len(name) != 3 {
			return nil, fmt.Errorf("%q is no fault", parts[0])
		}
	}
	for _, option := range parts[1:] {
		name, value, _ := strings.Cut(option, "=")
		switch name {
		case "every":
			if f.every, err = strconv.ParseInt(value, 10, 64); err != nil || f.every < 1 {
				return nil, fmt.Errorf("every needs a number above 0")
			}
		case "retry_after":
			if f.retryAfter, err = time.ParseDuration(value); err != nil || f.retryAfter < time.Second || f.kind != faultStatus {
				return nil, fmt.Errorf("retry_after is for a status, and at least 1s")
			}
		default:
			return nil, fmt.Errorf("%q is no option", option)
		}
	}
	return f, nil
}

// Active tells whether there is any fault.
func (f Faults) Active() bool { return len(f.terms) > 0 }

// hit are the faults of one request: at most one of each kind.
type hit map[string]*fault

// next counts a request and tells what happens to it.
func (f Faults) next() hit {
	if !f.Active() {
		return nil
	}
	n := f.count.Add(1)
	h := hit{}
	for _, term := range f.terms {
		if n%term.every == 0 && h[term.kind] == nil {
			h[term.kind] = term
		}
	}
	return h
}

// skew is how far the clock is off for a request.
func (h hit) skew() time.Duration {
	if f := h[faultSkew]; f != nil {
		return f.duration
	}
	return 0
}

// faultReply is what stands in front of an operator, or the operator itself,
// sends with a status.
func faultReply(status int) reply {
	switch status {
	case 400:
		return clientError("Request payload is invalid")
	case 401:
		return unauthorized()
	case 429:
		return reply{status: status}
	case 500:
		return reply{status: status, contentType: typeText, body: []byte("Internal Server Error")}
	default:
		return reply{status: status, contentType: "text/html",
			body: fmt.Appendf(nil, "<html><head><title>%d</title></head><body><center><h1>%d</h1></center></body></html>\r\n", status, status)}
	}
}

// tamper gives what nonce and unasked do to a response, or nil.
func (h hit) tamper() func(*sealing) {
	if h[faultNonce] == nil && h[faultUnasked] == nil {
		return nil
	}
	return func(s *sealing) {
		if h[faultNonce] != nil {
			s.nonce[0] ^= 0xFF
		}
		if h[faultUnasked] != nil {
			stranger, _ := schemas.ParseText([]byte("EAnaskedUnaskedUnaskedUnaskedUnaskedUnaskedU"))
			s.hits = append(s.hits, schemas.OptOut{ID: stranger, SinceMS: 1_764_547_200_000})
		}
	}
}
