package demo

// random is the SplitMix64 generator of Steele, Lea and Flood: fast, and fit
// for data that only has to look arbitrary.
type random struct{ state uint64 }

func (r *random) next() uint64 {
	r.state += golden
	return scramble(r.state)
}

const golden = 0x9E3779B97F4A7C15

func scramble(z uint64) uint64 {
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// below gives a number from 0 to n-1.
func (r *random) below(n int) int { return int(r.next() >> 32 * uint64(n) >> 32) }

// skewed is below with low numbers more likely than high ones.
func (r *random) skewed(n int) int { return int(r.share() * r.share() * float64(n)) }

// share gives a number from 0 to below 1.
func (r *random) share() float64 { return float64(r.next()>>11) / (1 << 53) }

// seeded makes a generator for one purpose and one number. Those of different
// purposes or numbers have nothing to do with each other.
func seeded(seed uint64, purpose stream, number uint64) random {
	return random{scramble(scramble(seed^uint64(purpose)*0xD1B54A32D192ED03) + number*golden)}
}

// stream is a purpose of random numbers.
type stream uint64

const (
	rowStream     stream = iota + 1 // what a row holds in its id column
	idStream                        // the bytes of an id
	optOutStream                    // whether and when an id was opted out
	columnsStream                   // the other columns
)
