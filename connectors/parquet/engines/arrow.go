package engines

import (
	"encoding/base64"
	"encoding/binary"
	"errors"

	flatbuffers "github.com/google/flatbuffers/go"

	"optsweep/connectors/parquet/footer"
)

// Slots of the flatbuffer tables in Arrow's Message.fbs and Schema.fbs.
const (
	messageVersion = iota
	messageHeaderType
	messageHeader
	messageBodyLength
	messageMetadata
	messageSlots
)

const (
	schemaEndianness = iota
	schemaFields
	schemaMetadata
	schemaFeatures
	schemaSlots
)

const (
	headerSchema  = 1 // MessageHeader
	typeInt       = 2 // Type
	typeTimestamp = 10
	unitMilli     = 1 // TimeUnit
)

var errArrow = errors.New("is damaged or newer than this program")

// appendArrowField adds a nullable field, timestamp[ms, UTC] or int64, to an
// encapsulated Arrow IPC schema message in base64. The old flatbuffer stays whole, with its
// field tables in it: a new message, schema and list of fields are put in front
// and point into it. Types that this program does not know thus survive.
func appendArrowField(value, name string, typ footer.FlagType) (edited string, err error) {
	defer func() {
		if recover() != nil { // flatbuffers panics on an offset out of bounds
			edited, err = "", errArrow
		}
	}()
	all, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return "", errors.New("is no base64")
	}
	head := 4 // length of the message, behind 4 bytes 0xFF since Arrow 0.15
	if len(all) >= 8 && binary.LittleEndian.Uint32(all) == 0xFFFFFFFF {
		head = 8
	}
	if len(all) < head {
		return "", errArrow
	}
	size := uint64(binary.LittleEndian.Uint32(all[head-4:]))
	if size > uint64(len(all)-head) {
		return "", errArrow
	}
	message, err := appendToMessage(all[head:head+int(size)], name, typ)
	if err != nil {
		return "", err
	}
	out := append([]byte(nil), all[:head-4]...)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(message)))
	out = append(append(out, message...), all[head+int(size):]...)
	return base64.StdEncoding.EncodeToString(out), nil
}

func appendToMessage(old []byte, name string, typ footer.FlagType) ([]byte, error) {
	message := flatbuffers.Table{Bytes: old, Pos: flatbuffers.GetUOffsetT(old)}
	if slots(message) > messageSlots || message.GetByteSlot(slot(messageHeaderType), 0) != headerSchema ||
		message.Offset(slot(messageHeader)) == 0 {
		return nil, errArrow
	}
	var schema flatbuffers.Table
	message.Union(&schema, flatbuffers.UOffsetT(message.Offset(slot(messageHeader))))
	if slots(schema) > schemaSlots {
		return nil, errArrow
	}
	b := flatbuffers.NewBuilder(len(old) + 512)

	// The old flatbuffer, as a vector of bytes aligned like the original.
	b.StartVector(1, len(old), 8)
	for i := len(old) - 1; i >= 0; i-- {
		b.PlaceByte(old[i])
	}
	end := b.Offset()
	b.EndVector(len(old))
	// moved turns a position in old into what the builder calls an offset.
	moved := func(position flatbuffers.UOffsetT) flatbuffers.UOffsetT {
		if uint64(position) >= uint64(len(old)) {
			panic(errArrow)
		}
		return end - position
	}
	// kept is the offset of what a slot of a table in old refers to, or 0.
	kept := func(t flatbuffers.Table, n int) flatbuffers.UOffsetT {
		o := flatbuffers.UOffsetT(t.Offset(slot(n)))
		if o == 0 {
			return 0
		}
		return moved(t.Indirect(t.Pos + o))
	}

	fields := []flatbuffers.UOffsetT{}
	if o := flatbuffers.UOffsetT(schema.Offset(slot(schemaFields))); o != 0 {
		first := schema.Vector(o)
		for i := range flatbuffers.UOffsetT(schema.VectorLen(o)) {
			fields = append(fields, moved(schema.Indirect(first+i*flatbuffers.SizeUOffsetT)))
		}
	}
	fields = append(fields, newField(b, name, typ))
	vector := b.CreateVectorOfTables(fields)

	b.StartObject(schemaSlots)
	b.PrependInt16Slot(schemaEndianness, schema.GetInt16Slot(slot(schemaEndianness), 0), 0)
	b.PrependUOffsetTSlot(schemaFields, vector, 0)
	b.PrependUOffsetTSlot(schemaMetadata, kept(schema, schemaMetadata), 0)
	b.PrependUOffsetTSlot(schemaFeatures, kept(schema, schemaFeatures), 0)
	newSchema := b.EndObject()

	b.StartObject(messageSlots)
	b.PrependInt64Slot(messageBodyLength, message.GetInt64Slot(slot(messageBodyLength), 0), 0)
	b.PrependUOffsetTSlot(messageMetadata, kept(message, messageMetadata), 0)
	b.PrependUOffsetTSlot(messageHeader, newSchema, 0)
	b.PrependByteSlot(messageHeaderType, headerSchema, 0)
	b.PrependInt16Slot(messageVersion, message.GetInt16Slot(slot(messageVersion), 0), 0)
	b.Finish(b.EndObject())
	return b.FinishedBytes(), nil
}

// newField builds the table Field of the added column.
func newField(b *flatbuffers.Builder, name string, typ footer.FlagType) flatbuffers.UOffsetT {
	label := b.CreateString(name)
	kind, details := byte(typeTimestamp), flatbuffers.UOffsetT(0)
	if typ == footer.Integer {
		kind = typeInt
		b.StartObject(2) // Int
		b.PrependInt32Slot(0, 64, 0)
		b.PrependBoolSlot(1, true, false) // signed
		details = b.EndObject()
	} else {
		zone := b.CreateString("UTC")
		b.StartObject(2) // Timestamp
		b.PrependInt16Slot(0, unitMilli, 0)
		b.PrependUOffsetTSlot(1, zone, 0)
		details = b.EndObject()
	}
	children := b.CreateVectorOfTables(nil) // readers insist on the list
	b.StartObject(7)                        // Field
	b.PrependUOffsetTSlot(0, label, 0)
	b.PrependBoolSlot(1, true, false) // nullable
	b.PrependByteSlot(2, kind, 0)
	b.PrependUOffsetTSlot(3, details, 0)
	b.PrependUOffsetTSlot(5, children, 0)
	return b.EndObject()
}

// slot is where the n-th slot of a table stands in its vtable.
func slot(n int) flatbuffers.VOffsetT { return flatbuffers.VOffsetT(4 + 2*n) }

// slots counts the slots of a table.
func slots(t flatbuffers.Table) int {
	vtable := flatbuffers.UOffsetT(flatbuffers.SOffsetT(t.Pos) - t.GetSOffsetT(t.Pos))
	return (int(t.GetVOffsetT(vtable)) - 4) / 2
}
