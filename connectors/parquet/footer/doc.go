// Package footer reads the footer of a Parquet file and splices one column
// into it without loss: whatever it does not change is copied byte for byte,
// including fields that are newer than this program.
//
// A footer is one Thrift compact-protocol struct (FileMetaData of the public
// parquet.thrift), its length in 4 bytes, and the magic "PAR1". New elements
// are made from the Thrift structs of github.com/xitongsys/parquet-go/parquet;
// old ones never pass through a struct, because that would drop every field
// that the struct does not know.
//
// Footers are hostile input: every length and count is checked against the
// bytes that are there before anything is allocated.
package footer
