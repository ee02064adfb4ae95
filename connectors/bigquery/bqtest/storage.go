package bqtest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"

	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// storageProxy is the gRPC server in front of the emulator's.
type storageProxy struct {
	server *grpc.Server
	back   *grpc.ClientConn
}

// maxMessage is the size of the largest message of the emulator, which sends
// a whole table as one.
const maxMessage = 1 << 30

// maxAppend is the largest message to a write stream, as of BigQuery.
const maxAppend = 20 << 20

func (em *Emulator) serveStorage() (*storageProxy, string, error) {
	back, err := grpc.NewClient("passthrough:///"+em.process.grpc,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)))
	if err != nil {
		return nil, "", err
	}
	l, err := listen()
	if err != nil {
		_ = back.Close()
		return nil, "", err
	}
	p := &storageProxy{server: grpc.NewServer(grpc.MaxRecvMsgSize(maxAppend)), back: back}
	storagepb.RegisterBigQueryReadServer(p.server, &reads{em: em, back: storagepb.NewBigQueryReadClient(back), streams: map[string]*readStream{}})
	storagepb.RegisterBigQueryWriteServer(p.server, &writes{em: em, back: storagepb.NewBigQueryWriteClient(back), streams: map[string]*writeStream{}})
	go func() { _ = p.server.Serve(l) }()
	return p, l.Addr().String(), nil
}

func (p *storageProxy) close() {
	p.server.Stop()
	_ = p.back.Close()
}

// table is what the REST API says of a table.
type table struct {
	Type   string          `json:"type"`
	Schema json.RawMessage `json:"schema"`
}

// columns are the names of the columns.
func (t table) columns() ([]string, error) {
	var schema struct {
		Fields []struct {
			Name string `json:"name"`
		} `json:"fields"`
	}
	if err := json.Unmarshal(t.Schema, &schema); err != nil {
		return nil, err
	}
	var names []string
	for _, f := range schema.Fields {
		names = append(names, f.Name)
	}
	return names, nil
}

var tablePath = regexp.MustCompile(`^projects/([^/]+)/datasets/([^/]+)/tables/([^/]+)$`)

// lookUp finds a table by its resource name.
//
// Emulator: a request for a read session of a table that does not exist ends
// it, as its gRPC server does not recover from panics. Here the REST API is
// asked first. BigQuery: NotFound.
func (em *Emulator) lookUp(ctx context.Context, name string) (table, error) {
	var t table
	m := tablePath.FindStringSubmatch(name)
	if m == nil {
		return t, status.Errorf(codes.InvalidArgument, "request failed: %q is no table", name)
	}
	a, err := em.get(ctx, "/"+name)
	switch {
	case err != nil:
		return t, status.Error(codes.FailedPrecondition, err.Error())
	case a.status == http.StatusNotFound:
		return t, status.Errorf(codes.NotFound, "Not found: Table %s:%s.%s", m[1], m[2], m[3])
	case a.status != http.StatusOK:
		return t, status.Errorf(codes.FailedPrecondition, "emulator: %d: %s", a.status, a.body)
	}
	if err := json.Unmarshal(a.body, &t); err != nil {
		return t, status.Errorf(codes.FailedPrecondition, "emulator: %v", err)
	}
	return t, nil
}

// fault makes an emulator's error one that no client repeats.
//
// Emulator: its errors have the code Unknown, and those of a dead one
// Unavailable, which the client repeats until its deadline.
func (em *Emulator) fault(err error) error {
	if err == nil {
		return nil
	}
	if died := em.Died(); died != nil {
		err = died
	}
	switch status.Code(err) {
	case codes.Canceled, codes.DeadlineExceeded:
		return err
	}
	return status.Error(codes.FailedPrecondition, fmt.Sprintf("emulator: %v", err))
}
