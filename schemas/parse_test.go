package schemas

import (
	"testing"
)

func BenchmarkParse(b *testing.B) {
	rules := Rules{Scope: EUID, Environment: Production}
	cells := [][]byte{}
	for i := range 1024 {
		id := ID{0x10}
		if i%3 == 0 { id[0] = v2Tag }
		for j := 1; j < IDSize; j++ { id[j] = byte(i*31 + j*j*17 + i>>3) }
		cells = append(cells, id.AppendText(nil))
	}
	i := 0
	for b.Loop() {
		if _, _, reason := rules.Parse(cells[i&1023]); reason != Valid { b.Fatal(reason) }
		i++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mids/s")
}
