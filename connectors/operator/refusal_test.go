package operator_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"optsweep/connectors/envelope"
	"optsweep/connectors/operator"
	"optsweep/schemas"
)

// Every answer that ends a check: one attempt, one class, words and a hint.
func TestFinalAnswers(t *testing.T) {
	bad := func(message string) func(reply) bool {
		return func(re reply) bool { return re.badRequest(message) }
	}
	status := func(code int, body string) func(reply) bool {
		return func(re reply) bool { return re.status(code, body) }
	}
	sealed := func(payload string) func(reply) bool {
		return func(re reply) bool { return re.answer(payload) }
	}
	listed := func(id string, since any) func(reply) bool {
		return func(re reply) bool {
			if id == "" {
				id = re.req.ids[0]
			}
			return re.answer(fmt.Sprintf(`{"body":{"opted_out":[{"advertising_id":"%s","opted_out_since":%v}]},"status":"success"}`, id, since))
		}
	}
	const (
		more    = " See https://euid.eu/docs/getting-started/gs-encryption-decryption for details on the request envelope format."
		unasked = "EAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g"
	)
	for name, tc := range map[string]struct {
		answer func(reply) bool
		class  schemas.Class
		words  string
	}{
		"body missing":        {bad("Invalid body: Body is missing."), schemas.Refused, "envelope cannot be read"},
		"not base64":          {bad("Invalid body: Body is not valid base64." + more), schemas.Refused, "envelope cannot be read"},
		"short":               {bad("Invalid body: Body too short. Check encryption method." + more), schemas.Refused, "envelope cannot be read"},
		"version":             {bad("Invalid body: Invalid request envelope format version: received 7, must be 1." + more), schemas.Refused, "envelope cannot be read"},
		"unencrypted":         {bad("Invalid body: The request body is unencrypted JSON. It must be an encrypted request envelope."), schemas.Refused, "envelope cannot be read"},
		"not JSON inside":     {bad("Invalid payload in body: Data is not valid json string."), schemas.Refused, "not understood"},
		"empty inside":        {bad("Invalid request body"), schemas.Refused, "not understood"},
		"parameter missing":   {bad("Required Parameter Missing: advertising_ids"), schemas.Refused, "not understood"},
		"wrong secret":        {bad("Invalid body: Check encryption key (ClientSecret)." + more), schemas.Refused, "client secret does not belong to API key EUID-C-I-123-abcde"},
		"401":                 {status(401, `{"status":"unauthorized"}`), schemas.Refused, "API key EUID-C-I-123-abcde is not accepted"},
		"402":                 {status(402, ""), schemas.Refused, "payment required"},
		"403":                 {status(403, "<html>forbidden</html>"), schemas.Refused, "blocked"},
		"404":                 {status(404, "<html><body><h1>Resource not found</h1></body></html>"), schemas.Refused, "no opt-out status here"},
		"405":                 {status(405, ""), schemas.Refused, "no opt-out status here"},
		"407":                 {status(407, ""), schemas.Refused, "proxy"},
		"418":                 {status(418, "I'm a teapot"), schemas.Refused, "418"},
		"302":                 {status(302, ""), schemas.Refused, "redirects"},
		"204":                 {status(204, ""), schemas.Integrity, "204"},
		"206":                 {status(206, "part"), schemas.Integrity, "206"},
		"200 and nothing":     {status(200, ""), schemas.Integrity, "not authentic"},
		"200 and HTML":        {status(200, "<html>log in to the hotel</html>"), schemas.Integrity, "neither base64"},
		"200 and plain JSON":  {status(200, `{"body":{"opted_out":[]},"status":"success"}`), schemas.Integrity, "neither base64"},
		"200 and noise":       {status(200, base64.StdEncoding.EncodeToString(make([]byte, 300))), schemas.Integrity, "not authentic"},
		"200 without end":     {status(200, strings.Repeat("AAAA", 2<<20)), schemas.Integrity, "larger than"},
		"other secret":        {func(re reply) bool { re.f.cipher = newCipher(otherSecret); return re.answer(re.verdicts()) }, schemas.Integrity, "not authentic"},
		"other nonce":         {func(re reply) bool { return re.answerAs(re.verdicts(), envelope.Nonce{1}, time.Now()) }, schemas.Integrity, "another request"},
		"an hour old":         {func(re reply) bool { return re.answerAs(re.verdicts(), re.req.nonce, time.Now().Add(-time.Hour)) }, schemas.Integrity, "not now"},
		"from the future":     {func(re reply) bool { return re.answerAs(re.verdicts(), re.req.nonce, time.Now().Add(time.Hour)) }, schemas.Integrity, "not now"},
		"time 0":              {func(re reply) bool { return re.answerAs(re.verdicts(), re.req.nonce, time.UnixMilli(0)) }, schemas.Integrity, "not now"},
		"empty inside answer": {sealed(""), schemas.Integrity, "not the JSON"},
		"null":                {sealed("null"), schemas.Integrity, "not the JSON"},
		"no body":             {sealed(`{"status":"success"}`), schemas.Integrity, "no opted_out"},
		"body null":           {sealed(`{"body":null,"status":"success"}`), schemas.Integrity, "not the JSON"},
		"no list":             {sealed(`{"body":{},"status":"success"}`), schemas.Integrity, "no opted_out"},
		"list null":           {sealed(`{"body":{"opted_out":null},"status":"success"}`), schemas.Integrity, "not the JSON"},
		"no status":           {sealed(`{"body":{"opted_out":[]}}`), schemas.Integrity, "no status"},
		"status unknown":      {sealed(`{"body":{"opted_out":[]},"status":"unknown"}`), schemas.Integrity, "not success"},
		"status number":       {sealed(`{"body":{"opted_out":[]},"status":1}`), schemas.Integrity, "not the JSON"},
		"list twice":          {sealed(`{"body":{"opted_out":[],"opted_out":[]},"status":"success"}`), schemas.Integrity, "twice"},
		"body twice":          {sealed(`{"body":{"opted_out":[]},"body":{},"status":"success"}`), schemas.Integrity, "twice"},
		"status twice":        {sealed(`{"body":{"opted_out":[]},"status":"success","status":"success"}`), schemas.Integrity, "twice"},
		"more behind":         {sealed(`{"body":{"opted_out":[]},"status":"success"}{}`), schemas.Integrity, "not the JSON"},
		"cut JSON":            {sealed(`{"body":{"opted_out":[`), schemas.Integrity, "not the JSON"},
		"item a string":       {sealed(`{"body":{"opted_out":["x"]},"status":"success"}`), schemas.Integrity, "not the JSON"},
		"item without time":   {sealed(`{"body":{"opted_out":[{}]},"status":"success"}`), schemas.Integrity, "without"},
		"unasked id":          {listed(unasked, since), schemas.Integrity, "not asked"},
		"id of other form":    {listed("EAECAwQF", since), schemas.Integrity, "not asked"},
		"since 0":             {listed("", 0), schemas.Integrity, "no time in the past"},
		"since negative":      {listed("", -5), schemas.Integrity, "not the JSON"},
		"since in seconds":    {listed("", since/1000), schemas.Integrity, "no time in the past"},
		"since in the future": {listed("", time.Now().Add(48*time.Hour).UnixMilli()), schemas.Integrity, "no time in the past"},
		"since in us":         {listed("", since*1000), schemas.Integrity, "no time in the past"},
		"since too long":      {listed("", "99999999999999999999"), schemas.Integrity, "not the JSON"},
		"since null":          {listed("", "null"), schemas.Integrity, "not the JSON"},
		"since a text":        {listed("", `"1764547200000"`), schemas.Integrity, "not the JSON"},
		"since a float":       {listed("", "1764547200000.5"), schemas.Integrity, "not the JSON"},
		"since octal":         {listed("", "01764547200000"), schemas.Integrity, "not the JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, func(f *fake) { f.script = tc.answer })
			c, s := newClient(t, f)
			answer, err := c.Check(t.Context(), makeIDs(2))
			if schemas.ClassOf(err) != tc.class || !strings.Contains(fmt.Sprint(err), tc.words) {
				t.Fatalf("%v error %q, want %v with %q", schemas.ClassOf(err), err, tc.class, tc.words)
			}
			if schemas.HintOf(err) == "" || strings.Contains(schemas.HintOf(err), "%!") {
				t.Errorf("hint %q", schemas.HintOf(err))
			}
			if answer.AsOfMS != 0 || answer.OptedOut != nil || answer.Rejected != nil {
				t.Error("an error came with an answer")
			}
			if len(f.seen()) != 1 || c.Stats().Retries != 0 {
				t.Errorf("%d requests", len(f.seen()))
			}
			noSecrets(t, fmt.Sprint(err)+schemas.HintOf(err)+s.log.String(), f)
		})
	}
}

// noSecrets checks that what was printed holds no key, secret or id.
func noSecrets(t *testing.T, printed string, f *fake) {
	t.Helper()
	hidden := []string{testSecret, otherSecret, "AAAAAAAA", "BBBBBBBB", "abcdef", "EAECAwQF"}
	for _, r := range f.seen() {
		hidden = append(hidden, r.ids...)
	}
	for _, h := range hidden {
		if strings.Contains(printed, h) {
			t.Errorf("something secret is printed: %s", printed)
			return
		}
	}
}

func newCipher(secret string) *envelope.Cipher {
	c, err := envelope.NewCipher(schemas.NewSecret(secret))
	if err != nil {
		panic(err)
	}
	return c
}

func TestBinaryRefusedByAnOlderOperator(t *testing.T) {
	f := newFake(t, func(f *fake) {
		f.script = func(re reply) bool { return re.badRequest("Invalid body: Body is not valid base64.") }
	})
	c, _ := newClient(t, f, func(s *setup) { s.Binary = true })
	if _, err := c.Check(t.Context(), makeIDs(1)); !strings.Contains(schemas.HintOf(err), "operator.binary") {
		t.Fatalf("hint %q", schemas.HintOf(err))
	}
}

// The operator may treat a binary request as text and answer in text.
func TestTextAnswerToABinaryRequest(t *testing.T) {
	f := newFake(t, func(f *fake) {
		f.script = func(re reply) bool {
			re.r.Header.Set("Content-Type", "text/plain")
			return re.answer(re.verdicts())
		}
	})
	ids := makeIDs(2)
	f.optOut(ids[0])
	c, _ := newClient(t, f, func(s *setup) { s.Binary = true })
	if answer, err := c.Check(t.Context(), ids); err != nil || len(answer.OptedOut) != 1 {
		t.Fatal(err)
	}
}

func TestClockIsReportedInWords(t *testing.T) {
	for _, tc := range []struct {
		name  string
		ahead time.Duration // of the operator
		quiet bool          // no Date header
		words string
	}{
		{"behind", 3 * time.Minute, false, "this machine's clock is 3 min behind the operator's"},
		{"ahead", -2 * time.Hour, false, "this machine's clock is 2 h ahead of the operator's"},
		{"days", 72 * time.Hour, false, "this machine's clock is 3 days behind the operator's"},
		{"unknown", 3 * time.Minute, true, "this machine's clock or the operator's is wrong"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFake(t, func(f *fake) { f.ahead, f.noDate = tc.ahead, tc.quiet })
			c, _ := newClient(t, f)
			_, err := c.Check(t.Context(), makeIDs(1))
			if schemas.ClassOf(err) != schemas.Refused || !strings.Contains(fmt.Sprint(err), tc.words) || !strings.Contains(schemas.HintOf(err), "NTP") {
				t.Fatalf("%v; hint %s", err, schemas.HintOf(err))
			}
			if len(f.seen()) != 2 {
				t.Errorf("%d requests, want one more after the first", len(f.seen()))
			}
			allFresh(t, f.seen())
			if st := c.Stats(); !tc.quiet && (st.ClockSkew+tc.ahead).Abs() > 2*time.Second {
				t.Errorf("skew %s", st.ClockSkew)
			}
		})
	}
}

func TestLateRequestIsStampedAgain(t *testing.T) {
	f := newFake(t, func(f *fake) {
		f.script = func(re reply) bool {
			return re.n == 1 && re.badRequest("Invalid timestamp: Request too old or client time drift.")
		}
	})
	c, s := newClient(t, f)
	if _, err := c.Check(t.Context(), makeIDs(1)); err != nil || len(s.clock.slept) != 0 || c.Stats().Retries != 1 {
		t.Fatal(err)
	}
	f.script = func(re reply) bool { return re.badRequest("Invalid timestamp") }
	_, err := c.Check(t.Context(), makeIDs(1))
	if !strings.Contains(fmt.Sprint(err), "although the clocks agree") {
		t.Fatal(err)
	}
}

func TestSkewedClockWarnsOnce(t *testing.T) {
	f := newFake(t, func(f *fake) { f.ahead = 45 * time.Second })
	c, s := newClient(t, f)
	for range 3 {
		if _, err := c.Check(t.Context(), makeIDs(1)); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(s.log.String(), "45 s behind"); n != 1 {
		t.Errorf("%d warnings", n)
	}
}

func TestRotatedKeysAreReadAgain(t *testing.T) {
	for name, next := range map[string]operator.Credentials{
		"key":    credentials(otherKey, testSecret),
		"secret": credentials(testKey, otherSecret+"\n"),
		"both":   credentials(otherKey, otherSecret),
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			rotated := false
			c, s := newClient(t, f, func(s *setup) {
				s.Credentials = func(context.Context) (operator.Credentials, error) {
					s.loads.Add(1)
					if rotated {
						return next, nil
					}
					return credentials(testKey, testSecret), nil
				}
			})
			if _, err := c.Check(t.Context(), makeIDs(5)); err != nil {
				t.Fatal(err)
			}
			rotated = true
			f.key = strings.TrimSpace(next.APIKey.Reveal())
			f.cipher = newCipher(strings.TrimSpace(next.ClientSecret.Reveal()))
			for range 2 {
				if _, err := c.Check(t.Context(), makeIDs(5)); err != nil {
					t.Fatal(err)
				}
			}
			if s.loads.Load() != 2 || len(f.seen()) != 4 {
				t.Errorf("read %d times, %d requests", s.loads.Load(), len(f.seen()))
			}
			noSecrets(t, s.log.String(), f)
		})
	}
}

func TestRefusedKeyIsReadOnceMore(t *testing.T) {
	f := newFake(t, func(f *fake) { f.key = otherKey })
	c, s := newClient(t, f)
	_, err := c.Check(t.Context(), makeIDs(5))
	if schemas.ClassOf(err) != schemas.Refused || s.loads.Load() != 2 || len(f.seen()) != 1 {
		t.Errorf("%v, read %d times, %d requests", err, s.loads.Load(), len(f.seen()))
	}

	// New credentials that do not work either: no third reading.
	f = newFake(t, func(f *fake) { f.key = "neither" })
	c, s = newClient(t, f, func(s *setup) {
		s.Credentials = func(context.Context) (operator.Credentials, error) {
			return credentials([]string{testKey, otherKey, "neither"}[min(s.loads.Add(1), 3)-1], testSecret), nil
		}
	})
	_, err = c.Check(t.Context(), makeIDs(5))
	if schemas.ClassOf(err) != schemas.Refused || s.loads.Load() != 2 || len(f.seen()) != 2 {
		t.Errorf("%v, read %d times, %d requests", err, s.loads.Load(), len(f.seen()))
	}
}

func TestOlderKeyIsNamedByItsFingerprint(t *testing.T) {
	const old = "an-older-key-without-a-name"
	f := newFake(t)
	c, _ := newClient(t, f, func(s *setup) {
		s.Credentials = func(context.Context) (operator.Credentials, error) { return credentials(old, testSecret), nil }
	})
	_, err := c.Check(t.Context(), makeIDs(1))
	if want := operator.KeyFingerprint(schemas.NewSecret(old)); !strings.Contains(fmt.Sprint(err), want) || strings.Contains(fmt.Sprint(err), "older") {
		t.Error(err)
	}
}

func TestKeyOfAnotherScopeIsNamedInTheHint(t *testing.T) {
	f := newFake(t, func(f *fake) { f.key = otherKey })
	c, _ := newClient(t, f, func(s *setup) { s.Environment = schemas.Production })
	_, err := c.Check(t.Context(), makeIDs(1))
	if hint := schemas.HintOf(err); hint != "the API key is of EUID integration, the job is about EUID production" {
		t.Errorf("hint %q", hint)
	}
}

func TestUnreadableCredentials(t *testing.T) {
	broken := errors.New("no such file")
	for name, tc := range map[string]struct {
		credentials operator.Credentials
		err         error
	}{
		"source fails":    {err: broken},
		"no key":          {credentials: credentials(" \n", testSecret)},
		"two lines":       {credentials: credentials(testKey+"\n"+otherKey, testSecret)},
		"secret no good":  {credentials: credentials(testKey, "c2hvcnQ=")},
		"secret is empty": {credentials: credentials(testKey, "")},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			c, _ := newClient(t, f, func(s *setup) {
				s.Credentials = func(context.Context) (operator.Credentials, error) { return tc.credentials, tc.err }
			})
			_, err := c.Check(t.Context(), makeIDs(1))
			if tc.err != nil && !errors.Is(err, broken) || tc.err == nil && schemas.ClassOf(err) != schemas.Usage || len(f.seen()) != 0 {
				t.Fatal(err)
			}
			noSecrets(t, fmt.Sprint(err), f)
		})
	}
}

func TestErrorBodyIsReadOnlySoFar(t *testing.T) {
	f := newFake(t, func(f *fake) {
		f.script = func(re reply) bool {
			if re.n > 1 {
				return false
			}
			re.w.WriteHeader(503)
			for range 200 {
				if _, err := io.WriteString(re.w, strings.Repeat("x", 1<<16)); err != nil {
					return true // the client has hung up
				}
			}
			t.Error("12 MB of error page were read")
			return true
		}
	})
	c, _ := newClient(t, f)
	if _, err := c.Check(t.Context(), makeIDs(1)); err != nil {
		t.Fatal(err)
	}
}

func TestHeaderFloodIsRetriedNotRead(t *testing.T) {
	f := newFake(t, func(f *fake) {
		f.script = func(re reply) bool {
			if re.n == 1 {
				for i := range 100 {
					re.w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 1000))
				}
			}
			return false
		}
	})
	c, _ := newClient(t, f)
	if _, err := c.Check(t.Context(), makeIDs(1)); err != nil || len(f.seen()) != 2 {
		t.Fatal(err)
	}
}
