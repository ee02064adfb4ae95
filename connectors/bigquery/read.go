package bigquery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"cloud.google.com/go/bigquery"
	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/googleapis/gax-go/v2"
	"golang.org/x/sync/errgroup"
	"google.golang.org/api/iterator"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"optsweep/schemas"
)

// batch is a piece of a staging table, column by column. It is valid until the
// callback that gets it returns.
type batch struct {
	ids     [][]byte // nil for NULL
	counts  []int64
	flagged []int64
	min     []int64 // microseconds since 1970; meaningless where flagged is 0
	max     []int64
}

func (b *batch) reset() {
	b.ids, b.counts, b.flagged, b.min, b.max = b.ids[:0], b.counts[:0], b.flagged[:0], b.min[:0], b.max[:0]
}

// readStreams is how many streams a table is read with at most. One gives some
// tens of megabytes a second.
const readStreams = 8

// readStaged reads a staging table through the Storage Read API, in several
// streams; yield is never called concurrently. Where that API may not be used,
// it says so and reads through REST.
func (c *Client) readStaged(ctx context.Context, r TableRef, yield func(batch) error) error {
	var session *storagepb.ReadSession
	err := c.retry(ctx, func(ctx context.Context) (err error) {
		session, err = c.read.CreateReadSession(ctx, &storagepb.CreateReadSessionRequest{
			Parent: "projects/" + c.Project,
			ReadSession: &storagepb.ReadSession{
				Table:      fmt.Sprintf("projects/%s/datasets/%s/tables/%s", r.Project, r.Dataset, r.Table),
				DataFormat: storagepb.DataFormat_ARROW,
				ReadOptions: &storagepb.ReadSession_TableReadOptions{
					SelectedFields: []string{colID, colCount, colFlagged, colFlagMin, colFlagMax},
				},
			},
			MaxStreamCount: readStreams,
		})
		return err
	})
	if code := status.Code(err); code == codes.PermissionDenied || code == codes.Unimplemented {
		c.Log.Warn("the Storage Read API cannot be used: reading slowly, through REST", "reason", clean(err), "remedy", "grant bigquery.readsessions.create (roles/bigquery.readSessionUser)")
		return c.readREST(ctx, r, yield)
	}
	if err != nil {
		return err
	}
	var mu sync.Mutex
	streams, ctx := errgroup.WithContext(ctx)
	for _, s := range session.Streams {
		reader := streamReader{client: c, name: s.Name, schema: session.GetArrowSchema().GetSerializedSchema()}
		streams.Go(func() error {
			return reader.read(ctx, func(b batch) error {
				mu.Lock()
				defer mu.Unlock()
				return yield(b)
			})
		})
	}
	return streams.Wait()
}

// streamReader reads one stream of a session.
type streamReader struct {
	client *Client
	name   string
	schema []byte // Arrow IPC message
	offset int64  // rows that were passed on
	batch  batch
}

// read reads the stream to its end. A connection that breaks is made again
// from the row where it broke.
func (s *streamReader) read(ctx context.Context, yield func(batch) error) error {
	pause := s.client.pauses()
	for n := 1; ; n++ {
		before := s.offset
		yielded, err := s.connect(ctx, yield)
		if err == nil || yielded || ctx.Err() != nil || !isRetryable(err) {
			return err
		}
		if s.offset > before {
			n, pause = 1, s.client.pauses()
		}
		if n == retries {
			return err
		}
		if err := gax.Sleep(ctx, pause.Pause()); err != nil {
			return err
		}
	}
}

// connect reads the stream until it ends or breaks. yielded tells that the
// error is that of yield.
func (s *streamReader) connect(ctx context.Context, yield func(batch) error) (yielded bool, err error) {
	defer func() {
		if r := recover(); r != nil { // arrow v17 panics on what it does not expect
			err = schemas.Errorf(schemas.Integrity, "the answer of the Storage Read API cannot be read")
		}
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rows, err := s.client.read.ReadRows(ctx, &storagepb.ReadRowsRequest{ReadStream: s.name, Offset: s.offset})
	if err != nil {
		return false, err
	}
	source := &messages{schema: s.schema, rows: rows, giveUp: cancel, silence: s.client.silence}
	reader, err := ipc.NewReader(source)
	if err != nil {
		return false, errors.Join(source.err, err)
	}
	defer reader.Release()
	for reader.Next() {
		record := reader.Record()
		if err := s.batch.fill(record); err != nil {
			return false, err
		}
		if err := yield(s.batch); err != nil {
			return true, err
		}
		s.offset += record.NumRows()
	}
	if source.err != nil {
		return false, source.err
	}
	return false, reader.Err()
}

// messages is a stream of Arrow IPC: the schema, then the record batches of
// the answers.
type messages struct {
	schema []byte
	rows   storagepb.BigQueryRead_ReadRowsClient
	rest   bytes.Reader
	begun  bool
	giveUp context.CancelFunc // ends a connection that is silent for too long
	err    error              // of the connection

	silence time.Duration
}

// silence is how long a stream may say nothing before it is connected anew.
const silence = 5 * time.Minute

// Read implements io.Reader.
func (m *messages) Read(p []byte) (int, error) {
	for m.rest.Len() == 0 {
		if !m.begun {
			m.begun = true
			m.rest.Reset(m.schema)
			continue
		}
		watchdog := time.AfterFunc(m.silence, m.giveUp)
		answer, err := m.rows.Recv()
		if !watchdog.Stop() && err != nil {
			err = status.Error(codes.Unavailable, "the stream fell silent")
		}
		if errors.Is(err, io.EOF) {
			return 0, io.EOF
		}
		if err != nil {
			m.err = err
			return 0, err
		}
		m.rest.Reset(answer.GetArrowRecordBatch().GetSerializedRecordBatch())
	}
	return m.rest.Read(p)
}

// fill takes the columns of a record.
func (b *batch) fill(record arrow.Record) error {
	b.reset()
	for i, field := range record.Schema().Fields() {
		switch column := record.Column(i).(type) {
		case *array.String:
			for row := range column.Len() {
				if column.IsNull(row) {
					b.ids = append(b.ids, nil)
				} else {
					b.ids = append(b.ids, bytesOf(column, row))
				}
			}
		case *array.Int64:
			switch field.Name {
			case colCount:
				b.counts = append(b.counts, column.Int64Values()...)
			case colFlagged:
				b.flagged = append(b.flagged, column.Int64Values()...)
			}
		case *array.Timestamp:
			unit := column.DataType().(*arrow.TimestampType).Unit
			into := &b.min
			if field.Name == colFlagMax {
				into = &b.max
			}
			for row := range column.Len() {
				if column.IsNull(row) {
					*into = append(*into, 0)
				} else {
					*into = append(*into, column.Value(row).ToTime(unit).UnixMicro())
				}
			}
		default:
			return schemas.Errorf(schemas.Failed, "column %s is of type %s", field.Name, column.DataType()).
				WithHint("the id column must be of type STRING")
		}
	}
	n := len(b.ids)
	if n != int(record.NumRows()) || len(b.counts) != n || len(b.flagged) != n || len(b.min) != n || len(b.max) != n {
		return schemas.Errorf(schemas.Integrity, "a column of the staged ids is missing")
	}
	return nil
}

// bytesOf is the text of a cell, in the memory of the column.
func bytesOf(column *array.String, row int) []byte {
	from := column.ValueOffset(row) - column.ValueOffset(0)
	return column.ValueBytes()[from : from+column.ValueLen(row)]
}

// readREST reads a staging table page by page.
func (c *Client) readREST(ctx context.Context, r TableRef, yield func(batch) error) error {
	rows := c.table(r).Read(ctx)
	rows.PageInfo().MaxSize = 50_000
	var b batch
	flush := func() error {
		if len(b.ids) == 0 {
			return nil
		}
		err := yield(b)
		b.reset()
		return err
	}
	for {
		var row struct {
			ID      bigquery.NullString    `bigquery:"id"`
			N       int64                  `bigquery:"n"`
			Flagged int64                  `bigquery:"flagged"`
			FlagMin bigquery.NullTimestamp `bigquery:"flag_min"`
			FlagMax bigquery.NullTimestamp `bigquery:"flag_max"`
		}
		err := rows.Next(&row)
		if errors.Is(err, iterator.Done) {
			return flush()
		}
		if err != nil {
			return err
		}
		var id []byte
		if row.ID.Valid {
			id = []byte(row.ID.StringVal)
		}
		b.ids, b.counts, b.flagged = append(b.ids, id), append(b.counts, row.N), append(b.flagged, row.Flagged)
		b.min, b.max = append(b.min, row.FlagMin.Timestamp.UnixMicro()), append(b.max, row.FlagMax.Timestamp.UnixMicro())
		if len(b.ids) == 4096 {
			if err := flush(); err != nil {
				return err
			}
		}
	}
}
