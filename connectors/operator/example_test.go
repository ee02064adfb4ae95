package operator_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"optsweep/connectors/embedded"
	"optsweep/connectors/operator"
	"optsweep/connectors/optoutlog"
	"optsweep/schemas"
	"optsweep/schemas/durable"
)

// A client asks an operator; here it is our own, over a log with one opt-out.
func Example() {
	dir, err := os.MkdirTemp("", "operator-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	id := func(n byte) schemas.ID {
		id, _ := schemas.FromRaw(append(make([]byte, 31), n))
		return id
	}
	since := time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC)
	if _, err := optoutlog.Write(optoutlog.WriterOptions{Dir: dir, Start: since, End: since.Add(time.Hour)},
		[]optoutlog.Entry{optoutlog.NewEntry(id(1), since.Unix())}); err != nil {
		fmt.Println(err)
		return
	}
	store := optoutlog.New(optoutlog.Options{Dir: dir})
	if err := store.Load(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	key, secret, record, err := embedded.NewKey(embedded.KeyOptions{Scope: schemas.EUID, Environment: schemas.Integration, SiteID: 1, Name: "example"})
	if err != nil {
		fmt.Println(err)
		return
	}
	clients := filepath.Join(dir, "clients.json")
	if err := embedded.AddClient(durable.Disk{}, clients, record); err != nil {
		fmt.Println(err)
		return
	}
	server, err := embedded.NewServer(embedded.Options{Store: store, Clients: clients})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	listening := httptest.NewServer(server)
	defer listening.Close()

	client, err := operator.New(operator.Options{
		Kind: operator.Public, URL: listening.URL, Scope: schemas.EUID, Environment: schemas.Integration,
		Credentials: func(context.Context) (operator.Credentials, error) {
			return operator.Credentials{APIKey: key, ClientSecret: secret}, nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	answer, err := client.Check(context.Background(), []schemas.ID{id(1), id(2)})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, o := range answer.OptedOut {
		fmt.Println(o.ID == id(1), time.UnixMilli(o.SinceMS).UTC().Format(time.DateTime))
	}
	fmt.Println(len(answer.OptedOut), "of 2 opted out,", len(answer.Rejected), "rejected")
	// Output:
	// true 2026-03-04 00:00:00
	// 1 of 2 opted out, 0 rejected
}
