package config

import "strings"

// nearest finds the word that a misspelt one was probably meant to be, or "".
// Case, '-' and '_' do not count; of the letters at most a third may differ.
func nearest(misspelt string, words []string) string {
	best, bestDistance := "", len(misspelt)+1
	plain := bare(misspelt)
	for _, word := range words {
		if d := distance(plain, bare(word)); d < bestDistance && d*3 <= len(word) {
			best, bestDistance = word, d
		}
	}
	return best
}

// bare is what counts of a word: at most 64 bytes, enough to compare names.
func bare(word string) string {
	word = strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(word))
	return word[:min(len(word), 64)]
}

// distance counts the bytes to insert, delete, replace or swap with their
// neighbour to turn a into b (optimal string alignment).
func distance(a, b string) int {
	var rows [3][]int // for the last two bytes of a, and for this one
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
	}
	for j := range rows[2] {
		rows[2][j] = j
	}
	for i := 1; i <= len(a); i++ {
		rows[0], rows[1], rows[2] = rows[1], rows[2], rows[0]
		rows[2][0] = i
		for j := 1; j <= len(b); j++ {
			replace := rows[1][j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			d := min(replace, rows[1][j]+1, rows[2][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, rows[0][j-2]+1)
			}
			rows[2][j] = d
		}
	}
	return rows[2][len(b)]
}
