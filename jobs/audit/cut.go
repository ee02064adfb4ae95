package audit

import (
	"os"
	"time"

	"optsweep/jobs/ledger"
	"optsweep/jobs/sweep"
	"optsweep/schemas"
)

// compareHeads checks and forgets the heads that were recorded at event seq.
func (a *auditor) compareHeads(seq int64, hash string) {
	for _, h := range a.heads[seq] {
		if h.Hash == hash {
			a.ok("ledger head", h.run, h.file, "the ledger still holds event %d", seq)
		} else {
			a.fail("ledger head", h.run, h.file, "event %d of the ledger is not the one that was recorded", seq)
		}
	}
	delete(a.heads, seq)
}

// removed tells what retention has removed from the beginning of the ledger,
// and judges the heads that were recorded there.
func (a *auditor) removed(end ledger.End) {
	const what = "ledger"
	path := a.layout.Ledger()
	if p := end.Pending; p != nil {
		a.note(what, "", path, "retention was cut short before it removed the events up to %d; the next purge does it", p.Last.Seq)
	}
	a.cut = end.Cut
	if a.cut == nil {
		return
	}
	begin := end.Begin()
	a.Events, a.Removed = end.Seq-begin.Seq, begin.Seq
	a.note(what, "", path, "events 1 to %d, until %s, were removed by retention at %s by %s on %s; event %d says so and names the last of them by its hash",
		begin.Seq, a.cut.Until.Format(time.RFC3339), a.cut.At.Format(time.RFC3339), a.cut.User, a.cut.Host, a.cut.Seq)
	for _, seq := range sortedKeys(a.heads) {
		if seq > begin.Seq {
			break
		}
		for _, h := range a.heads[seq] {
			_, err := os.Stat(h.file)
			switch same := seq == begin.Seq && h.Hash == begin.Hash; {
			case same:
				a.ok("ledger head", h.run, h.file, "event %d is the one that the ledger follows", seq)
			case seq == begin.Seq:
				a.fail("ledger head", h.run, h.file, "event %d of the ledger is not the one that was recorded", seq)
			case h.run == "":
				a.fail("ledger head", "", h.file, "it is older than the ledger: retention has removed event %d, and writes the head anew before that", seq)
			case err == nil:
				a.note("ledger head", h.run, h.file, "retention has removed event %d, so it cannot be compared", seq)
			}
		}
		delete(a.heads, seq)
	}
}

// rememberCut takes what a cut restates.
func (a *auditor) rememberCut(e schemas.Event) error {
	v, err := decode[schemas.LedgerCut](e)
	if err != nil {
		return err
	}
	if v.Kept.SigningKey != nil {
		a.Signer = v.Kept.SigningKey
	}
	for _, l := range v.Kept.OwnLists {
		a.own[l.Source] = l
	}
	if l := v.Kept.List; l != nil {
		a.lists[l.File] = *l
		a.list = l.File
	}
	return nil
}

func (a *auditor) unknownFolders() {
	path := a.layout.Runs()
	unknown, old := 0, 0
	for _, f := range a.folders {
		dir := a.layout.Run(f.run)
		switch {
		case a.known[f.run] || f.empty:
		case sweep.RemovedRun(f.run, a.cut):
			if _, err := os.Stat(dir); err == nil {
				old++
				a.note("runs", f.run, dir, "retention has removed its events, so it cannot be checked; the next purge removes it too")
			}
		default:
			unknown++
			a.fail("runs", "", dir, "the ledger knows no such run")
		}
	}
	if unknown == 0 {
		a.ok("runs", "", path, "the ledger knows all of the %d runs that left a folder", len(a.folders)-old)
	}
}
