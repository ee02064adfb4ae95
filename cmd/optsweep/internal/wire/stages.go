package wire

import (
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"optsweep/connectors/bigquery"
	"optsweep/jobs/config"
	"optsweep/schemas"
)

// stages is a Progress that remembers when each phase was under way.
type stages struct {
	inner Progress
	now   func() time.Time

	mu  sync.Mutex
	all []schemas.Stage
}

// Start begins a phase of total units.
func (p *stages) Start(phase string, total int64, unit string) {
	p.mu.Lock()
	p.all = append(p.all, schemas.Stage{Name: phase, Began: p.now(), Total: total, Unit: unit, Unfinished: true})
	p.mu.Unlock()
	p.inner.Start(phase, total, unit)
}

// Add moves the phase on by n units.
func (p *stages) Add(n int64) { p.inner.Add(n) }

// Stop ends the phase.
func (p *stages) Stop() {
	p.inner.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	last := &p.all[len(p.all)-1]
	last.Ended, last.Unfinished = p.now(), false
}

func (p *stages) list() []schemas.Stage {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := slices.Clone(p.all)
	for i := range all {
		if all[i].Unfinished {
			all[i].Ended = p.now()
		}
	}
	return all
}

// datasets names the tables of a job by the rules of OpenLineage: the folder
// that the pattern of a Parquet table starts with, or the full name in
// BigQuery. A query has no name but that of its table in the job.
func datasets(job *config.Job) []schemas.Dataset {
	list := make([]schemas.Dataset, len(job.Tables))
	for i, t := range job.Tables {
		d := schemas.Dataset{Table: t.Name}
		if b := t.BigQuery; b != nil {
			d.Namespace, d.Name, d.IDColumn = "bigquery", b.Table, strings.Join(b.IDColumns, ",")
			if b.Table == "" {
				d.Namespace, d.Name = config.DefaultNamespace, job.Name+"."+t.Name
			}
		} else {
			d.Namespace, d.Name, d.IDColumn = "file", folderOf(t.Parquet.Path), t.Parquet.IDColumn
		}
		d.Output = schemas.DatasetName{Namespace: d.Namespace, Name: d.Name}
		if t.Write.Mode == config.Suppression && t.BigQuery == nil {
			d.Output.Name = filepath.ToSlash(t.Write.Path)
		} else if t.Write.Mode == config.Suppression {
			d.Output = schemas.DatasetName{Namespace: "bigquery", Name: t.Write.Dataset + "." + bigquery.SuppressionTable}
		}
		list[i] = d
	}
	return list
}

// folderOf is the part of a pattern before its first wild card; all of it if
// there is none.
func folderOf(pattern string) string {
	folder, rest := doublestar.SplitPattern(filepath.ToSlash(pattern))
	if !strings.ContainsAny(rest, `*?[{\`) {
		folder += "/" + rest
	}
	return unescape.Replace(folder)
}

// unescape gives special characters their plain form.
var unescape = strings.NewReplacer(`\*`, `*`, `\?`, `?`, `\[`, `[`, `\]`, `]`, `\{`, `{`, `\}`, `}`)
