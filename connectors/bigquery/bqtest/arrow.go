package bqtest

import (
	"bytes"
	"fmt"

	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/ipc"
)

// decode reads the emulator's Arrow messages: the schema, and the rows in
// batches of at most batchRows.
func decode(session *storagepb.ReadSession, messages []*storagepb.ReadRowsResponse) (*arrow.Schema, []arrow.Record, error) {
	r, err := ipc.NewReader(bytes.NewReader(session.GetArrowSchema().GetSerializedSchema()))
	if err != nil {
		return nil, nil, fmt.Errorf("schema of a read session: %w", err)
	}
	schema := r.Schema()
	r.Release()
	var batches []arrow.Record
	for _, m := range messages {
		r, err := ipc.NewReader(bytes.NewReader(m.GetArrowRecordBatch().GetSerializedRecordBatch()))
		if err != nil {
			return nil, nil, fmt.Errorf("rows of a read session: %w", err)
		}
		var rows int64
		for r.Next() {
			record := r.Record()
			rows += record.NumRows()
			for from := int64(0); from < record.NumRows(); from += batchRows {
				batches = append(batches, record.NewSlice(from, min(from+batchRows, record.NumRows())))
			}
		}
		err = r.Err()
		r.Release()
		if err != nil {
			return nil, nil, fmt.Errorf("rows of a read session: %w", err)
		}
		if rows != m.RowCount {
			return nil, nil, fmt.Errorf("%d rows in a message that claims %d", rows, m.RowCount)
		}
	}
	return schema, batches, nil
}

// endMarker ends an Arrow IPC stream.
var endMarker = []byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}

// encodeSchema is the bare schema message of an Arrow IPC stream.
func encodeSchema(schema *arrow.Schema) ([]byte, error) {
	var stream bytes.Buffer
	w := ipc.NewWriter(&stream, ipc.WithSchema(schema))
	if err := w.Close(); err != nil {
		return nil, err
	}
	message, ok := bytes.CutSuffix(stream.Bytes(), endMarker)
	if !ok {
		return nil, fmt.Errorf("an Arrow stream without end marker")
	}
	return message, nil
}

// encodeBatch is the bare record batch message of an Arrow IPC stream.
func encodeBatch(schema *storagepb.ArrowSchema, batch arrow.Record, options []ipc.Option) ([]byte, error) {
	var stream bytes.Buffer
	w := ipc.NewWriter(&stream, append(options, ipc.WithSchema(batch.Schema()))...)
	if err := w.Write(batch); err != nil {
		return nil, err
	}
	message, ok := bytes.CutPrefix(stream.Bytes(), schema.SerializedSchema)
	if !ok {
		return nil, fmt.Errorf("an Arrow stream that does not begin with its schema")
	}
	return message, nil
}

func compression(options *storagepb.ReadSession_TableReadOptions) []ipc.Option {
	switch options.GetArrowSerializationOptions().GetBufferCompression() {
	case storagepb.ArrowSerializationOptions_LZ4_FRAME:
		return []ipc.Option{ipc.WithLZ4()}
	case storagepb.ArrowSerializationOptions_ZSTD:
		return []ipc.Option{ipc.WithZstd()}
	}
	return nil
}
