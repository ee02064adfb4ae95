package schemas

import "time"

// EventSigningKey records the key that signs evidence packs of a workspace.
const EventSigningKey EventType = "signing_key"

// SigningKey is the public half of an ed25519 key.
type SigningKey struct {
	PublicKey   string `json:"public_key"`  // 32 bytes in hexadecimal
	Fingerprint string `json:"fingerprint"` // SHA-256 of those bytes, in hexadecimal
}

// EvidenceSchema names the version of an evidence pack's layout.
const EvidenceSchema = "optsweep.evidence.v1"

// EvidenceManifest is manifest.json of an evidence pack: what the signature
// covers.
type EvidenceManifest struct {
	Schema      string          `json:"schema"`
	ToolVersion string          `json:"tool_version"` // that made the pack
	Signer      SigningKey      `json:"signer"`
	Runs        []EvidenceRun   `json:"runs"`
	Ledger      LedgerExtract   `json:"ledger"`
	Entries     []EvidenceEntry `json:"entries"` // all but manifest.json and manifest.sig, in the order of the pack
}

// EvidenceRun is one run that a pack is about.
type EvidenceRun struct {
	Run     string `json:"run"`
	Ended   bool   `json:"ended"`             // false: it was under way or interrupted when the pack was made
	Batches string `json:"batches,omitempty"` // name of the entry; empty if nothing was asked, or its journal was removed
}

// LedgerExtract says which lines of a ledger a pack holds.
type LedgerExtract struct {
	Before LedgerPosition `json:"before"` // the event before the first line; 0 and empty at the start of the ledger
	Last   LedgerPosition `json:"last"`   // the last line
	Head   LedgerPosition `json:"head"`   // the end of the ledger when the pack was made

	// Of a pack about a period that begins before: retention had removed the
	// runs until then.
	RemovedUntil time.Time `json:"removed_until,omitzero"`
}

// LedgerPosition is an event of a hash chain by number and hash. Since each
// event carries the hash of the one before, it stands for all events up to it.
type LedgerPosition struct {
	Seq  int64  `json:"seq"`  // 0: before the first event
	Hash string `json:"hash"` // hexadecimal SHA-256
}

// EvidenceEntry is one file of a pack.
type EvidenceEntry struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// EvidenceBatch is one line of batches.ndjson in a pack: a batch of ids that
// was asked, without the ids.
type EvidenceBatch struct {
	Seq    int64  `json:"seq"` // of the line in the run's check journal
	Batch  int64  `json:"batch"`
	Count  int    `json:"count"`  // ids
	Digest string `json:"digest"` // SHA-256 of the ids
	AsOfMS int64  `json:"as_of_ms"`
	Line   string `json:"line"` // hash of the journal's line; that of the last line is in the ledger
}
