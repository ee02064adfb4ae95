package bigquery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	storage "cloud.google.com/go/bigquery/storage/apiv1"
	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"optsweep/connectors/bigquery/bqtest"
	"optsweep/schemas"
)

// Streams leave the same tables as load jobs.
func TestStreamedHits(t *testing.T) {
	for _, mode := range []Mode{Column, Suppression} {
		t.Run(string(mode), func(t *testing.T) {
			b := newBench(t)
			b.data.Create(b, "crm", crmSchema, crmRows())
			table := b.table(Options{Ref: b.ref("crm"), IDColumns: []string{"euid"}, Write: Write{Mode: mode, Column: "opted_out_since", Stream: true}})
			optedOut := map[string]int64{"a": day1, "c": day1, " a": day1}
			r := b.apply(table, optedOut)[0]
			if mode == Column {
				b.receipt(r, schemas.Receipt{Changed: true, Rows: 7, Nulls: 1, OptedOut: 4, Flagged: 5, NewlyFlagged: 3, MovedEarlier: 1, Kept: 1, Confirmed: 5})
				b.rows("SELECT row, opted_out_since FROM {crm} ORDER BY row",
					"1 "+stamp(day1), "2 "+stamp(day1), "3 NULL", "4 NULL", "5 "+stamp(day1), "6 "+stamp(day1), "7 "+stamp(day1))
			} else {
				b.rows("SELECT id, opted_out_since FROM {optsweep_suppression} ORDER BY id", " a "+stamp(day1), "a "+stamp(day1), "c "+stamp(day1))
			}
			b.same(b.apply(table, optedOut), r)
		})
	}
}

// broken is a Storage Write API whose calls fail.
type broken struct {
	fail func(method string, n int) (done bool, err error) // done: after the call
	sent []*storagepb.AppendRowsRequest
	n    map[string]int
	lose func(n int) bool // the answer to the n-th message, with its connection
}

// breakWrites puts b between the client and the emulator.
func (b *bench) breakWrites(em *bqtest.Emulator, f *broken) {
	b.Helper()
	f.n = map[string]int{}
	unary := func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		short := method[strings.LastIndexByte(method, '/')+1:]
		f.n[short]++
		done, err := false, error(nil)
		if f.fail != nil {
			done, err = f.fail(short, f.n[short])
		}
		if err == nil || done {
			err = errors.Join(err, invoke(ctx, method, req, reply, cc, opts...))
		}
		return err
	}
	stream := func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		s, err := open(ctx, desc, cc, method, opts...)
		return &brokenStream{s, f}, err
	}
	options := append(em.GRPCOptions(), option.WithGRPCDialOption(grpc.WithUnaryInterceptor(unary)), option.WithGRPCDialOption(grpc.WithStreamInterceptor(stream)))
	w, err := storage.NewBigQueryWriteClient(b.Context(), options...)
	if err != nil {
		b.Fatal(err)
	}
	_ = b.client.write.Close()
	b.client.write = w
}

type brokenStream struct {
	grpc.ClientStream
	f *broken
}

func (s *brokenStream) SendMsg(m any) error {
	s.f.sent = append(s.f.sent, m.(*storagepb.AppendRowsRequest))
	return s.ClientStream.SendMsg(m)
}

func (s *brokenStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if s.f.lose != nil && s.f.lose(len(s.f.sent)) {
		return status.Error(codes.Unavailable, "lost")
	}
	return err
}

// hits makes hits, each the text of its number with some padding.
func (b *bench) hits(n, padding int) *hits {
	b.Helper()
	h, err := newHits(b.client.Temp)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(h.remove)
	for i := range n {
		if err := h.add(fmt.Appendf(nil, "%0*d", padding, i), day1*1000+int64(i), 1); err != nil {
			b.Fatal(err)
		}
	}
	return h
}

func (b *bench) stream(h *hits, table string) (outcome, error) {
	return b.client.streamHits(b.Context(), h, "id", b.run, b.ref(table))
}

// streamed checks what is in a table of hits.
func (b *bench) streamed(table string, n, padding int) {
	b.Helper()
	first := time.UnixMilli(day1).UTC()
	b.rows("SELECT COUNT(*), COUNT(DISTINCT optsweep_id), MIN(optsweep_id), MAX(optsweep_id), MIN(optsweep_since), MAX(optsweep_since) FROM {"+table+"}",
		fmt.Sprintf("%d %d %0*d %0*d %s %s", n, n, padding, 0, padding, n-1, first.Format(time.RFC3339Nano), first.Add(time.Duration(n-1)*time.Microsecond).Format(time.RFC3339Nano)))
}

// Many messages on several connections; an answer that is lost does not double
// its rows.
func TestStreamConnectionBreaks(t *testing.T) {
	em := bqtest.New(t)
	b := newBenchAt(t, em, em.Endpoint())
	f := &broken{lose: func(n int) bool { return n == 2 || n == 4 }}
	b.breakWrites(em, f)
	const n, padding = 9000, 600
	if _, err := b.stream(b.hits(n, padding), "h"); err != nil {
		t.Fatal(err)
	}
	b.streamed("h", n, padding)
	var offsets []int64
	for _, m := range f.sent {
		offsets = append(offsets, m.Offset.Value)
		size := 0
		for _, row := range m.GetProtoRows().Rows.SerializedRows {
			size += len(row)
		}
		if size > 10_000_000 {
			t.Errorf("a message of %d bytes", size)
		}
	}
	if len(offsets) < 5 || offsets[0] != 0 || offsets[1] != offsets[2] || offsets[3] != offsets[4] || !slices.IsSorted(offsets) {
		t.Errorf("offsets %v", offsets)
	}
}

func TestStreamAfterCrash(t *testing.T) {
	died := status.Error(codes.PermissionDenied, "died")
	for name, c := range map[string]struct {
		method    string
		done      bool
		committed bool
	}{
		"before a stream":     {"CreateWriteStream", false, false},
		"after a stream":      {"CreateWriteStream", true, false},
		"before finalization": {"FinalizeWriteStream", false, false},
		"before commit":       {"BatchCommitWriteStreams", false, false},
		"after commit":        {"BatchCommitWriteStreams", true, true},
	} {
		t.Run(name, func(t *testing.T) {
			em := bqtest.New(t)
			b := newBenchAt(t, em, em.Endpoint())
			f := &broken{fail: func(method string, n int) (bool, error) {
				if method == c.method && n == 1 {
					return c.done, died
				}
				return false, nil
			}}
			b.breakWrites(em, f)
			if _, err := b.stream(b.hits(40, 4), "h"); err == nil {
				t.Fatal("nothing was wrong")
			}
			if n := b.data.Count(t, "h"); n != 0 && !c.committed || n != 40 && c.committed {
				t.Errorf("%d hits after the crash", n)
			}
			done, err := b.stream(b.hits(40, 4), "h")
			if err != nil || done.adopted != c.committed {
				t.Errorf("again: adopted %t, %v", done.adopted, err)
			}
			b.streamed("h", 40, 4)
			if c.committed && f.n["CreateWriteStream"] != 1 {
				t.Errorf("%d streams for hits that were there", f.n["CreateWriteStream"])
			}
		})
	}
}

// A commit whose answer is lost is asked for again, and not done again.
func TestStreamCommitAnswerLost(t *testing.T) {
	em := bqtest.New(t)
	b := newBenchAt(t, em, em.Endpoint())
	f := &broken{fail: func(method string, n int) (bool, error) {
		if method == "BatchCommitWriteStreams" && n == 1 {
			return true, status.Error(codes.Aborted, "lost")
		}
		return false, nil
	}}
	b.breakWrites(em, f)
	if _, err := b.stream(b.hits(3, 4), "h"); err != nil || f.n["BatchCommitWriteStreams"] != 2 {
		t.Errorf("%d commits, %v", f.n["BatchCommitWriteStreams"], err)
	}
	b.streamed("h", 3, 4)
}

// A table that holds neither all nor none was not filled by a stream of ours.
func TestStreamIntoATableOfOthers(t *testing.T) {
	b := newBench(t)
	b.data.Create(b, "h", hitsSchema(), [][]any{{"x", time.UnixMilli(day1)}})
	_, err := b.stream(b.hits(3, 4), "h")
	if schemas.ClassOf(err) != schemas.Integrity || !strings.Contains(schemas.HintOf(err), "bq rm") {
		t.Errorf("%v (%s)", err, schemas.HintOf(err))
	}
	if n := b.data.Count(t, "h"); n != 1 {
		t.Errorf("there are %d rows", n)
	}
}

func TestHitsReadBack(t *testing.T) {
	b := &bench{T: t, client: &Client{Connection: Connection{Temp: t.TempDir()}}}
	const n = hitsPerGroup + 5000
	h := b.hits(n, 8)
	if err := h.finish(); err != nil {
		t.Fatal(err)
	}
	i := 0
	err := h.each(t.Context(), func(id []byte, sinceUS int64) error {
		if want := fmt.Appendf(nil, "%08d", i); !bytes.Equal(id, want) || sinceUS != day1*1000+int64(i) {
			return fmt.Errorf("hit %d is %s, %d", i, id, sinceUS)
		}
		i++
		return nil
	})
	if err != nil || i != n {
		t.Errorf("%d of %d hits: %v", i, n, err)
	}
}
