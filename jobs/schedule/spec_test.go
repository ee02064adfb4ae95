package schedule

import (
	"archive/zip"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"optsweep/schemas"
)

func mustParse(t testing.TB, cron, zone string) Spec {
	t.Helper()
	s, err := Parse(cron, zone)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fires are all fires in [from, to).
func fires(s Spec, from, to time.Time) (all []time.Time) {
	for f := s.Next(from.Add(-1)); !f.IsZero() && f.Before(to); f = s.Next(f) {
		all = append(all, f)
	}
	return all
}

// slow finds the fires of a time minute by minute: it looks which times the
// clock on the wall shows, and when, from before on.
func slow(s Spec, before, from, to time.Time) (all []time.Time) {
	wallOf := func(at time.Time) time.Time { return at.Add(offset(at.In(s.Zone))) }
	matches := func(wall time.Time) bool { return s.Cron.wall.Next(wall.Add(-1)).Equal(wall) }
	shown := map[time.Time]bool{}
	add := func(at time.Time) {
		if !slices.ContainsFunc(all, at.Equal) {
			all = append(all, at)
		}
	}
	last := wallOf(before).Add(-time.Minute)
	for at := before; at.Before(to); at = at.Add(time.Minute) {
		wall := wallOf(at)
		for left := last.Add(time.Minute); left.Before(wall); left = left.Add(time.Minute) {
			if matches(left) && !s.Cron.hourly && !at.Before(from) {
				add(at)
			}
			shown[left] = true
		}
		if matches(wall) && (s.Cron.hourly || !shown[wall]) && !at.Before(from) {
			add(at)
		}
		shown[wall] = true
		last = wall
	}
	return all
}

var zones = []string{
	"UTC", "Europe/Berlin", "Europe/London", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu",
	"Africa/Casablanca", "Pacific/Apia", "America/Havana", "Asia/Beirut",
}

// Fires are those that a look at the clock on the wall finds, minute by minute,
// around every change of the clock in twenty years.
func TestNextIsWhatTheWallClockShows(t *testing.T) {
	specs := []string{
		"30 2 * * *", "30 1 * * *", "0 0 * * *", "0 2 * * *", "0 3 * * *", "*/15 * * * *", "*/20 2 * * *", "0 */2 * * *", "59 1,2 * * *",
		"* 1-3 * * *", "17 * * * *", "0 0 1 * *", "30 2 * * sun", "@daily", "@hourly",
	}
	changes := 0
	for _, zone := range zones {
		location, err := Zone(zone)
		if err != nil {
			t.Fatal(err)
		}
		at := time.Date(2008, 1, 1, 0, 0, 0, 0, time.UTC).In(location)
		for _, end := at.ZoneBounds(); !end.IsZero() && end.Year() < 2029; _, end = end.ZoneBounds() {
			changes++
			by := (offset(end.In(location)) - offset(end.Add(-1).In(location))).Abs()
			middle := end.UTC().Truncate(time.Minute)
			from, to := middle.Add(-by-time.Hour), middle.Add(by+2*time.Hour)
			for _, cron := range specs {
				s := mustParse(t, cron, zone)
				if got, want := fires(s, from, to), slow(s, from.Add(-by-time.Hour), from, to); !slices.Equal(got, want) {
					t.Fatalf("%s %s around %s:\ngot  %v\nwant %v", cron, zone, end, got, want)
				}
			}
		}
	}
	if changes < 200 {
		t.Errorf("only %d changes", changes)
	}
}

// A daily run has one fire on every local day, whatever the clock does.
func TestDailyFiresOncePerLocalDay(t *testing.T) {
	for _, zone := range []string{"UTC", "Europe/Berlin", "Europe/London", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe"} {
		for _, cron := range []string{"30 2 * * *", "30 1 * * *", "0 0 * * *"} {
			s := mustParse(t, cron, zone)
			days := map[string]int{}
			from := time.Date(2017, 1, 1, 0, 0, 0, 0, s.Zone)
			all := fires(s, from, from.AddDate(10, 0, 0))
			for _, f := range all {
				days[f.In(s.Zone).Format(time.DateOnly)]++
			}
			if len(all) != 3652 || len(days) != len(all) {
				t.Errorf("%s %s: %d fires on %d days, want 3652", cron, zone, len(all), len(days))
			}
		}
	}
}

// The same with the time zone database of the binary, which has rules in place
// of tables for the years to come.
func TestDailyFiresOncePerLocalDayByRule(t *testing.T) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	archive, err := zip.OpenReader(filepath.Join(strings.TrimSpace(string(root)), "lib", "time", "zoneinfo.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	for _, zone := range zones {
		data, err := fs.ReadFile(archive, zone)
		if err != nil {
			t.Fatal(err)
		}
		location, err := time.LoadLocationFromTZData(zone, data)
		if err != nil {
			t.Fatal(err)
		}
		s := mustParse(t, "30 2 * * *", "UTC")
		s.Zone = location
		from := time.Date(2027, 1, 1, 0, 0, 0, 0, location)
		last, n := from, 0
		for f := s.Next(from); f.Before(from.AddDate(20, 0, 0)); f = s.Next(f) {
			if f.In(location).YearDay() == last.In(location).YearDay() && n > 0 || f.Sub(last) > 27*time.Hour {
				t.Fatalf("%s: %s follows %s", zone, f, last)
			}
			last, n = f, n+1
		}
		if n != 7305 {
			t.Errorf("%s: %d fires, want 7305", zone, n)
		}
	}
}

func TestSummerTime(t *testing.T) {
	utc := func(text string) time.Time {
		at, err := time.Parse("2006-01-02 15:04", text)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	for _, c := range []struct {
		cron, zone, from string
		want             []string
	}{
		{"30 2 * * *", "Europe/Berlin", "2027-03-27 12:00", []string{"2027-03-28 01:00", "2027-03-29 00:30"}}, // 03:00, as there is no 02:30
		{"30 2 * * *", "Europe/Berlin", "2026-10-24 12:00", []string{"2026-10-25 00:30", "2026-10-26 01:30"}}, // the first 02:30
		{"30 1 * * *", "Europe/London", "2027-03-27 12:00", []string{"2027-03-28 01:00", "2027-03-29 00:30"}},
		{"*/30 2 * * *", "Europe/Berlin", "2027-03-27 12:00", []string{"2027-03-28 01:00", "2027-03-29 00:00", "2027-03-29 00:30"}},
		{"*/30 * * * *", "Europe/Berlin", "2026-10-25 00:10", []string{"2026-10-25 00:30", "2026-10-25 01:00", "2026-10-25 01:30", "2026-10-25 02:00"}},
		{"0 2,3 * * *", "Europe/Berlin", "2027-03-28 00:00", []string{"2027-03-28 01:00", "2027-03-29 00:00", "2027-03-29 01:00"}},
	} {
		s := mustParse(t, c.cron, c.zone)
		at := utc(c.from)
		for i, want := range c.want {
			if at = s.Next(at); !at.Equal(utc(want)) || at.Location() != time.UTC {
				t.Errorf("%s %s after %s, fire %d: got %s, want %s", c.cron, c.zone, c.from, i, at, want)
			}
		}
	}
}

func TestLeapDaysAreFoundAcrossACentury(t *testing.T) {
	s := mustParse(t, "0 0 29 2 *", "UTC")
	if got := s.Next(time.Date(2096, 3, 1, 0, 0, 0, 0, time.UTC)); got.Year() != 2104 {
		t.Errorf("got %s", got)
	}
}

func TestChangesNameTheDatesAndTheRule(t *testing.T) {
	from := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	to := from.AddDate(1, 0, 0)
	got := mustParse(t, "30 2 * * *", "Europe/Berlin").Changes(from, to)
	if len(got) != 2 || got[0].Forward || !got[1].Forward {
		t.Fatalf("got %+v", got)
	}
	if at := got[0]; at.Fire.Format(time.RFC3339) != "2026-10-25T00:30:00Z" || at.Repeated.Format(time.RFC3339) != "2026-10-25T01:30:00Z" || at.By != time.Hour {
		t.Errorf("autumn %+v", at)
	}
	if at := got[1]; at.Fire.Format(time.RFC3339) != "2027-03-28T01:00:00Z" || at.Wall.Format("15:04") != "02:30" || !at.Repeated.IsZero() {
		t.Errorf("spring %+v", at)
	}
	if got := mustParse(t, "30 4 * * *", "Europe/Berlin").Changes(from, to); len(got) != 0 {
		t.Errorf("not concerned: %+v", got)
	}
	if got := mustParse(t, "30 2 * * *", "UTC").Changes(from, to); len(got) != 0 {
		t.Errorf("UTC: %+v", got)
	}
	if got := mustParse(t, "30 * * * *", "Europe/Berlin").Changes(from, to); len(got) != 2 || !got[0].Fire.IsZero() {
		t.Errorf("every hour: %+v", got)
	}
}

func TestRefusedSpecs(t *testing.T) {
	for _, text := range []string{
		"", " ", "x", "* * * *", "0 0 4 * * *", "0 0 4 * * * 2026", "0 0 30 2 *", "0 0 31 4,6,9,11 *", "TZ=UTC", "TZ=", "CRON_TZ=UTC", "TZ=UTC 0 4 * * *",
		"@every 1h", "@every", "@every -1s", "@reboot", "@daily 1", "@", "0 4 * * 7", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 13 *",
		", * * * *", "1,,2 * * * *", "*-5 * * * *", "*/0 * * * *", "5-1 * * * *", "+5 * * * *", "1-2-3 * * * *", "*/2/3 * * * *", "* * * foo *", "* * L * *",
		"0 4 1W * *", "0 4 * * 1#2", "? * * * *", "-1 * * * *", "\u0664 * * * *", strings.Repeat("1,", 200) + "1 * * * *", "*/999999999999999999999 * * * *",
	} {
		c, err := ParseCron(text)
		if err == nil || schemas.ClassOf(err) != schemas.Usage || schemas.HintOf(err) == "" {
			t.Errorf("%q: %v, %v", text, c, err)
		}
	}
	for _, zone := range []string{"", "Local", "local", "Europe/Nowhere", "../../etc/passwd", "Europe", "UTC ", "\x00"} {
		if _, err := Zone(zone); err == nil || schemas.HintOf(err) == "" {
			t.Errorf("zone %q: %v", zone, err)
		}
	}
	for _, text := range []string{"0 4 * * *", " 0\t4 * * * ", "*/5 1-3,22 ? jan-mar MON", "0 0 31 * *", "0 0 29 2 *", "@daily", "@hourly", "5/15 * * * *", "0 0 30 2 mon"} {
		if _, err := ParseCron(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Whatever is taken for a spec has fires that only go forward; nothing panics
// or searches for ever.
func FuzzSpec(f *testing.F) {
	for _, cron := range []string{"0 4 * * *", "TZ=UTC", "@every 1h", "0 0 30 2 *", "*/7 1-3,5 ? * 1-5", "@daily", ", , , , ,", "59 23 31 12 6", "* * * * *"} {
		for _, zone := range []string{"UTC", "Europe/Berlin", "", "Antarctica/Troll"} {
			f.Add(cron, zone, int64(1_800_000_000))
		}
	}
	f.Fuzz(func(t *testing.T, cron, zone string, unix int64) {
		s, err := Parse(cron, zone)
		if err != nil {
			if schemas.ClassOf(err) != schemas.Usage || schemas.HintOf(err) == "" {
				t.Fatalf("%q %q: %v", cron, zone, err)
			}
			return
		}
		at := time.Unix(unix%(1<<33), 0)
		for range 20 {
			next := s.Next(at)
			if next.IsZero() || !next.After(at) || next.Second() != 0 && offset(next.In(s.Zone))%time.Minute == 0 {
				t.Fatalf("%q %q: %s follows %s", cron, zone, next, at)
			}
			at = next
		}
	})
}
