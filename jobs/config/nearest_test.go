package config

import "testing"

func TestNearest(t *testing.T) {
	words := []string{"api_key", "client_secret", "ca_file", "kind"}
	for _, c := range [][2]string{
		{"apikey", "api_key"}, {"API-KEY", "api_key"}, {"api_kye", "api_key"}, {"clientSecert", "client_secret"},
		{"secret", ""}, {"kid", "kind"}, {"kidn", "kind"}, {"k", ""}, {"", ""}, {"cafile", "ca_file"}, {"bigquery", ""},
	} {
		if got := nearest(c[0], words); got != c[1] {
			t.Errorf("%q: got %q, want %q", c[0], got, c[1])
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"abc", "ab", 1}, {"kitten", "sitting", 3}, {"ca", "abc", 3}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("%q to %q: got %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
