package footer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Types of the Thrift compact protocol as they stand in field and list
// headers (Apache Thrift, thrift-compact-protocol.md).
const (
	typeTrue   = 1
	typeFalse  = 2
	typeByte   = 3
	typeI16    = 4
	typeI32    = 5
	typeI64    = 6
	typeDouble = 7
	typeBinary = 8
	typeList   = 9
	typeSet    = 10
	typeMap    = 11
	typeStruct = 12
	typeUUID   = 13
)

const (
	maxDepth  = 32   // structs and lists inside each other; parquet.thrift needs 8
	maxFields = 1024 // fields of one struct; parquet.thrift has at most 17
)

var (
	errShort = errors.New("ends too early")
	errDepth = errors.New("is nested too deep")
)

// field is one field of a struct. value holds its encoded bytes without the
// field header; a bool has none, its value is its type.
type field struct {
	id    int16
	typ   byte
	value []byte
}

// readVarint reads an unsigned varint of at most 64 bits.
func readVarint(b []byte) (v uint64, n int, err error) {
	v, n = binary.Uvarint(b)
	switch {
	case n > 0:
		return v, n, nil
	case n == 0 && len(b) < binary.MaxVarintLen64:
		return 0, 0, errShort
	default:
		return 0, 0, errors.New("has a number of more than 64 bits")
	}
}

func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

func appendZigzag(dst []byte, v int64) []byte {
	return binary.AppendUvarint(dst, uint64(v)<<1^uint64(v>>63))
}

// skip returns the encoded length of the value of type typ that b starts with.
// inList tells that it is an element of a list, set or map, where a bool takes
// a byte.
func skip(b []byte, typ byte, inList bool, depth int) (n int, err error) {
	if depth > maxDepth {
		return 0, errDepth
	}
	switch typ {
	case typeTrue, typeFalse:
		if inList {
			n = 1
		}
	case typeByte:
		n = 1
	case typeDouble:
		n = 8
	case typeUUID:
		n = 16
	case typeI16, typeI32, typeI64:
		_, n, err = readVarint(b)
	case typeBinary:
		var size uint64
		if size, n, err = readVarint(b); err == nil {
			if size > uint64(len(b)-n) {
				return 0, errShort
			}
			n += int(size)
		}
	case typeList, typeSet:
		var l list
		if l, err = readList(b); err == nil {
			n, err = l.skipAll(depth)
		}
	case typeMap:
		n, err = skipMap(b, depth)
	case typeStruct:
		return walkStruct(b, depth, nil)
	default:
		return 0, fmt.Errorf("has the unknown type %d", typ)
	}
	if err == nil && n > len(b) {
		err = errShort
	}
	return n, err
}

func skipMap(b []byte, depth int) (int, error) {
	count, n, err := readVarint(b)
	if err != nil || count == 0 {
		return n, err
	}
	if n >= len(b) || count > uint64(len(b)-n) {
		return 0, errShort
	}
	types := b[n]
	n++
	for range count {
		for _, typ := range [2]byte{types >> 4, types & 0x0F} {
			size, err := skip(b[n:], typ, true, depth+1)
			if err != nil {
				return 0, err
			}
			n += size
		}
	}
	return n, nil
}

// walkStruct calls visit, if there is one, for every field of the struct that
// b starts with, and returns the struct's encoded length.
func walkStruct(b []byte, depth int, visit func(field) error) (n int, err error) {
	if depth > maxDepth {
		return 0, errDepth
	}
	var last int64
	for count := 0; ; count++ {
		if n >= len(b) {
			return 0, errShort
		}
		head := b[n]
		n++
		if head == 0 {
			return n, nil
		}
		if count == maxFields {
			return 0, errors.New("has a struct with too many fields")
		}
		if delta := head >> 4; delta != 0 {
			last += int64(delta)
		} else {
			id, size, err := readVarint(b[n:])
			if err != nil {
				return 0, err
			}
			last = unzigzag(id)
			n += size
		}
		if last < math.MinInt16 || last > math.MaxInt16 {
			return 0, errors.New("has a field number out of range")
		}
		typ := head & 0x0F
		size, err := skip(b[n:], typ, false, depth+1)
		if err != nil {
			return 0, err
		}
		if visit != nil {
			if err := visit(field{id: int16(last), typ: typ, value: b[n : n+size : n+size]}); err != nil {
				return 0, err
			}
		}
		n += size
	}
}

// parseStruct returns the fields of the struct that b starts with, in order,
// and its encoded length. A field that stands there twice is an error: readers
// would not agree which one counts.
func parseStruct(b []byte) (fields []field, n int, err error) {
	fields = make([]field, 0, 16)
	n, err = walkStruct(b, 0, func(f field) error {
		for i := range fields {
			if fields[i].id == f.id {
				return fmt.Errorf("has field %d twice", f.id)
			}
		}
		fields = append(fields, f)
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	return fields, n, nil
}

// appendStruct encodes fields, in the order given.
func appendStruct(dst []byte, fields []field) []byte {
	var last int64
	for _, f := range fields {
		if delta := int64(f.id) - last; delta > 0 && delta <= 15 {
			dst = append(dst, byte(delta)<<4|f.typ)
		} else {
			dst = append(dst, f.typ)
			dst = appendZigzag(dst, int64(f.id))
		}
		dst = append(dst, f.value...)
		last = int64(f.id)
	}
	return append(dst, 0)
}

// list is an encoded list or set.
type list struct {
	typ   byte   // type of the elements
	count int    // number of elements
	body  []byte // from the first element on; what follows the list may hang behind
	head  int    // length of the header before body
}

// readList reads a list header. Every element takes a byte or more, so the
// count can be checked before anything is done with it.
func readList(b []byte) (list, error) {
	if len(b) == 0 {
		return list{}, errShort
	}
	l := list{typ: b[0] & 0x0F, count: int(b[0] >> 4), head: 1}
	if l.count == 15 {
		count, n, err := readVarint(b[1:])
		if err != nil {
			return list{}, err
		}
		if count > uint64(len(b)) {
			return list{}, errShort
		}
		l.count = int(count)
		l.head += n
	}
	l.body = b[l.head:]
	if l.count > len(l.body) {
		return list{}, errShort
	}
	return l, nil
}

// skipAll returns the encoded length of the list, header included.
func (l list) skipAll(depth int) (int, error) {
	n := 0
	for range l.count {
		size, err := skip(l.body[n:], l.typ, true, depth+1)
		if err != nil {
			return 0, err
		}
		n += size
	}
	return l.head + n, nil
}

// each calls visit with the bytes of every element.
func (l list) each(visit func(i int, element []byte) error) error {
	n := 0
	for i := range l.count {
		size, err := skip(l.body[n:], l.typ, true, 1)
		if err != nil {
			return err
		}
		if err := visit(i, l.body[n:n+size:n+size]); err != nil {
			return err
		}
		n += size
	}
	return nil
}

func appendListHeader(dst []byte, typ byte, count int) []byte {
	if count < 15 {
		return append(dst, byte(count)<<4|typ)
	}
	return binary.AppendUvarint(append(dst, 0xF0|typ), uint64(count))
}

// Typed access to fields. The zero value stands for a field that is missing.

func find(fields []field, id int16) (field, bool) {
	for _, f := range fields {
		if f.id == id {
			return f, true
		}
	}
	return field{}, false
}

// integer reads field id; missing tells the value to give when it is not there.
func integer(fields []field, id int16, missing int64) (int64, error) {
	f, ok := find(fields, id)
	if !ok {
		return missing, nil
	}
	if f.typ != typeI16 && f.typ != typeI32 && f.typ != typeI64 {
		return 0, fmt.Errorf("has a field %d that is no integer", id)
	}
	v, _, err := readVarint(f.value)
	return unzigzag(v), err
}

// text reads a binary field; it is nil if the field is missing.
func text(fields []field, id int16) ([]byte, error) {
	f, ok := find(fields, id)
	if !ok {
		return nil, nil
	}
	if f.typ != typeBinary {
		return nil, fmt.Errorf("has a field %d that is no string", id)
	}
	_, n, err := readVarint(f.value)
	if err != nil {
		return nil, err
	}
	return f.value[n:], nil
}

// structs reads a field that is a list of structs; a missing one is empty.
func structs(fields []field, id int16) (list, error) {
	f, ok := find(fields, id)
	if !ok {
		return list{typ: typeStruct}, nil
	}
	if f.typ != typeList {
		return list{}, fmt.Errorf("has a field %d that is no list", id)
	}
	l, err := readList(f.value)
	if err == nil && l.typ != typeStruct && l.count > 0 {
		err = fmt.Errorf("has a list in field %d that is not of structs", id)
	}
	return l, err
}

// group reads a field that is a struct; a missing one is empty.
func group(fields []field, id int16) ([]field, error) {
	f, ok := find(fields, id)
	if !ok {
		return nil, nil
	}
	if f.typ != typeStruct {
		return nil, fmt.Errorf("has a field %d that is no struct", id)
	}
	inner, _, err := parseStruct(f.value)
	return inner, err
}

// set replaces field f.id, or inserts it before the first greater one.
func set(fields []field, f field) []field {
	for i := range fields {
		if fields[i].id == f.id {
			fields[i] = f
			return fields
		}
		if fields[i].id > f.id {
			return append(fields[:i:i], append([]field{f}, fields[i:]...)...)
		}
	}
	return append(fields, f)
}

// setInteger writes v into field id with the type the field has, typ if it is
// new.
func setInteger(fields []field, id int16, typ byte, v int64) []field {
	if f, ok := find(fields, id); ok {
		typ = f.typ
	}
	return set(fields, field{id: id, typ: typ, value: appendZigzag(nil, v)})
}

// remove returns fields without field id.
func remove(fields []field, id int16) []field {
	return slices.DeleteFunc(fields, func(f field) bool { return f.id == id })
}
