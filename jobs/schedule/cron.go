package schedule

import (
	"regexp"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"optsweep/schemas"
)

// Cron is a valid cron spec. It has at least one fire.
type Cron struct {
	text   string
	wall   cron.SpecSchedule // of a clock without summer time
	hourly bool              // all hours of a day
}

// fields are the fields of a spec, in their order.
var fields = [...]struct {
	name string
	item *regexp.Regexp
	want string
}{
	{"minute", item(`[0-9]{1,2}`, `\*`), "0 to 59"},
	{"hour", item(`[0-9]{1,2}`, `\*`), "0 to 23"},
	{"day of the month", item(`[0-9]{1,2}`, `\*|\?`), "1 to 31"},
	{"month", item(`[0-9]{1,2}|[A-Za-z]{3}`, `\*`), "1 to 12 or jan to dec"},
	{"day of the week", item(`[0-9]{1,2}|[A-Za-z]{3}`, `\*|\?`), "0 (Sunday) to 6 or sun to sat"},
}

// item matches one item of a field: one value, a range, or all; each also with
// a step. The library takes more than that, and not always as it is meant.
func item(value, all string) *regexp.Regexp {
	return regexp.MustCompile(`^((` + all + `)|(` + value + `)(-(` + value + `))?)(/[0-9]{1,2})?$`)
}

const (
	maxText  = 256
	cronHint = `write five fields in quotes: minute hour day-of-month month day-of-week, such as "0 4 * * *"`
)

// someDay is where the search for the first fire of a spec begins: what has
// none in the years after it has none at all.
var someDay = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// ParseCron reads a spec of five fields, or @hourly, @daily, @midnight,
// @weekly, @monthly, @yearly or @annually. The error has class Usage and a
// hint.
func ParseCron(text string) (Cron, error) {
	if err := checkText(text); err != nil {
		return Cron{}, err
	}
	parsed, err := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor).Parse(text)
	if err != nil {
		return Cron{}, schemas.Errorf(schemas.Usage, "is no cron spec: %v", err).WithHint(cronHint)
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return Cron{}, schemas.Errorf(schemas.Usage, "is no cron spec").WithHint(cronHint)
	}
	const allHours = 1<<24 - 1
	c := Cron{text: strings.Join(strings.Fields(text), " "), wall: *spec, hourly: spec.Hour&allHours == allHours}
	c.wall.Location = time.UTC
	if c.next(someDay).IsZero() {
		return Cron{}, schemas.Errorf(schemas.Usage, "never comes: no month it names has such a day").WithHint("the 30th and 31st are not in every month")
	}
	return c, nil
}

// checkText refuses what the library would misread, or could not bear.
func checkText(text string) error {
	fail := func(hint, format string, args ...any) error {
		return schemas.Errorf(schemas.Usage, format, args...).WithHint("%s", hint)
	}
	words := strings.Fields(text)
	switch {
	case len(text) > maxText:
		return fail(cronHint, "is longer than %d characters", maxText)
	case len(words) == 0:
		return fail(cronHint, "is empty")
	case strings.Contains(words[0], "TZ="):
		return fail("write it as timezone: Europe/Berlin, beside cron", "must not name a time zone")
	case strings.HasPrefix(words[0], "@every"):
		return fail(`name the times instead: "0 */6 * * *" is every six hours`, "@every is not supported: it would count from whenever the daemon was started")
	case strings.HasPrefix(words[0], "@"):
		if len(words) > 1 || !named[text] {
			return fail(cronHint, "is no cron spec: want @hourly, @daily, @weekly, @monthly or @yearly, and nothing else")
		}
		return nil
	case len(words) == len(fields)+1:
		return fail(cronHint, "has six fields: seconds are not supported")
	case len(words) != len(fields):
		return fail(cronHint, "has %d fields, want %d", len(words), len(fields))
	}
	for i, f := range fields {
		for one := range strings.SplitSeq(words[i], ",") {
			if one == "" {
				return fail(cronHint, "has an empty item in its field for the %s", f.name)
			}
			if !f.item.MatchString(one) {
				return fail("a field is *, a value, a range such as 1-5, a step such as */2, or several of them with commas",
					"has no valid %s: want %s", f.name, f.want)
			}
		}
	}
	return nil
}

var named = map[string]bool{
	"@hourly": true, "@daily": true, "@midnight": true, "@weekly": true, "@monthly": true, "@yearly": true, "@annually": true,
}

func (c Cron) String() string { return c.text }

// next is the first time on the wall clock after t, or zero.
func (c Cron) next(t time.Time) time.Time {
	// The library looks at five years; leap days can be eight years apart.
	for range 2 {
		if n := c.wall.Next(t); !n.IsZero() {
			return n
		}
		t = time.Date(t.Year()+6, 1, 1, 0, 0, 0, -1, time.UTC)
	}
	return time.Time{}
}
