package config

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"optsweep/schemas"
)

// Signals say who is told about runs. They change nothing that a run finds.
type Signals struct {
	Metrics   Metrics
	Lineage   Lineage
	Tracing   Tracing
	Heartbeat Heartbeat
	Notify    []Notify
}

// None tells whether nobody is told.
func (s Signals) None() bool {
	return s.Metrics == Metrics{} && s.Lineage == Lineage{} && s.Tracing == Tracing{} && s.Heartbeat == Heartbeat{} && len(s.Notify) == 0
}

// Metrics say where the figures of runs go, in the format of Prometheus.
type Metrics struct {
	Textfile    string // of node_exporter; may be empty
	Pushgateway Address
}

// Lineage says where OpenLineage events go.
type Lineage struct {
	File      string // one event a line, appended; may be empty
	URL       Address
	APIKey    SecretRef
	Namespace string // of the job
}

// DefaultNamespace is the OpenLineage namespace of jobs.
const DefaultNamespace = "optsweep"

// Tracing says where spans go: OTLP over HTTP, as JSON.
type Tracing struct {
	Endpoint      Address
	Authorization SecretRef // value of the header of that name
}

// Heartbeat is a dead man's switch, told at the start and the end of runs.
type Heartbeat struct {
	URL    Address // success; start and failure are /start and /fail below it
	Start  Address // instead of URL/start
	Fail   Address // instead of URL/fail
	Method string  // GET or POST
}

// NotifyKind is the shape of a message.
type NotifyKind string

// The kinds of receivers.
const (
	Webhook NotifyKind = "webhook" // JSON of schemas.Notice, signed
	Slack   NotifyKind = "slack"   // what Slack and those like it take
)

// Notify is somebody who wants to be told of events.
type Notify struct {
	Kind   NotifyKind
	URL    Address
	Secret SecretRef // signs messages of kind webhook; zero: they are not signed
	On     []string  // of schemas.NoticeEvents
}

// Address is a URL, or the place of one that must not be shown. It is zero if
// there is none.
type Address struct {
	URL string
	Ref SecretRef
}

// IsZero tells whether there is no address.
func (a Address) IsZero() bool { return a == Address{} }

// Resolve gives the URL. One from another place is checked as late as that;
// errors name the place. The warning is that of SecretRef.Resolve.
func (a Address) Resolve(getenv func(string) (string, bool)) (address schemas.Secret, warning string, err error) {
	if a.URL != "" {
		return schemas.NewSecret(a.URL), "", nil
	}
	address, warning, err = a.Ref.Resolve(getenv)
	if err != nil {
		return schemas.Secret{}, warning, err
	}
	if _, problem := receiver(address.Reveal()); problem != "" {
		return schemas.Secret{}, warning, schemas.Errorf(schemas.Usage, "the URL in %s %s", a.Ref, problem)
	}
	return address, warning, nil
}

// receiver parses the URL of a receiver and says what is wrong with it.
func receiver(s string) (u *url.URL, problem string) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, "must be a URL, such as https://example.com/path"
	case u.Scheme == "http" && !onThisMachine(u.Hostname()):
		return nil, "must be https: plain HTTP is for this machine only"
	case u.Fragment != "":
		return nil, "must not hold a fragment"
	}
	return u, ""
}

// signals reads who is told about runs.
func signals(s *section) Signals {
	var out Signals
	m := s.optional("metrics").section()
	textfile := m.optional("textfile")
	out.Metrics = Metrics{Textfile: textfile.path(), Pushgateway: m.optional("pushgateway").address()}
	if name := out.Metrics.Textfile; name != "" && !strings.HasSuffix(name, ".prom") {
		textfile.fail("must end in .prom", "node_exporter reads no other files")
	}
	m.atLeastOne("textfile", "pushgateway")
	m.done()

	l := s.optional("lineage").section()
	out.Lineage = Lineage{
		File: l.optional("file").path(), URL: l.optional("url").address(), APIKey: l.optional("api_key").secretRef(),
		Namespace: l.optional("namespace").matching(namespace, "1 to 200 letters, digits and any of ._:/-"),
	}
	if _, given := l.entries["url"]; !given {
		l.refuse("is for url only", "remove it", "api_key")
	}
	l.atLeastOne("file", "url")
	l.done()
	if out.Lineage.Namespace == "" && (out.Lineage.File != "" || !out.Lineage.URL.IsZero()) {
		out.Lineage.Namespace = DefaultNamespace
	}

	t := s.optional("tracing").section()
	out.Tracing = Tracing{Endpoint: t.required("endpoint").address(), Authorization: t.optional("authorization").secretRef()}
	t.done()

	out.Heartbeat = heartbeat(s.optional("heartbeat").section())
	if v := s.optional("notify"); v.present() && !isEmptyList(v.node) {
		for _, item := range v.items() {
			out.Notify = append(out.Notify, notify(item.section()))
		}
	}
	return out
}

var namespace = regexp.MustCompile(`^[A-Za-z0-9._:/-]{1,200}$`)

func isEmptyList(node ast.Node) bool {
	list, ok := node.(*ast.SequenceNode)
	return ok && len(list.Values) == 0
}

// atLeastOne reports a section that has none of the keys.
func (s *section) atLeastOne(keys ...string) {
	if !s.at.present() {
		return
	}
	for _, key := range keys {
		if _, given := s.entries[key]; given {
			return
		}
	}
	s.at.fail("says no place", "give it "+strings.Join(keys, " or "))
}

func heartbeat(s *section) Heartbeat {
	h := Heartbeat{
		URL: s.optional("url").address(), Start: s.optional("start").address(), Fail: s.optional("fail").address(),
		Method: s.optional("method").oneOf("GET", "POST"),
	}
	s.atLeastOne("url", "start", "fail")
	s.done()
	if h.Method == "" && s.at.present() {
		h.Method = "GET"
	}
	return h
}

func notify(s *section) Notify {
	kind, at := s.required("kind"), s.required("url")
	n := Notify{Kind: NotifyKind(kind.oneOf(string(Webhook), string(Slack))), URL: at.address(), Secret: s.optional("secret").secretRef()}
	if n.Kind == Slack {
		if n.URL.URL != "" {
			at.fail("is itself a secret: who knows it can write to the channel", "write url: {env: NAME} or url: {file: PATH}")
		}
		s.refuse("is only for kind webhook", "remove it", "secret")
	}
	for _, item := range s.required("on").items() {
		event := item.oneOf(schemas.NoticeEvents()...)
		if slices.Contains(n.On, event) {
			item.fail(fmt.Sprintf("%s is there already", event), "remove one of the two")
		}
		n.On = append(n.On, event)
	}
	s.done()
	return n
}

// address reads a URL, or a reference to one. Nothing of a URL is ever
// repeated: it could hold a secret, although it must not.
func (v value) address() Address {
	if !v.present() {
		return Address{}
	}
	if _, mapping := v.node.(ast.MapNode); mapping {
		return Address{Ref: v.secretRef()}
	}
	s, ok := v.text()
	if !ok {
		return Address{}
	}
	u, problem := receiver(s)
	switch {
	case problem != "":
		v.fail(problem, "")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery:
		v.fail("must not hold a user name, a password or a query", "put such a URL elsewhere and write {env: NAME} or {file: PATH}")
	default:
		return Address{URL: s}
	}
	return Address{}
}
