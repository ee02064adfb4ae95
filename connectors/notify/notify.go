package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"optsweep/connectors/delivery"
	"optsweep/schemas"
)

// Signature is the header that proves where a message comes from.
const Signature = "X-Optsweep-Signature"

// Receiver is somebody who wants to be told of events.
type Receiver struct {
	URL    schemas.Secret
	Slack  bool           // {"text": ...} instead of the notice itself
	Secret schemas.Secret // signs; zero: no signature
	On     []string       // events
	Sender *delivery.Sender
	Now    func() time.Time
}

// Started tells nothing: a run that starts is no news.
func (Receiver) Started(context.Context, schemas.RunStart) error { return nil }

// Ended tells what there is to tell of a run.
func (r Receiver) Ended(ctx context.Context, e schemas.RunEnd) error { return r.Tell(ctx, e.Notices) }

// Tell sends those of the notices, which are about one run, that the receiver
// wants.
func (r Receiver) Tell(ctx context.Context, notices []schemas.Notice) error {
	var errs []error
	for _, n := range r.wanted(notices) {
		errs = append(errs, r.send(ctx, n))
	}
	return errors.Join(errs...)
}

// wanted leaves out that a run failed if the receiver is told the cause, too.
func (r Receiver) wanted(notices []schemas.Notice) (list []schemas.Notice) {
	cause := false
	for _, n := range notices {
		if slices.Contains(r.On, n.Event) {
			list = append(list, n)
			cause = cause || slices.Contains([]string{schemas.NoticeCanary, schemas.NoticeLimit, schemas.NoticeQuarantine}, n.Event)
		}
	}
	if cause {
		list = slices.DeleteFunc(list, func(n schemas.Notice) bool { return n.Event == schemas.NoticeFailed })
	}
	return list
}

func (r Receiver) send(ctx context.Context, n schemas.Notice) error {
	var content any = n
	if r.Slack {
		content = map[string]string{"text": slackText(n)}
	}
	body, err := json.Marshal(content)
	if err != nil {
		return err
	}
	return r.Sender.Send(ctx, delivery.Message{
		Method: http.MethodPost, URL: r.URL, Type: "application/json", Body: body,
		Header: func(h http.Header) {
			if !r.Secret.IsZero() {
				h.Set(Signature, Sign(r.Secret, r.Now(), body))
			}
		},
	})
}

func slackText(n schemas.Notice) string {
	return "optsweep: " + n.Event + ": " + strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(n.Message)
}

// Sign makes the value of the header Signature: "t=SECONDS,v1=HEX", where HEX
// is the HMAC-SHA-256 of the Unix time, a full stop and the body, under secret.
func Sign(secret schemas.Secret, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac(secret, t, body))
}

func mac(secret schemas.Secret, t string, body []byte) []byte {
	h := hmac.New(sha256.New, []byte(secret.Reveal()))
	h.Write([]byte(t + "."))
	h.Write(body)
	return h.Sum(nil)
}

// Verify is for receivers: it tells whether header proves that body comes from
// one who knows secret, and was sent no longer ago than tolerance.
func Verify(secret schemas.Secret, header string, body []byte, now time.Time, tolerance time.Duration) error {
	t, sum, ok := strings.Cut(header, ",v1=")
	t, isTime := strings.CutPrefix(t, "t=")
	seconds, err := strconv.ParseInt(t, 10, 64)
	got, hexErr := hex.DecodeString(sum)
	if !ok || !isTime || err != nil || hexErr != nil {
		return errors.New("the signature is not of the form t=SECONDS,v1=HEX")
	}
	if !hmac.Equal(got, mac(secret, t, body)) {
		return errors.New("the signature is not that of this body under this secret")
	}
	if age := now.Sub(time.Unix(seconds, 0)).Abs(); age > tolerance {
		return fmt.Errorf("the message is %s old", age.Round(time.Second))
	}
	return nil
}
