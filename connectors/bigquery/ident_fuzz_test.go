package bigquery

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// unquote reads one quoted token at the start of text, as the lexical
// structure of GoogleSQL has it: a backslash takes the next character with it,
// and no line ends within. ok is false if the token does not end.
func unquote(text string, quote byte) (value, rest string, ok bool) {
	if text == "" || text[0] != quote {
		return "", text, false
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; c {
		case quote:
			return b.String(), text[i+1:], true
		case '\n', '\r':
			return "", text, false
		case '\\':
			if i++; i == len(text) {
				return "", text, false
			}
			switch text[i] {
			case 'n':
				b.WriteByte('\n')
			case 'r':
				b.WriteByte('\r')
			case '\\', '\'', '`':
				b.WriteByte(text[i])
			default:
				return "", text, false
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", text, false
}

func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "a", "`", "\\", "\\`", "'", "a\nb", "\r\n", "--", "'; DROP TABLE t; --", "`.`", "\u2028", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		const rest = " AS t"
		if got, tail, ok := unquote(quote(s)+rest, '`'); !ok || got != s || tail != rest {
			t.Errorf("identifier %q: read as %q, then %q", s, got, tail)
		}
		if got, tail, ok := unquote(literal(s)+rest, '\''); !ok || got != s || tail != rest {
			t.Errorf("literal %q: read as %q, then %q", s, got, tail)
		}
	})
}

// unsafe are characters that could end a quoted name, or a line.
const unsafe = "`'\"\\\n\r\t;"

func FuzzParseTable(f *testing.F) {
	for _, s := range []string{"p.d.t", "example.com:p.d.t", "p.d.tä ble-1", "p.d", "a.b.c.d", "p.d.t`", "p.d.$x", "p:q.r.d.t", "p.d.t*", "1.2.3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if r, err := ParseTable(s); err == nil {
			if r.String() != s || strings.ContainsAny(s, unsafe) || !utf8.ValidString(s) {
				t.Errorf("%q is taken for %+v", s, r)
			}
			if again, err := ParseTable(r.String()); err != nil || again != r {
				t.Errorf("%q: then %+v, %v", s, again, err)
			}
			if got := r.sql(); strings.Count(got, "`") != 6 || strings.Contains(got, "\\") {
				t.Errorf("%q in SQL: %s", s, got)
			}
		}
		if r, err := ParseDataset(s); err == nil {
			if r.String() != s || r.Table != "" || strings.ContainsAny(s, unsafe) {
				t.Errorf("%q is taken for %+v", s, r)
			}
			if table, err := ParseTable(s + ".t"); err != nil || table != r.In("t") {
				t.Errorf("%q with a table: %+v, %v", s, table, err)
			}
		}
	})
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"euid", "a.b", "ids[]", "ids[].value", "a[].b[].c", "", ".", "a..b", "a[]]", "1a", "ä", "a b", "a`",
		strings.Repeat("ä", maxField), strings.Repeat("a", maxField+1)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePath(s)
		if (err == nil) != (CheckColumn(s) == nil) {
			t.Errorf("%q: CheckColumn and parsePath differ", s)
		}
		if err != nil {
			return
		}
		for _, x := range p {
			if n := utf8.RuneCountInString(x.name); n == 0 || n > maxField {
				t.Errorf("%q: a name of %d characters is taken", s, n)
			}
		}
		if p.String() != s || strings.ContainsAny(s, unsafe+" ") || !utf8.ValidString(s) {
			t.Errorf("%q is taken for %s", s, p)
		}
		if repeated := strings.Contains(s, "[]"); p.scalar() == repeated {
			t.Errorf("%q: scalar %t", s, p.scalar())
		}
	})
}
