package bqtest

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"

	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// writes is the Storage Write API. It keeps the state of write streams, as
// the emulator does not mind it:
//
//   - Emulator: an append that does not name its stream, as all but the first
//     of a connection, goes to any stream. Here each append names it.
//   - Emulator: an offset is not checked, so that a repeated append is stored
//     twice. BigQuery: ALREADY_EXISTS, or OUT_OF_RANGE after a gap.
//   - Emulator: the offset in the answer is that of the end. BigQuery: of the
//     first row.
//   - Emulator: a stream may be committed without being finalized, and again,
//     which doubles its rows. BigQuery: INVALID_STREAM_STATE,
//     STREAM_ALREADY_COMMITTED, and no stream of the request is committed.
//   - Emulator: FlushRows past the end ends it, and a second one stores rows
//     again. Here the first is refused as by BigQuery, and the second is not
//     implemented.
//   - Emulator: an append to an unknown stream leaves a lock held for good.
//   - Emulator: a message of more than 4 MiB is refused. BigQuery: 20 MiB.
//     Nothing mends it.
type writes struct {
	storagepb.UnimplementedBigQueryWriteServer
	em   *Emulator
	back storagepb.BigQueryWriteClient

	mu      sync.Mutex
	streams map[string]*writeStream
}

// writeStream is the state of a write stream.
type writeStream struct {
	kind      storagepb.WriteStream_Type
	next      int64 // offset of the next row
	flushed   bool
	finalized bool
	committed bool
}

// defaultStream ends the name of the stream that each table has.
const defaultStream = "/_default"

func (w *writes) CreateWriteStream(ctx context.Context, req *storagepb.CreateWriteStreamRequest) (*storagepb.WriteStream, error) {
	if _, err := w.em.lookUp(ctx, req.Parent); err != nil {
		return nil, err
	}
	w.em.turn.Lock()
	created, err := w.back.CreateWriteStream(ctx, req)
	w.em.turn.Unlock()
	if err != nil {
		return nil, w.em.fault(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.streams[created.Name] = &writeStream{kind: created.Type}
	return created, nil
}

func (w *writes) GetWriteStream(ctx context.Context, req *storagepb.GetWriteStreamRequest) (*storagepb.WriteStream, error) {
	if _, err := w.known(ctx, req.Name); err != nil {
		return nil, err
	}
	w.em.turn.Lock()
	defer w.em.turn.Unlock()
	found, err := w.back.GetWriteStream(ctx, req)
	return found, w.em.fault(err)
}

// known is the state of a stream. It makes the default stream of a table at
// its first use.
//
// Emulator: that stream is there only after GetWriteStream.
func (w *writes) known(ctx context.Context, name string) (*writeStream, error) {
	w.mu.Lock()
	s := w.streams[name]
	w.mu.Unlock()
	if s != nil {
		return s, nil
	}
	notFound := status.Errorf(codes.NotFound, "Requested entity was not found. Entity: %s", name)
	if !strings.HasSuffix(name, defaultStream) {
		return nil, notFound
	}
	table, _, ok := strings.Cut(name, "/streams/")
	if !ok {
		return nil, notFound
	}
	if _, err := w.em.lookUp(ctx, table); err != nil {
		return nil, err
	}
	w.em.turn.Lock()
	_, err := w.back.GetWriteStream(ctx, &storagepb.GetWriteStreamRequest{Name: name})
	w.em.turn.Unlock()
	if err != nil {
		return nil, w.em.fault(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.streams[name] == nil {
		w.streams[name] = &writeStream{kind: storagepb.WriteStream_COMMITTED}
	}
	return w.streams[name], nil
}

func (w *writes) AppendRows(client storagepb.BigQueryWrite_AppendRowsServer) error {
	c := &appends{w: w, ctx: client.Context()}
	defer c.closeBack()
	for {
		req, err := client.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		answer, err := c.append(req)
		if err != nil {
			return err
		}
		if err := client.Send(answer); err != nil {
			return err
		}
	}
}

// appends is one connection of AppendRows.
type appends struct {
	w      *writes
	ctx    context.Context
	name   string
	schema *storagepb.ProtoSchema
	back   storagepb.BigQueryWrite_AppendRowsClient // nil before the first append of a stream
}

func (c *appends) closeBack() {
	if c.back != nil {
		_ = c.back.CloseSend()
		c.back = nil
	}
}

// append stores one message. An error ends the connection.
func (c *appends) append(req *storagepb.AppendRowsRequest) (*storagepb.AppendRowsResponse, error) {
	if req.WriteStream != "" && req.WriteStream != c.name {
		c.closeBack()
		c.name = req.WriteStream
	}
	if schema := req.GetProtoRows().GetWriterSchema(); schema != nil && !proto.Equal(schema, c.schema) {
		c.closeBack()
		c.schema = schema
	}
	s, err := c.w.known(c.ctx, c.name)
	if err != nil {
		return nil, err
	}
	if err := c.w.mayAppend(s, req.Offset); err != nil {
		return &storagepb.AppendRowsResponse{WriteStream: c.name, Response: &storagepb.AppendRowsResponse_Error{Error: status.Convert(err).Proto()}}, nil
	}
	answer, err := c.send(req)
	if err != nil {
		c.closeBack()
		return nil, c.w.em.fault(err)
	}
	if answer.GetError() != nil {
		c.closeBack() // the emulator does so, too
		return answer, nil
	}
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	result := &storagepb.AppendRowsResponse_AppendResult{}
	if !strings.HasSuffix(c.name, defaultStream) {
		result.Offset = wrapperspb.Int64(s.next)
	}
	s.next += int64(len(req.GetProtoRows().GetRows().GetSerializedRows()))
	answer.Response = &storagepb.AppendRowsResponse_AppendResult_{AppendResult: result}
	return answer, nil
}

func (w *writes) mayAppend(s *writeStream, offset *wrapperspb.Int64Value) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case s.finalized:
		return status.Error(codes.FailedPrecondition, "Stream has been finalized and cannot be appended")
	case offset == nil:
		return nil
	case offset.Value < s.next:
		return status.Errorf(codes.AlreadyExists, "The offset is within stream, expected offset %d, received %d", s.next, offset.Value)
	case offset.Value > s.next:
		return status.Errorf(codes.OutOfRange, "The offset is beyond stream, expected offset %d, received %d", s.next, offset.Value)
	}
	return nil
}

// send has the emulator store one message.
func (c *appends) send(req *storagepb.AppendRowsRequest) (*storagepb.AppendRowsResponse, error) {
	req = proto.CloneOf(req)
	req.WriteStream = c.name
	c.w.em.turn.Lock()
	defer c.w.em.turn.Unlock()
	if c.back == nil {
		back, err := c.w.back.AppendRows(c.ctx)
		if err != nil {
			return nil, err
		}
		c.back = back
		if rows := req.GetProtoRows(); rows != nil {
			rows.WriterSchema = c.schema
		}
	}
	if err := c.back.Send(req); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return c.back.Recv() // after io.EOF it says what was wrong
}

func (w *writes) FinalizeWriteStream(ctx context.Context, req *storagepb.FinalizeWriteStreamRequest) (*storagepb.FinalizeWriteStreamResponse, error) {
	s, err := w.known(ctx, req.Name)
	if err != nil {
		return nil, err
	}
	w.em.turn.Lock()
	_, err = w.back.FinalizeWriteStream(ctx, req)
	w.em.turn.Unlock()
	if err != nil {
		return nil, w.em.fault(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s.finalized = true
	return &storagepb.FinalizeWriteStreamResponse{RowCount: s.next}, nil
}

func (w *writes) BatchCommitWriteStreams(ctx context.Context, req *storagepb.BatchCommitWriteStreamsRequest) (*storagepb.BatchCommitWriteStreamsResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var faults []*storagepb.StorageError
	refuse := func(name string, code storagepb.StorageError_StorageErrorCode) {
		faults = append(faults, &storagepb.StorageError{Code: code, Entity: name, ErrorMessage: code.String()})
	}
	for i, name := range req.WriteStreams {
		switch s := w.streams[name]; {
		case s == nil:
			refuse(name, storagepb.StorageError_STREAM_NOT_FOUND)
		case s.kind != storagepb.WriteStream_PENDING:
			refuse(name, storagepb.StorageError_INVALID_STREAM_TYPE)
		case s.committed || slices.Contains(req.WriteStreams[:i], name):
			refuse(name, storagepb.StorageError_STREAM_ALREADY_COMMITTED)
		case !s.finalized:
			refuse(name, storagepb.StorageError_INVALID_STREAM_STATE)
		}
	}
	if faults != nil {
		return &storagepb.BatchCommitWriteStreamsResponse{StreamErrors: faults}, nil
	}
	w.em.turn.Lock()
	answer, err := w.back.BatchCommitWriteStreams(ctx, req)
	w.em.turn.Unlock()
	if err != nil {
		return nil, w.em.fault(err)
	}
	for _, name := range req.WriteStreams {
		w.streams[name].committed = len(answer.StreamErrors) == 0
	}
	return answer, nil
}

func (w *writes) FlushRows(ctx context.Context, req *storagepb.FlushRowsRequest) (*storagepb.FlushRowsResponse, error) {
	s, err := w.known(ctx, req.WriteStream)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch offset := req.GetOffset(); {
	case offset == nil || offset.Value >= s.next:
		return nil, status.Errorf(codes.OutOfRange, "The offset is beyond the end of the stream, at %d", s.next)
	case s.flushed:
		return nil, status.Error(codes.Unimplemented, "emulator: a second flush of a stream would store rows again")
	}
	w.em.turn.Lock()
	answer, err := w.back.FlushRows(ctx, req)
	w.em.turn.Unlock()
	s.flushed = err == nil
	return answer, w.em.fault(err)
}
