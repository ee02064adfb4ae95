// Package idset turns the cells of id columns into sorted sets of unique ids
// on disk, in bounded memory, and answers which ids are opted out.
//
// The way of an id through the package:
//
//	cells -> Collector -> Builder -> one file of unique ids per unit
//	unit files -> Merge -> folder of shards with a manifest -> Reader
//	opt-outs -> OptedOut (lookup in memory), MergeList (sticky list on disk)
//
// # Order
//
// Ids are ordered by their bytes 4 to 32 and then by bytes 0 to 3; see
// Compare. Byte 0 of an id is a tag or a prefix and bytes 1 to 3 of a v4 id
// are a key id, so both have few values, while from byte 4 on every version is
// random (operator service/TokenUtils.java, V4TokenUtils.java). Cutting a set
// by its first byte in this order therefore gives parts of even size, which is
// what makes sorting cheap here. Ids that are not random are sorted correctly
// too, only more slowly.
//
// # Files
//
// Id files, the suppression list and files of rows have the same layout, all
// numbers big endian:
//
//	header   "optsweep", kind ("ids ", "list" or "rows"), uint16 version, uint16 record width
//	records  in order, each id once; of rows one for each, in theirs
//	index    a CRC-32C (uint32) for each 1,024 records
//	trailer  uint64 number of records, SHA-256 of header, index and that number
//
// A record of an id file is the 33 bytes of the id. A record of the list is
// the id, since (int64, Unix ms) and found (int64, Unix ms). A record of a file
// of rows is bytes 4 to 11 of the id in that row of a unit, 0 if it is NULL, or 1
// if it is no id: enough to find the rows of an id that shares them with no other
// of the unit, which its id file tells. The CRC is fast
// enough to check every block each time it is read, before any id of it is
// used, also after a seek; the SHA-256 binds all blocks to one name, which
// stands in the manifest, so a shard of another set cannot slip in. The same
// set of ids gives the same bytes, in whatever order and memory it was built.
package idset
