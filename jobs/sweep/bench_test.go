package sweep

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"optsweep/schemas"
)

// BenchmarkRun measures a whole run without a connector's work: one million
// rows in memory, and an operator that answers at once.
func BenchmarkRun(b *testing.B) {
	const rows = 1_000_000
	random := rand.New(rand.NewPCG(1, 2))
	cells := make([][]byte, rows)
	for i := range cells {
		raw := make([]byte, 33)
		raw[0] = 0x10
		for at := 1; at < 33; at += 8 {
			binary.BigEndian.PutUint64(raw[at:], random.Uint64())
		}
		id, err := schemas.FromRaw(raw)
		if err != nil {
			b.Fatal(err)
		}
		cells[i] = id.AppendText(nil)
	}
	var extract, check, apply float64
	for b.Loop() {
		w := newBench(b)
		w.table.units = []*memoryUnit{{name: "a", cells: cells, since: make([]int64, rows)}}
		w.operator.batch = 1 << 16
		w.realTime = true
		w.job.Memory = 1 << 30
		w.operator.forget = true
		rep, err := w.run(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		for _, p := range rep.Phases {
			switch p.Name {
			case "extract":
				extract += p.Seconds
			case "check":
				check += p.Seconds
			case "apply":
				apply += p.Seconds
			}
		}
	}
	for name, seconds := range map[string]float64{"extract": extract, "check": check, "apply": apply} {
		b.ReportMetric(float64(rows)*float64(b.N)/seconds/1e6, name+"-Mids/s")
	}
}
