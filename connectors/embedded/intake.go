package embedded

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"optsweep/connectors/optoutlog"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// IntakeOptions let a server receive the DSP opt-out webhook: a GET or POST
// with an empty body and the id and its time, in Unix seconds, in the query
// (docs guides/dsp-guide.md; optout OptOutPartnerEndpoint.java). The names of
// the parameters are agreed with the sender.
type IntakeOptions struct {
	Path      string         // for example /webhook/optout; empty: no intake
	IDParam   string         // name of the query parameter with the id; empty: uid2
	TimeParam string         // name of the one with the time; empty: timestamp
	Token     schemas.Secret // bearer token that the sender has to show
	Replica   int            // number of the producer in the names of log files
	Rules     schemas.Rules  // ids of another scope or environment are not kept
}

// maxAhead is how far a time may lie in the future.
const maxAhead = 24 * time.Hour

// What became of an item; also the values of a metric.
const (
	intakeAccepted     = "accepted"
	intakeRepeated     = "repeated" // known already, at this time or an earlier one
	intakeSentinel     = "sentinel" // an id that opens or closes log files
	intakeMalformed    = "malformed"
	intakeFailed       = "failed"
	intakeUnauthorized = "unauthorized"
)

// intake turns webhook requests into log entries.
type intake struct {
	opts    IntakeOptions
	store   *optoutlog.Store
	journal *optoutlog.Journal
	token   [sha256.Size]byte
	now     func() time.Time
	log     *slog.Logger
}

func newIntake(opts IntakeOptions, store *optoutlog.Store, disk durable.Disk, now func() time.Time, log *slog.Logger) (*intake, error) {
	if opts.Token.IsZero() || !strings.HasPrefix(opts.Path, "/") {
		return nil, schemas.Errorf(schemas.Usage, "the intake of opt-outs needs a path that starts with / and a bearer token").
			WithHint("without a token anyone could opt anyone out")
	}
	if opts.IDParam == "" {
		opts.IDParam = "uid2"
	}
	if opts.TimeParam == "" {
		opts.TimeParam = "timestamp"
	}
	journal, err := optoutlog.OpenJournal(optoutlog.JournalOptions{Dir: store.Dir(), Replica: opts.Replica, Now: now, Disk: disk})
	if err != nil {
		return nil, err
	}
	return &intake{opts: opts, store: store, journal: journal, now: now, log: log,
		token: sha256.Sum256([]byte(opts.Token.Reveal()))}, nil
}

// receive handles one request. 200 means that the opt-out is durable and
// served, or that it will never be wanted; the sender stops its whole queue
// for an hour on any other answer but the ones it retries, of which 503 is one.
func (in *intake) receive(r *http.Request) (rep reply, result string) {
	key, ok := bearer(r.Header.Get("Authorization"))
	token := sha256.Sum256([]byte(key))
	if !ok || subtle.ConstantTimeCompare(token[:], in.token[:]) != 1 {
		return unauthorized(), intakeUnauthorized
	}
	query := r.URL.Query()
	id, reason := in.id(query)
	switch reason {
	case schemas.Valid:
	case schemas.ReservedID:
		return reply{status: 200}, intakeSentinel
	default:
		in.log.WarnContext(r.Context(), "opt-out received that is no id of this operator", "reason", string(reason))
		return reply{status: 200}, intakeMalformed
	}
	entry := optoutlog.NewEntry(id, in.second(r.Context(), query))
	if in.known(entry) {
		return reply{status: 200}, intakeRepeated
	}
	if err := in.journal.Append(entry); err != nil {
		in.log.ErrorContext(r.Context(), "opt-out received but not stored; the sender has to repeat it", "error", err)
		return reply{status: http.StatusServiceUnavailable, contentType: typeText, body: []byte("opt-out could not be stored")}, intakeFailed
	}
	in.store.Add(entry)
	return reply{status: 200}, intakeAccepted
}

// id reads the id. A space stands for a plus sign that the sender did not
// escape. The first byte of v4 ids arrives without its two highest bits.
func (in *intake) id(query url.Values) (schemas.ID, schemas.Reason) {
	text := strings.ReplaceAll(query.Get(in.opts.IDParam), " ", "+")
	if id, ok := schemas.ParseText([]byte(text)); ok {
		text = string(optoutlog.RestoreV4(id).AppendText(nil))
	}
	id, _, reason := in.opts.Rules.Parse([]byte(text))
	return id, reason
}

// second reads the time. An opt-out with an unusable time is kept, as of now.
func (in *intake) second(ctx context.Context, query url.Values) int64 {
	now := in.now()
	second, err := strconv.ParseInt(query.Get(in.opts.TimeParam), 10, 64)
	if err != nil || second < 1 || second > now.Add(maxAhead).Unix() {
		in.log.WarnContext(ctx, "opt-out received without a usable time in seconds; the time of receipt is kept")
		return now.Unix()
	}
	return second
}

func (in *intake) known(e optoutlog.Entry) bool {
	snapshot := in.store.Snapshot()
	if snapshot == nil {
		return false
	}
	sinceMS, ok := snapshot.Since(e.ID)
	return ok && sinceMS <= e.Second*1000
}

// rotate moves what was received into a log file.
func (in *intake) rotate(ctx context.Context) error {
	path, err := in.journal.Rotate()
	if err != nil || path == "" {
		return err
	}
	in.log.InfoContext(ctx, "opt-outs received are now in a log file", "file", path)
	return in.store.Settle(ctx)
}
