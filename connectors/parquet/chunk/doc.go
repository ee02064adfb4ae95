// Package chunk reads one column of a row group, and writes the pages of the
// flag column.
//
// Values are decoded by the column readers of arrow v17. Three things stand
// between them and the file, because those readers trust it: a page source
// that checks every size before allocating and every checksum there is, a
// decoder for definition levels, and checks of dictionary indexes and delta
// headers. Without them a damaged page can make arrow v17 loop for ever
// (readBatch, when levels run out), allocate without bound (a dictionary index
// or a delta count of 32 bits) or go on with the values of the page before (it
// drops the errors of SetData). Buffers are reused from page to page.
package chunk
