package config

import (
	"fmt"
	"math"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/goccy/go-yaml/ast"
)

// text reads a string.
func (v value) text() (string, bool) {
	if !v.present() || !v.plain() {
		return "", false
	}
	var s string
	switch node := v.node.(type) {
	case *ast.StringNode:
		s = node.Value
	case *ast.LiteralNode:
		s = node.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		v.fail("must be text", "put it in quotes")
		return "", false
	default:
		v.fail("must be text", "")
		return "", false
	}
	if s == "" {
		v.fail("is empty", "")
		return "", false
	}
	if strings.ContainsFunc(s, unicode.IsControl) {
		v.fail("holds a line break or another control character", "write it on one line")
		return "", false
	}
	return s, true
}

// measure reads a number with its unit, such as 5% or 1GiB: text, or a number
// whose unit was forgotten.
func (v value) measure() (string, bool) {
	switch node := v.node.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
		return node.GetToken().Value, true
	}
	return v.text()
}

// sql reads text that may have several lines.
func (v value) sql() string {
	if v.present() {
		if literal, ok := v.node.(*ast.LiteralNode); ok {
			text := strings.TrimSpace(literal.Value.Value)
			if text == "" {
				v.fail("is empty", "")
			}
			return text
		}
	}
	s, _ := v.text()
	return s
}

// amount reads a number such as 6.25.
func (v value) amount(fallback float64) float64 {
	if !v.present() || !v.plain() {
		return fallback
	}
	switch v.node.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
		if n, err := strconv.ParseFloat(v.node.GetToken().Value, 64); err == nil && n >= 0 && n < 1e6 {
			return n
		}
	}
	v.fail("must be a number, such as 6.25", "")
	return fallback
}

// matching reads text of a given shape.
func (v value) matching(shape *regexp.Regexp, want string) string {
	s, ok := v.text()
	if ok && !shape.MatchString(s) {
		v.fail("must be "+want, "")
		return ""
	}
	return s
}

// oneOf reads one of a few words.
func (v value) oneOf(words ...string) string {
	s, ok := v.text()
	if !ok || slices.Contains(words, s) {
		return s
	}
	hint := ""
	if near := nearest(s, words); near != "" {
		hint = fmt.Sprintf("did you mean %s?", near)
	}
	v.fail("must be "+strings.Join(words, " or "), hint)
	return ""
}

func (v value) boolean() bool {
	if !v.present() || !v.plain() {
		return false
	}
	if b, ok := v.node.(*ast.BoolNode); ok {
		return b.Value
	}
	v.fail("must be true or false", "")
	return false
}

// version accepts 1, the only version of the file so far.
func (v value) version() {
	if !v.present() {
		return
	}
	if node, ok := v.node.(*ast.IntegerNode); !ok || node.GetToken().Value != "1" {
		v.fail("must be 1", "this program reads version 1 of the job file")
	}
}

// integer reads a whole number from low to high.
func (v value) integer(low, high int) int {
	if !v.present() || !v.plain() {
		return 0
	}
	if node, ok := v.node.(*ast.IntegerNode); ok {
		if n, err := strconv.Atoi(node.GetToken().Value); err == nil && n >= low && n <= high {
			return n
		}
	}
	v.fail(fmt.Sprintf("must be a whole number from %d to %d", low, high), "")
	return 0
}

// items reads a list.
func (v value) items() []value {
	if !v.present() || !v.plain() {
		return nil
	}
	list, ok := v.node.(*ast.SequenceNode)
	if !ok {
		v.fail("must be a list", `start each item with "- "`)
		return nil
	}
	if len(list.Values) == 0 {
		v.fail("is empty", "")
	}
	items := make([]value, 0, len(list.Values))
	for i, node := range list.Values {
		item := v
		item.key = fmt.Sprintf("%s[%d]", v.key, i)
		if node == nil {
			item.fail("has no value", "")
			continue
		}
		items = append(items, at(item, node))
	}
	return items
}

// number is what stands before a unit.
var number = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)

// percent reads "5%"; fallback if there is none.
func (v value) percent(fallback Percent) Percent {
	s, ok := v.measure()
	if !ok {
		return fallback
	}
	digits, unit := strings.CutSuffix(s, "%")
	n, err := strconv.ParseFloat(digits, 64)
	if !unit || !number.MatchString(digits) || err != nil || n > 100 {
		v.fail("must be a share from 0% to 100%", "such as 1% or 0.5%")
		return fallback
	}
	return Percent(n)
}

var byteUnits = []struct {
	name string
	size float64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
}

// size reads a number of bytes such as "512MiB", at least low.
func (v value) size(fallback, low int64) int64 {
	s, ok := v.measure()
	if !ok {
		return fallback
	}
	for _, unit := range byteUnits {
		digits, found := strings.CutSuffix(s, unit.name)
		digits = strings.TrimSuffix(digits, " ")
		if !found || !number.MatchString(digits) {
			continue
		}
		n, err := strconv.ParseFloat(digits, 64)
		if bytes := n * unit.size; err == nil && bytes >= float64(low) && bytes < math.MaxInt64 {
			return int64(bytes)
		}
		v.fail(fmt.Sprintf("must be at least %dMiB", low>>20), "")
		return fallback
	}
	v.fail("must be a size in KiB, MiB, GiB, TiB, KB, MB, GB or TB", "such as 512MiB or 2GiB")
	return fallback
}

// duration reads "90m", "20h" or "2d".
func (v value) duration(fallback time.Duration) time.Duration {
	s, ok := v.measure()
	if !ok {
		return fallback
	}
	d, err := time.ParseDuration(s)
	if days, found := strings.CutSuffix(s, "d"); found {
		var n int
		n, err = strconv.Atoi(days)
		if n > maxDays {
			n = 0
		}
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d <= 0 {
		v.fail("must be a time span", "such as 90m, 20h or 2d")
		return fallback
	}
	return d
}

const maxDays = 3650

// path reads a file or folder name; a relative one belongs to the folder of
// the job file.
func (v value) path() string {
	s, ok := v.localPath()
	if !ok {
		return ""
	}
	if filepath.IsAbs(s) {
		return filepath.Clean(s)
	}
	return filepath.Join(v.r.baseDir, s)
}

func (v value) localPath() (string, bool) {
	s, ok := v.text()
	switch {
	case !ok:
		return "", false
	case strings.Contains(s, "://"):
		v.fail("must be a path on this machine", "")
	case strings.HasPrefix(s, "~"):
		v.fail("~ is not expanded here", "write the whole path")
	case strings.Contains(s, "${"):
		v.fail("variables are not expanded here", "write the whole path")
	default:
		return s, true
	}
	return "", false
}

// pattern reads a path that may hold the wild cards of doublestar.
func (v value) pattern() string {
	s, ok := v.localPath()
	if !ok {
		return ""
	}
	if strings.HasSuffix(s, "/") {
		v.fail("names a folder", "say which files of it: "+`add "**/*.parquet"`)
		return ""
	}
	if !doublestar.ValidatePathPattern(s) {
		v.fail("is not a valid pattern", `brackets and braces must be closed; "\" takes the meaning from the next character`)
		return ""
	}
	if filepath.IsAbs(s) {
		return filepath.Clean(s)
	}
	return filepath.Join(wildcards.Replace(v.r.baseDir), s)
}

// wildcards takes the meaning from the special characters of a pattern.
var wildcards = strings.NewReplacer(
	`*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`, `{`, `\{`, `}`, `\}`)

// url reads the base URL of an operator, without a trailing "/" or "/v2": the
// docs print base URLs both with and without it. Plain HTTP to another machine
// must be allowed by host. The value is never repeated in a message: it could hold a password.
func (v value) url(plainHTTP []string) string {
	s, ok := v.text()
	if !ok {
		return ""
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		v.fail("must be a URL", "such as https://prod.euid.eu")
	case u.User != nil:
		v.fail("must not hold a user name or password", "keys belong in api_key and client_secret")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		v.fail("must not hold a query or a fragment", "give the base URL, such as https://prod.euid.eu")
	case u.Scheme == "http" && !onThisMachine(u.Hostname()) && !slices.Contains(plainHTTP, strings.ToLower(u.Hostname())):
		v.fail("plain HTTP would show the API key to the network",
			"use https, or list the host under operator.allow_plain_http if the way there is safe")
	default:
		path := strings.TrimRight(u.Path, "/")
		u.Path = strings.TrimRight(strings.TrimSuffix(path, "/v2"), "/")
		u.RawPath, u.Host = "", strings.ToLower(u.Host)
		return u.String()
	}
	return ""
}

func onThisMachine(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`)

// hosts reads a list of host names or IP addresses, in lower case.
func (v value) hosts() []string {
	var hosts []string
	for _, item := range v.items() {
		host, ok := item.text()
		if !ok {
			continue
		}
		if _, err := netip.ParseAddr(host); err != nil && !hostName.MatchString(host) {
			item.fail("must be a host name or an IP address, without scheme and port", "")
			continue
		}
		hosts = append(hosts, strings.ToLower(host))
	}
	return hosts
}

// columnName reads the name of a column.
func (v value) columnName() string {
	s, _ := v.text()
	return s
}

// textOrList reads text where a list may stand instead; single is false then.
func (v value) textOrList() (s string, single bool) {
	if _, list := v.node.(*ast.SequenceNode); list {
		return "", false
	}
	s, _ = v.text()
	return s, true
}
