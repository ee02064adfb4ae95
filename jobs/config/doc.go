// Package config reads a job file: strict YAML in, validated values out.
//
// Every key must be known and every value sensible; all problems of a file are
// reported together, each with its line, its column and what to do. Secrets
// are never in the file, only references to them, which Resolve follows as
// late as possible. The package also reads the list of canaries.
package config
