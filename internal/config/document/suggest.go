package document

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Nearest returns the known name most like s by edit distance (Damerau-Levenshtein, optimal string
// alignment, letter case counting nothing), or "" when none is near. Ties go to the name first in
// alphabetical order.
func Nearest(s string, known []string) string {
	const longest = 64 // bytes compared; longer input is no typing error of ours
	if len(s) > longest {
		return ""
	}
	low := strings.ToLower(s)
	best, at := "", near(len(s))+1
	for _, k := range known {
		if len(k)-len(s) > at || len(s)-len(k) > at {
			continue // at least that many edits
		}
		d := distance(low, strings.ToLower(k))
		if d < at || d == at && best != "" && k < best {
			best, at = k, d
		}
	}
	if best == "" && len(s) >= 4 {
		return containing(low, known)
	}
	return best
}

// near is how many edits a name of n bytes may be away.
func near(n int) int {
	switch {
	case n < 4:
		return 1
	case n < 9:
		return 2
	}
	return n / 3
}

// containing returns the only known name that has s in it ("Prefix" in "PathPrefix"), or "".
func containing(s string, known []string) string {
	found := ""
	for _, k := range known {
		if !strings.Contains(strings.ToLower(k), s) {
			continue
		}
		if found != "" {
			return ""
		}
		found = k
	}
	return found
}

// DidYouMean words a remedy: the nearest of the known names, or all of them when none is near and they
// are few.
func DidYouMean(s string, known []string) string {
	if n := Nearest(s, known); n != "" {
		return `did you mean "` + n + `"?`
	}
	if len(known) == 0 || len(known) > 12 {
		return ""
	}
	sorted := slices.Sorted(slices.Values(known))
	return "known are " + strings.Join(sorted, ", ")
}

func distance(a, b string) int {
	two, one, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range one {
		one[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(one[j]+1, row[j-1]+1, one[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], two[j-2]+1)
			}
		}
		two, one, row = one, row, two
	}
	return one[len(b)]
}

// clip bounds s to n bytes for a message, without cutting a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}
