package embedded

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/segmentio/asm/base64"

	"optsweep/connectors/envelope"
	"optsweep/schemas"
)

// Texts of the operator (V2RequestUtil.java, ResponseUtil.java,
// UIDOperatorVerticle.java).
const (
	msgMissing     = "Invalid body: Body is missing."
	msgNotBase64   = "Invalid body: Body is not valid base64."
	msgShort       = "Invalid body: Body too short. Check encryption method."
	msgVersion     = "Invalid body: Invalid request envelope format version: received %d, must be 1."
	msgUnencrypted = "Invalid body: The request body is unencrypted JSON. It must be an encrypted request envelope."
	msgSecret      = "Invalid body: Check encryption key (ClientSecret)."
	msgTime        = "Invalid timestamp: Request too old or client time drift."
	msgNotJSON     = "Invalid payload in body: Data is not valid json string."
	msgNoPayload   = "Invalid request body"
	msgNoIDs       = "Required Parameter Missing: advertising_ids"
	msgTooMany     = "Request payload is too large"
	msgNotArray    = "Unknown error while getting optout status"
)

const (
	typeText   = "text/plain"
	typeBinary = "application/octet-stream"
	typeJSON   = "application/json"
	typeHTML   = "text/html; charset=utf-8"
)

// The window of request times around the server's clock, in ms, both ends
// included. It is not symmetric because the operator rounds down to seconds
// before it drops the sign: the difference in whole seconds has to be within
// -119 to 119.
const (
	maxAgeMS   = 119_999
	maxAheadMS = 119_000
)

// docs is where the operator of a scope sends its callers.
func docs(scope schemas.Scope) string {
	host := "https://unifiedid.com"
	if scope == schemas.EUID {
		host = "https://euid.eu"
	}
	return host + "/docs/getting-started/gs-encryption-decryption"
}

// withHint adds to a message about the envelope where it is documented.
func withHint(message string, scope schemas.Scope) string {
	return message + " See " + docs(scope) + " for details on the request envelope format."
}

// reply is an answer to one request.
type reply struct {
	status      int
	contentType string // empty: none
	body        []byte
	asked, hits int // ids
}

func jsonReply(status int, word, message string) reply {
	b := []byte(`{"status":"` + word + `"`)
	if message != "" {
		b = strconv.AppendQuote(append(b, `,"message":`...), message) // plain ASCII
	}
	return reply{status: status, contentType: typeJSON, body: append(b, '}')}
}

func clientError(message string) reply { return jsonReply(400, "client_error", message) }

func unauthorized() reply { return jsonReply(401, "unauthorized", "") }

// scratch is the memory that one request needs.
type scratch struct {
	body, envelope, plain, payload, sealed, text []byte
	ids                                          []schemas.ID
	hits                                         []schemas.OptOut
}

// scratches hand out memory. Requests have at most 1 MiB, so none of it grows
// without bound.
type scratches struct{ pool sync.Pool }

func (s *scratches) get() *scratch {
	if m, ok := s.pool.Get().(*scratch); ok {
		return m
	}
	return &scratch{}
}

func (s *scratches) put(m *scratch) { s.pool.Put(m) }

// question is an opened request.
type question struct {
	nonce   envelope.Nonce
	request request
	empty   bool // no payload at all
}

// answerer turns the body of an authorised status request into the reply. It
// knows no HTTP.
type answerer struct {
	scope  schemas.Scope
	maxIDs int
	lookup func(dst []schemas.OptOut, ids []schemas.ID) []schemas.OptOut
	nowMS  func() int64
	tamper func(*sealing) // faults for tests; nil for none
}

// sealing is a response before it is sealed.
type sealing struct {
	nonce envelope.Nonce
	hits  []schemas.OptOut
}

// answer answers body. The reply is valid until m is used again.
func (a *answerer) answer(cipher *envelope.Cipher, body []byte, binary bool, m *scratch) reply {
	if len(body) == 0 {
		return clientError(msgMissing)
	}
	q, binary, message := a.open(cipher, body, binary, m)
	if message != "" {
		return clientError(message)
	}
	r := q.request
	switch {
	case q.empty:
		return clientError(msgNoPayload)
	case r.list == missing:
		return clientError(msgNoIDs)
	case r.list == malformed:
		return jsonReply(500, "unknown", msgNotArray)
	case r.count > a.maxIDs:
		return clientError(msgTooMany)
	}
	s := sealing{nonce: q.nonce}
	s.hits = a.lookup(m.hits[:0], r.ids)
	m.hits = s.hits
	n := len(s.hits)
	if a.tamper != nil {
		a.tamper(&s)
	}
	m.payload = appendPayload(m.payload[:0], s.hits)
	var iv [12]byte
	_, _ = rand.Read(iv[:]) // never fails
	m.sealed = cipher.SealResponse(m.sealed[:0], envelope.Request{TimeMS: a.nowMS(), Nonce: s.nonce, Payload: m.payload}, iv)
	out := reply{status: 200, contentType: typeBinary, body: m.sealed, asked: r.count, hits: n}
	if !binary {
		n := base64.StdEncoding.EncodedLen(len(m.sealed))
		m.text = slices.Grow(m.text[:0], n)[:n]
		base64.StdEncoding.Encode(m.text, m.sealed)
		out.contentType, out.body = typeText, m.text
	}
	return out
}

// appendPayload appends the JSON of a response, in the operator's order of
// keys.
func appendPayload(dst []byte, hits []schemas.OptOut) []byte {
	dst = append(dst, `{"body":{"opted_out":[`...)
	for i := range hits {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"advertising_id":"`...)
		dst = hits[i].ID.AppendText(dst)
		dst = append(dst, `","opted_out_since":`...)
		dst = strconv.AppendInt(dst, hits[i].SinceMS, 10)
		dst = append(dst, '}')
	}
	return append(dst, `]},"status":"success"}`...)
}

// open reads a request body in the mode that its Content-Type asks for, and
// tells in which mode to answer. A binary body that cannot be opened is tried
// as text: if it is base64, that attempt decides.
func (a *answerer) open(cipher *envelope.Cipher, body []byte, binary bool, m *scratch) (q question, asBinary bool, message string) {
	if binary {
		if q, message = a.openEnvelope(cipher, body, m); message == "" {
			return q, true, ""
		}
	}
	decoded, ok := decodeBase64(m.envelope[:0], body)
	m.envelope = decoded
	switch {
	case ok:
		q, message = a.openEnvelope(cipher, decoded, m)
	case !binary:
		message = a.unlessJSON(body, msgNotBase64)
	}
	return q, false, message
}

// openEnvelope checks and decrypts in the operator's order; message is empty
// or says what is wrong.
func (a *answerer) openEnvelope(cipher *envelope.Cipher, sealed []byte, m *scratch) (q question, message string) {
	m.plain = slices.Grow(m.plain[:0], len(sealed))
	opened, err := cipher.OpenRequest(m.plain, sealed)
	var version *envelope.VersionError
	switch {
	case err == nil:
	case errors.Is(err, envelope.ErrShort):
		return q, a.unlessJSON(sealed, msgShort)
	case errors.As(err, &version):
		return q, a.unlessJSON(sealed, fmt.Sprintf(msgVersion, version.Got))
	default:
		return q, withHint(msgSecret, a.scope)
	}
	now := a.nowMS()
	if opened.TimeMS < now-maxAgeMS || opened.TimeMS > now+maxAheadMS {
		return q, msgTime
	}
	q.nonce = opened.Nonce
	if len(opened.Payload) == 0 {
		q.empty = true
		return q, ""
	}
	var ok bool
	q.request, ok = parseRequest(opened.Payload, m.ids[:0])
	m.ids = q.request.ids
	if !ok {
		return q, msgNotJSON
	}
	return q, ""
}

// unlessJSON is message, or a better one for callers who did not encrypt.
func (a *answerer) unlessJSON(body []byte, message string) string {
	if isObject(body) {
		return msgUnencrypted + " See " + docs(a.scope) + "#encryption-and-decryption-code-examples for encryption and decryption code examples."
	}
	return withHint(message, a.scope)
}

// decodeBase64 appends what src stands for, as the basic decoder of Java reads
// it: no white space, padding optional, spare bits ignored.
func decodeBase64(dst, src []byte) ([]byte, bool) {
	enc := base64.StdEncoding
	if len(src)%4 != 0 {
		enc = base64.RawStdEncoding
	}
	dst = slices.Grow(dst, enc.DecodedLen(len(src)))
	n, err := enc.Decode(dst[len(dst):cap(dst)], src)
	out := dst[:len(dst)+n]
	if err != nil || bytes.IndexByte(src, '\n') >= 0 || bytes.IndexByte(src, '\r') >= 0 { // which the decoder skips
		return dst, false
	}
	return out, true
}
