package bigquery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"cloud.google.com/go/bigquery"
	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
	"github.com/googleapis/gax-go/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"optsweep/schemas"
)

// streamHits puts hits into a staging table through a pending stream of the
// Storage Write API. The stream is committed whole or not at all, so the table
// holds all hits or none, and whoever comes again sees which. A stream that was
// not committed is never seen and goes away by itself.
func (c *Client) streamHits(ctx context.Context, h *hits, _, _ string, dst TableRef) (outcome, error) {
	if err := h.finish(); err != nil {
		return outcome{}, err
	}
	if err := c.create(ctx, dst, &bigquery.TableMetadata{Schema: hitsSchema(), ExpirationTime: c.Now().Add(c.Expiry)}); err != nil {
		return outcome{}, err
	}
	if _, err := c.expire(ctx, dst); err != nil {
		return outcome{}, err
	}
	n, err := c.streamed(ctx, dst)
	if err != nil || n == h.n {
		return outcome{adopted: true}, err
	}
	if n == 0 {
		if err := c.writeStream(ctx, h, dst); err != nil {
			return outcome{}, explain(err, "stream hits into %s", dst)
		}
		if n, err = c.streamed(ctx, dst); err != nil {
			return outcome{}, err
		}
	}
	if n != h.n {
		return outcome{}, schemas.Errorf(schemas.Integrity, "%s holds %d hits, want %d", dst, n, h.n).
			WithHint("if no other process of this job is running, remove the table and run the same command again: bq rm -t %s:%s.%s", dst.Project, dst.Dataset, dst.Table)
	}
	return outcome{}, nil
}

// streamed counts what is in a staging table.
func (c *Client) streamed(ctx context.Context, dst TableRef) (int64, error) {
	var sum struct{ Total int64 }
	err := c.ask(ctx, "count staged hits", source{from: dst.sql(), ids: []path{{{name: hitID}}}}.count(), &sum)
	return sum.Total, err
}

// each gives the hits of a finished file.
func (h *hits) each(ctx context.Context, yield func(id []byte, sinceUS int64) error) (err error) {
	in, err := file.OpenParquetFile(h.file.Name(), false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	reader, err := pqarrow.NewFileReader(in, pqarrow.ArrowReadProperties{BatchSize: 4096}, memory.DefaultAllocator)
	if err != nil {
		return err
	}
	records, err := reader.GetRecordReader(ctx, nil, nil)
	if err != nil {
		return err
	}
	defer records.Release()
	for records.Next() {
		record := records.Record()
		ids, since := record.Column(0).(*array.String), record.Column(1).(*array.Timestamp)
		for row := range int(record.NumRows()) {
			if err := yield(bytesOf(ids, row), int64(since.Value(row))); err != nil {
				return err
			}
		}
	}
	if err := records.Err(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// streamChunk is the size of one message of rows. BigQuery takes 10 MB.
const streamChunk = 2 << 20

// writeStream writes, finalizes and commits one pending stream.
func (c *Client) writeStream(ctx context.Context, h *hits, dst TableRef) error {
	parent := fmt.Sprintf("projects/%s/datasets/%s/tables/%s", dst.Project, dst.Dataset, dst.Table)
	name, err := c.newStream(ctx, parent)
	if err != nil {
		return err
	}
	s := &hitStream{c: c, name: name}
	defer s.hangUp()
	if err := s.appendAll(ctx, h); err != nil {
		return err
	}
	var finalized *storagepb.FinalizeWriteStreamResponse
	err = c.retry(ctx, func(ctx context.Context) (err error) {
		finalized, err = c.write.FinalizeWriteStream(ctx, &storagepb.FinalizeWriteStreamRequest{Name: name})
		return err
	})
	if err != nil {
		return err
	}
	if finalized.RowCount != h.n {
		return schemas.Errorf(schemas.Integrity, "a stream into %s took %d hits, want %d", dst, finalized.RowCount, h.n).
			WithHint("run the same command again; none of them is in the table")
	}
	return c.retry(ctx, func(ctx context.Context) error {
		answer, err := c.write.BatchCommitWriteStreams(ctx, &storagepb.BatchCommitWriteStreamsRequest{Parent: parent, WriteStreams: []string{name}})
		if err != nil {
			return err
		}
		for _, e := range answer.StreamErrors {
			if e.Code != storagepb.StorageError_STREAM_ALREADY_COMMITTED { // the answer to an earlier attempt was lost
				return fmt.Errorf("commit: %s: %s", e.Code, e.ErrorMessage)
			}
		}
		return nil
	})
}

// newStream makes a pending stream. The Storage Write API may take a moment to
// know a new table.
func (c *Client) newStream(ctx context.Context, table string) (string, error) {
	pause := backoff()
	for n := 1; ; n++ {
		var made *storagepb.WriteStream
		err := c.retry(ctx, func(ctx context.Context) (err error) {
			made, err = c.write.CreateWriteStream(ctx, &storagepb.CreateWriteStreamRequest{
				Parent: table, WriteStream: &storagepb.WriteStream{Type: storagepb.WriteStream_PENDING},
			})
			return err
		})
		if err == nil {
			return made.Name, nil
		}
		if !isNotFound(err) || n == attempts {
			return "", err
		}
		if err := gax.Sleep(ctx, pause.Pause()); err != nil {
			return "", err
		}
	}
}

// hitStream appends to one stream, one message at a time.
type hitStream struct {
	c      *Client
	name   string
	offset int64 // rows that the stream has

	conn storagepb.BigQueryWrite_AppendRowsClient // nil: not connected
	end  context.CancelFunc                       // of conn
}

func (s *hitStream) hangUp() {
	if s.conn != nil {
		s.end()
		s.conn = nil
	}
}

func (s *hitStream) appendAll(ctx context.Context, h *hits) error {
	var rows [][]byte
	size := 0
	flush := func() error {
		if len(rows) == 0 {
			return nil
		}
		// A message goes out again under its offset, so that it is stored once.
		err := s.c.retry(ctx, func(context.Context) error { return s.append(ctx, rows) })
		s.offset += int64(len(rows))
		rows, size = rows[:0], 0
		return err
	}
	err := h.each(ctx, func(id []byte, sinceUS int64) error {
		row := encodeHit(id, sinceUS)
		if size+len(row) > streamChunk {
			if err := flush(); err != nil {
				return err
			}
		}
		rows, size = append(rows, row), size+len(row)+4 // with tag and length
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}

// append sends rows and waits until they are stored. An error ends the
// connection; the next call makes another one.
func (s *hitStream) append(ctx context.Context, rows [][]byte) (err error) {
	defer func() {
		if err != nil {
			s.hangUp()
		}
	}()
	req := &storagepb.AppendRowsRequest{
		WriteStream: s.name, Offset: wrapperspb.Int64(s.offset), TraceId: "optsweep",
		Rows: &storagepb.AppendRowsRequest_ProtoRows{ProtoRows: &storagepb.AppendRowsRequest_ProtoData{Rows: &storagepb.ProtoRows{SerializedRows: rows}}},
	}
	if s.conn == nil {
		connection, end := context.WithCancel(metadata.AppendToOutgoingContext(ctx, "x-goog-request-params", "write_stream="+url.QueryEscape(s.name)))
		if s.conn, err = s.c.write.AppendRows(connection); err != nil {
			end()
			return err
		}
		s.end = end
		req.GetProtoRows().WriterSchema = &storagepb.ProtoSchema{ProtoDescriptor: hitDescriptor()}
	}
	watchdog := time.AfterFunc(callTimeout, s.end)
	answer, err := s.exchange(req)
	if !watchdog.Stop() && err != nil {
		return status.Error(codes.Unavailable, "the stream fell silent")
	}
	if err != nil {
		return err
	}
	if bad := answer.GetRowErrors(); len(bad) > 0 {
		return schemas.Errorf(schemas.Integrity, "%d hits of a message were refused: %s", len(bad), bad[0].Code)
	}
	err = status.ErrorProto(answer.GetError())
	switch status.Code(err) {
	case codes.AlreadyExists: // an earlier attempt got through
		return nil
	case codes.OutOfRange:
		return schemas.Errorf(schemas.Integrity, "a stream lost rows: %s", clean(err)).WithHint("run the same command again; none of them is in the table")
	}
	return err
}

func (s *hitStream) exchange(req *storagepb.AppendRowsRequest) (*storagepb.AppendRowsResponse, error) {
	if err := s.conn.Send(req); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	answer, err := s.conn.Recv() // after io.EOF it says what was wrong
	if errors.Is(err, io.EOF) {
		err = status.Error(codes.Unavailable, "the connection was closed")
	}
	return answer, err
}

// Numbers of the fields of a hit in a message.
const (
	hitIDField    = 1
	hitSinceField = 2
)

// hitDescriptor describes a hit as a message of protocol buffers. A TIMESTAMP
// is an int64 of microseconds since 1970 (Storage Write API, data type
// conversions).
func hitDescriptor() *descriptorpb.DescriptorProto {
	field := func(number int32, name string, kind descriptorpb.FieldDescriptorProto_Type) *descriptorpb.FieldDescriptorProto {
		return &descriptorpb.FieldDescriptorProto{
			Name: proto.String(name), Number: proto.Int32(number), Type: kind.Enum(), Label: descriptorpb.FieldDescriptorProto_LABEL_REQUIRED.Enum(),
		}
	}
	return &descriptorpb.DescriptorProto{Name: proto.String("Hit"), Field: []*descriptorpb.FieldDescriptorProto{
		field(hitIDField, hitID, descriptorpb.FieldDescriptorProto_TYPE_STRING),
		field(hitSinceField, hitSince, descriptorpb.FieldDescriptorProto_TYPE_INT64),
	}}
}

func encodeHit(id []byte, sinceUS int64) []byte {
	b := protowire.AppendTag(make([]byte, 0, len(id)+16), hitIDField, protowire.BytesType)
	b = protowire.AppendBytes(b, id)
	b = protowire.AppendTag(b, hitSinceField, protowire.VarintType)
	return protowire.AppendVarint(b, uint64(sinceUS))
}
