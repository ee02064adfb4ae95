package wire

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"optsweep/jobs/config"
	"optsweep/schemas"
)

// JobFiles are the job files that names stand for: a folder stands for all
// *.yaml and *.yml in it.
func JobFiles(names []string) (files []string, err error) {
	for _, name := range names {
		info, err := os.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, schemas.Errorf(schemas.Usage, "there is no job file %s", name).
				WithHint("make one with: optsweep init; or name yours with --config")
		}
		if err != nil {
			return nil, schemas.Errorf(schemas.Usage, "job file: %w", err)
		}
		if !info.IsDir() {
			files = append(files, name)
			continue
		}
		before := len(files)
		for _, pattern := range []string{"*.yaml", "*.yml"} {
			found, err := fs.Glob(os.DirFS(name), pattern)
			if err != nil {
				return nil, err
			}
			for _, file := range found {
				files = append(files, filepath.Join(name, file))
			}
		}
		if len(files) == before {
			return nil, schemas.Errorf(schemas.Usage, "the folder %s holds no job file", name).WithHint("job files there are called *.yaml or *.yml")
		}
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

// FileProblems are what is wrong with job files, by file.
type FileProblems map[string]error

// Err joins them, in the order of the files.
func (p FileProblems) Err() error {
	var all []error
	for _, file := range slices.Sorted(maps.Keys(p)) {
		all = append(all, p[file])
	}
	return errors.Join(all...)
}

// LoadScheduled reads job files that must each have a schedule and a name of
// their own.
func LoadScheduled(files []string) (jobs []*config.Job, problems FileProblems) {
	owner := map[string]string{}
	problems = FileProblems{}
	for _, file := range files {
		job, err := config.Load(file)
		switch {
		case err != nil:
		case job.Schedule == nil:
			err = schemas.Errorf(schemas.Usage, "%s has no schedule", file).
				WithHint(`add one, such as schedule: {cron: "0 4 * * *", timezone: UTC}; or use optsweep run`)
		case owner[job.Name] != "":
			err = schemas.Errorf(schemas.Usage, "%s: job %s is that of %s, too", file, job.Name, owner[job.Name]).WithHint("give each job a name of its own")
		default:
			owner[job.Name] = file
			jobs = append(jobs, job)
		}
		if err != nil {
			problems[file] = err
		}
	}
	return jobs, problems
}
