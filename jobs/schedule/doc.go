// Package schedule says when a job is to run: which moments a cron spec names
// in a time zone, what becomes of those that were missed or that come while a
// run is under way, and by how much each start is put off. It is pure: it
// reads no clock and keeps nothing.
//
// # Fires
//
// A fire is one moment that a spec names; its key is that moment in UTC,
// whenever its run really starts. Specs have the five fields of cron and are
// read by robfig/cron.
//
// # Summer time
//
// A spec is about the clock on the wall of its time zone. Where that clock is
// put forward or back, this is the rule:
//
//   - A local time that does not exist that day fires once, at the moment the
//     clock is put forward: what 02:30 would have been is 03:00. Several such
//     times are one fire.
//   - A local time that exists twice fires once, the first time.
//   - A spec for every hour of the day (its hour field is *) is about minutes
//     rather than hours: it goes on at its pace, in both of two equal hours
//     and in no hour that does not exist.
package schedule
