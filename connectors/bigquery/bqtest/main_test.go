package bqtest_test

import (
	"fmt"
	"os"
	"testing"

	"optsweep/connectors/bigquery/bqtest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	code := bqtest.Around(m).Run()
	err := goleak.Find(
		goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"), // runs from init
		// managedwriter: sleeps on for 20 minutes after each stream's first connection
		goleak.IgnoreAnyFunction("cloud.google.com/go/bigquery/storage/managedwriter.(*connection).getStream.func1"),
	)
	if err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

var _ bqtest.T = testing.TB(nil)
