package operator

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"optsweep/schemas"
)

// DefaultURL is the public operator of a scope and environment (docs,
// "Environments"); empty if there is none.
func DefaultURL(scope schemas.Scope, environment schemas.Environment) string {
	switch {
	case scope == schemas.EUID && environment == schemas.Production:
		return "https://prod.euid.eu"
	case scope == schemas.EUID && environment == schemas.Integration:
		return "https://integ.euid.eu"
	case scope == schemas.UID2 && environment == schemas.Production:
		return "https://global.prod.uidapi.com"
	case scope == schemas.UID2 && environment == schemas.Integration:
		return "https://operator-integ.uidapi.com"
	}
	return ""
}

// publicHost tells what is known of a host name. Every host under the two
// domains belongs to a public deployment; the environment is known of those
// that the docs list and is empty for others.
func publicHost(host string) (scope schemas.Scope, environment schemas.Environment, ok bool) {
	switch host {
	case "prod.euid.eu":
		return schemas.EUID, schemas.Production, true
	case "integ.euid.eu":
		return schemas.EUID, schemas.Integration, true
	case "global.prod.uidapi.com", "prod.uidapi.com", "usw.prod.uidapi.com",
		"au.prod.uidapi.com", "jp.prod.uidapi.com", "sg.prod.uidapi.com":
		return schemas.UID2, schemas.Production, true
	case "operator-integ.uidapi.com":
		return schemas.UID2, schemas.Integration, true
	}
	switch {
	case host == "euid.eu" || strings.HasSuffix(host, ".euid.eu"):
		return schemas.EUID, "", true
	case host == "uidapi.com" || strings.HasSuffix(host, ".uidapi.com"):
		return schemas.UID2, "", true
	}
	return "", "", false
}

// NormalizeURL reads the base URL of an operator. The docs print it with and
// without /v2, so trailing slashes, /v2 and the whole path of the endpoint are
// taken off; other paths stay, for operators behind a gateway.
func NormalizeURL(raw string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(raw))
	refuse := func(what string) (*url.URL, error) { // err and raw might hold a password
		return nil, schemas.Errorf(schemas.Usage, "operator URL %s", what).
			WithHint("write it like https://operator.example.com")
	}
	switch {
	case err != nil:
		return refuse("is not a URL")
	case u.Scheme != "https" && u.Scheme != "http":
		return refuse("does not start with https://")
	case u.Hostname() == "":
		return refuse("names no host")
	case u.User != nil:
		return refuse("must not hold a user name or password")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return refuse("must not have a query or fragment")
	}
	return &url.URL{Scheme: u.Scheme, Host: strings.ToLower(u.Host), Path: basePath(u.Path)}, nil
}

func basePath(path string) string {
	for {
		shorter := strings.TrimRight(path, "/")
		shorter = strings.TrimSuffix(shorter, "/v2/optout/status")
		shorter = strings.TrimSuffix(shorter, "/v2")
		if shorter == path {
			return path
		}
		path = shorter
	}
}

// BaseURL finds out where the operator of o is and refuses addresses that
// cannot be right, all as schemas.Usage errors: a public host of another scope
// or environment (which would answer "not opted out" to every id), a public
// host that is called private, plain http over a network.
func BaseURL(o Options) (*url.URL, error) {
	if o.Kind != Public && o.Kind != Private {
		return nil, schemas.Errorf(schemas.Usage, "operator kind %q is neither %s nor %s", o.Kind, Public, Private)
	}
	if _, err := schemas.ParseScope(string(o.Scope)); err != nil {
		return nil, schemas.Errorf(schemas.Usage, "operator: %w", err)
	}
	if _, err := schemas.ParseEnvironment(string(o.Environment)); err != nil {
		return nil, schemas.Errorf(schemas.Usage, "operator: %w", err)
	}
	raw := o.URL
	if raw == "" {
		if o.Kind == Private {
			return nil, schemas.Errorf(schemas.Usage, "a private operator has no default address").
				WithHint("set operator.url")
		}
		raw = DefaultURL(o.Scope, o.Environment)
	}
	u, err := NormalizeURL(raw)
	if err != nil {
		return nil, err
	}
	if err := o.checkHost(u); err != nil {
		return nil, err
	}
	return u, nil
}

func (o *Options) checkHost(u *url.URL) error {
	host := strings.TrimSuffix(u.Hostname(), ".")
	if u.Scheme == "http" && !isLoopback(host) && !named(o.AllowPlainHTTP, host) {
		return schemas.Errorf(schemas.Usage, "plain http to %s would show the API key to the network", host).
			WithHint("use https, or allow plain http to this host by name")
	}
	scope, environment, public := publicHost(host)
	if !public {
		return nil
	}
	if o.Kind == Private {
		return schemas.Errorf(schemas.Usage, "%s is a public operator and must be asked over one connection", host).
			WithHint("set operator.kind to public")
	}
	if named(o.AllowHosts, host) {
		return nil
	}
	if scope != o.Scope || environment != "" && environment != o.Environment {
		return schemas.Errorf(schemas.Usage, "%s belongs to %s, the job is about %s",
			host, describe(scope, environment), describe(o.Scope, o.Environment)).
			WithHint("use %s, or correct scope and environment", DefaultURL(o.Scope, o.Environment))
	}
	return nil
}

func describe(scope schemas.Scope, environment schemas.Environment) string {
	return strings.TrimSpace(strings.ToUpper(string(scope)) + " " + string(environment))
}

func named(hosts []string, host string) bool {
	return slices.ContainsFunc(hosts, func(h string) bool {
		return strings.EqualFold(strings.TrimSuffix(h, "."), host)
	})
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// under is the URL of path below base.
func under(base *url.URL, path string) *url.URL {
	u := *base
	u.Path += path
	return &u
}
