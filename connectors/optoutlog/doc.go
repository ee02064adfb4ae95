// Package optoutlog reads and writes opt-out log files: the 72-byte entries in
// which the opt-out service hands opted-out advertising ids to operators.
//
// It holds the entry format, the file names, a compact immutable lookup
// Snapshot, a Store that follows a folder of log files, a Writer of delta
// files, a Journal that makes single entries durable before they are in a
// file, an importer and an inspector. It knows nothing of HTTP.
//
// # Where it differs from the public operator, on purpose
//
//   - Sentinels are no opt-outs. Every file opens with an all-zero and closes
//     with an all-ones entry; the operator indexes their ids, so it can report
//     them as opted out. Here they are skipped.
//   - The earliest time wins. The operator takes, per id, the earliest over its
//     partitions of the latest within a partition, and when one identity opts
//     out twice inside a partition it keeps only one of the two ids (shared
//     optout/OptOutHeap.java, operator store/CloudSyncOptOutStore.java). Here
//     every entry counts and the earliest time of an id is reported. Both
//     differences are on the side of the person who opted out.
//   - The first byte of v4 ids is recovered. An entry keeps six bits of it, so
//     the operator cannot report v4 ids of production and integration. The last
//     byte of a v4 id makes all 33 XOR to 0, which tells the lost two bits.
//   - Damaged files are refused. The operator rounds a length down to whole
//     entries; here a length that is no multiple of 72, a missing closing entry
//     or an impossible time keeps the previous snapshot and is reported.
//   - File names are matched strictly; the operator only looks for a part of
//     the name.
package optoutlog
