package bqtest_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"optsweep/connectors/bigquery/bqtest"

	"cloud.google.com/go/bigquery"
	storage "cloud.google.com/go/bigquery/storage/apiv1"
	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"cloud.google.com/go/bigquery/storage/managedwriter"
	"cloud.google.com/go/bigquery/storage/managedwriter/adapt"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"google.golang.org/api/iterator"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// wantIDs checks that ids are those of peopleRows, in any order.
func wantIDs(t *testing.T, ids []string, n int) {
	t.Helper()
	slices.Sort(ids)
	if len(ids) != n || len(slices.Compact(ids)) != n || ids[0] != "id-000000" || ids[n-1] != fmt.Sprintf("id-%06d", n-1) {
		t.Errorf("%d ids, want %d distinct ones", len(ids), n)
	}
}

func TestReadRowsOfAJob(t *testing.T) {
	t.Parallel()
	em := bqtest.Shared(t)
	d := em.Dataset(t)
	d.Create(t, "people", people, peopleRows(1000))
	client, err := em.NewReadingClient(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	job, err := distinct(t, client, d, "distinct-"+d.ID)
	if err != nil {
		t.Fatal(err)
	}
	wait(t, job)

	rows, err := job.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !rows.IsAccelerated() {
		t.Error("rows do not come through the Storage Read API")
	}
	var ids []string
	for {
		var row []bigquery.Value
		err := rows.Next(&row)
		if errors.Is(err, iterator.Done) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, row[0].(string))
	}
	wantIDs(t, ids, 1000)

	if rows, err = job.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	it, err := rows.ArrowIterator()
	if err != nil {
		t.Fatal(err)
	}
	r, err := ipc.NewReader(bigquery.NewArrowIteratorReader(it))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	ids = nil
	for r.Next() {
		column := r.Record().Column(0).(*array.String)
		for i := range column.Len() {
			ids = append(ids, column.Value(i))
		}
	}
	if r.Err() != nil {
		t.Fatal(r.Err())
	}
	wantIDs(t, ids, 1000)
}

// readStream reads one stream from an offset and returns the first column and
// the number of messages.
func readStream(t *testing.T, client *storage.BigQueryReadClient, schema []byte, name string, offset int64) (ids []string, messages int) {
	t.Helper()
	stream, err := client.ReadRows(t.Context(), &storagepb.ReadRowsRequest{ReadStream: name, Offset: offset})
	if err != nil {
		t.Fatal(err)
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return ids, messages
		}
		if err != nil {
			t.Fatal(err)
		}
		messages++
		batch := m.GetArrowRecordBatch().SerializedRecordBatch
		r, err := ipc.NewReader(io.MultiReader(bytes.NewReader(schema), bytes.NewReader(batch)))
		if err != nil {
			t.Fatal(err)
		}
		before := len(ids)
		for r.Next() {
			column := r.Record().Column(0).(*array.String)
			for i := range column.Len() {
				ids = append(ids, column.Value(i))
			}
		}
		if r.Err() != nil {
			t.Fatal(r.Err())
		}
		r.Release()
		if int64(len(ids)-before) != m.RowCount {
			t.Fatalf("%d rows in a message of %d", len(ids)-before, m.RowCount)
		}
	}
}

func TestReadStreams(t *testing.T) {
	t.Parallel()
	em := bqtest.Shared(t)
	d := em.Dataset(t)
	d.Create(t, "people", people, peopleRows(1000)[:1000])
	client, err := storage.NewBigQueryReadClient(t.Context(), em.GRPCOptions()...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, limit := range []int32{0, 1, 3} {
		options := &storagepb.ReadSession_TableReadOptions{SelectedFields: []string{"n", "euid"}}
		if limit == 3 {
			options.OutputFormatSerializationOptions = &storagepb.ReadSession_TableReadOptions_ArrowSerializationOptions{
				ArrowSerializationOptions: &storagepb.ArrowSerializationOptions{BufferCompression: storagepb.ArrowSerializationOptions_ZSTD},
			}
		}
		session, err := client.CreateReadSession(t.Context(), &storagepb.CreateReadSessionRequest{
			Parent:         "projects/" + em.Project(),
			ReadSession:    &storagepb.ReadSession{Table: d.StorageName("people"), DataFormat: storagepb.DataFormat_ARROW, ReadOptions: options},
			MaxStreamCount: limit,
		})
		if err != nil {
			t.Fatal(err)
		}
		if session.EstimatedRowCount != 1000 {
			t.Errorf("estimate of %d rows", session.EstimatedRowCount)
		}
		if want := map[int32]int{0: 4, 1: 1, 3: 3}[limit]; len(session.Streams) != want {
			t.Errorf("limit %d: %d streams, want %d", limit, len(session.Streams), want)
		}
		d.Query(t, "INSERT INTO {people} (euid) VALUES ('later')") // a session is a snapshot
		schema := session.GetArrowSchema().SerializedSchema
		var all []string
		total := 0
		for _, s := range session.Streams {
			ids, messages := readStream(t, client, schema, s.Name, 0)
			rest, _ := readStream(t, client, schema, s.Name, 100)
			if !slices.Equal(rest, ids[100:]) {
				t.Errorf("from offset 100 come %d rows of %d", len(rest), len(ids))
			}
			all = append(all, ids...)
			total += messages
		}
		wantIDs(t, all, 1000)
		if total != 4 {
			t.Errorf("%d messages", total)
		}
		d.Query(t, "DELETE FROM {people} WHERE euid = 'later'")
	}

	d.Query(t, "DELETE FROM {people} WHERE TRUE")
	session, err := client.CreateReadSession(t.Context(), &storagepb.CreateReadSessionRequest{
		Parent:      "projects/" + em.Project(),
		ReadSession: &storagepb.ReadSession{Table: d.StorageName("people"), DataFormat: storagepb.DataFormat_ARROW},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(session.Streams) != 0 {
		t.Errorf("%d streams of an empty table", len(session.Streams))
	}
}

func TestReadOfAMissingTable(t *testing.T) {
	t.Parallel()
	em := bqtest.Shared(t)
	d := em.Dataset(t)
	client, err := storage.NewBigQueryReadClient(t.Context(), em.GRPCOptions()...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, table := range []string{d.StorageName("nowhere"), "projects/" + em.Project() + "/datasets/nowhere/tables/t", "projects/nobody/datasets/d/tables/t"} {
		_, err := client.CreateReadSession(t.Context(), &storagepb.CreateReadSessionRequest{
			Parent:      "projects/" + em.Project(),
			ReadSession: &storagepb.ReadSession{Table: table, DataFormat: storagepb.DataFormat_ARROW},
		})
		if status.Code(err) != codes.NotFound {
			t.Errorf("got %v", err)
		}
	}
	if err := em.Died(); err != nil {
		t.Fatal(err)
	}
	d.Query(t, "SELECT 1")
}

// encode makes messages with one column, euid, for a write stream.
func encode(t *testing.T, schema bigquery.Schema, ids []string) (protoreflect.MessageDescriptor, [][]byte) {
	t.Helper()
	tableSchema, err := adapt.BQSchemaToStorageTableSchema(schema)
	if err != nil {
		t.Fatal(err)
	}
	descriptor, err := adapt.StorageSchemaToProto2Descriptor(tableSchema, "row")
	if err != nil {
		t.Fatal(err)
	}
	message := descriptor.(protoreflect.MessageDescriptor)
	var rows [][]byte
	for _, id := range ids {
		m := dynamicpb.NewMessage(message)
		m.Set(message.Fields().ByName("euid"), protoreflect.ValueOfString(id))
		row, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
	return message, rows
}

func TestPendingStreams(t *testing.T) {
	t.Parallel()
	em := bqtest.Shared(t)
	d := em.Dataset(t)
	schema := people[:1]
	d.Create(t, "staged", schema, nil)
	client, err := managedwriter.NewClient(t.Context(), em.Project(), em.GRPCOptions()...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ids := []string{"a", "b", "c", "d", "e"}
	message, rows := encode(t, schema, ids)
	for run := range 2 {
		stream, err := client.NewManagedStream(t.Context(), managedwriter.WithDestinationTable(d.StorageName("staged")),
			managedwriter.WithType(managedwriter.PendingStream), managedwriter.WithSchemaDescriptor(protodesc.ToDescriptorProto(message)))
		if err != nil {
			t.Fatal(err)
		}
		send := func(rows [][]byte, offset int64) (int64, error) {
			result, err := stream.AppendRows(t.Context(), rows, managedwriter.WithOffset(offset))
			if err != nil {
				t.Fatal(err)
			}
			return result.GetResult(t.Context())
		}
		if at, err := send(rows[:3], 0); err != nil || at != 0 {
			t.Fatalf("at %d: %v", at, err)
		}
		if at, err := send(rows[3:], 3); err != nil || at != 3 {
			t.Fatalf("at %d: %v", at, err)
		}
		if _, err := send(rows[3:], 3); status.Code(err) != codes.AlreadyExists {
			t.Errorf("the same offset again: %v", err)
		}
		if _, err := send(rows, 7); status.Code(err) != codes.OutOfRange {
			t.Errorf("an offset after a gap: %v", err)
		}
		commit := &storagepb.BatchCommitWriteStreamsRequest{Parent: d.StorageName("staged"), WriteStreams: []string{stream.StreamName()}}
		early, err := client.BatchCommitWriteStreams(t.Context(), commit)
		if err != nil || len(early.StreamErrors) != 1 {
			t.Errorf("commit before finalize: %v, %v", early, err)
		}
		if n, err := stream.Finalize(t.Context()); err != nil || n != 5 {
			t.Fatalf("finalized %d rows: %v", n, err)
		}
		if n := d.Count(t, "staged"); n != 5*run {
			t.Errorf("%d rows before the commit", n)
		}
		for again := range 2 {
			answer, err := client.BatchCommitWriteStreams(t.Context(), commit)
			if err != nil || len(answer.StreamErrors) != again {
				t.Fatalf("commit: %v, %v", answer, err)
			}
			if n := d.Count(t, "staged"); n != 5*(run+1) {
				t.Errorf("%d rows after commit %d of run %d", n, again, run)
			}
		}
		if err := stream.Close(); err != nil && !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	}
}

func TestDefaultStream(t *testing.T) {
	t.Parallel()
	em := bqtest.Shared(t)
	d := em.Dataset(t)
	schema := people[:1]
	d.Create(t, "staged", schema, nil)
	client, err := managedwriter.NewClient(t.Context(), em.Project(), em.GRPCOptions()...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	message, rows := encode(t, schema, []string{"a", "b", "c"})
	stream, err := client.NewManagedStream(t.Context(), managedwriter.WithDestinationTable(d.StorageName("staged")),
		managedwriter.WithSchemaDescriptor(protodesc.ToDescriptorProto(message)))
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	for _, row := range rows {
		result, err := stream.AppendRows(t.Context(), [][]byte{row})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := result.GetResult(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := d.Query(t, "SELECT STRING_AGG(euid ORDER BY euid) FROM {staged}")[0][0]; got != "a,b,c" {
		t.Errorf("got %s", got)
	}
}
