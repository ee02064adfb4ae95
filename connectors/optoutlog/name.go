package optoutlog

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// FileKind is what a log file is: a delta of a few minutes or a partition of
// a day.
type FileKind string

// The kinds of files (shared optout/OptOutUtils.java).
const (
	Delta     FileKind = "delta"
	Partition FileKind = "partition"
)

// Synthetic is the replica id of files that hold made-up entries for tests.
const Synthetic = 999

// Name is what the name of a log file says.
type Name struct {
	Kind    FileKind
	Replica int
	Time    time.Time // UTC, whole seconds
	Random  [4]byte
}

const nameTime = "2006-01-02T15.04.05Z"

var namePattern = regexp.MustCompile(`^optout-(delta|partition)-(\d{3,9})_(\d{4}-\d{2}-\d{2}T\d{2}\.\d{2}\.\d{2}Z)_([0-9a-f]{8})\.dat$`)

// ParseName reads the name of a log file, without folders; ok is false for
// the name of any other file.
func ParseName(base string) (n Name, ok bool) {
	m := namePattern.FindStringSubmatch(base)
	if m == nil {
		return Name{}, false
	}
	replica, err := strconv.Atoi(m[2])
	if err != nil {
		return Name{}, false
	}
	at, err := time.Parse(nameTime, m[3])
	if err != nil {
		return Name{}, false
	}
	n = Name{Kind: FileKind(m[1]), Replica: replica, Time: at}
	if _, err := hex.Decode(n.Random[:], []byte(m[4])); err != nil {
		return Name{}, false
	}
	return n, true
}

// String gives the name of the file.
func (n Name) String() string {
	return fmt.Sprintf("optout-%s-%03d_%s_%x.dat", n.Kind, n.Replica, n.Time.UTC().Format(nameTime), n.Random)
}

// newName names a new delta.
func newName(replica int, at time.Time) Name {
	n := Name{Kind: Delta, Replica: replica, Time: at}
	_, _ = rand.Read(n.Random[:]) // never fails
	return n
}
