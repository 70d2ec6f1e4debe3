package pipeline

import (
	"strings"
	"unicode"
)

// The longest texts, in octets, that reports, verdicts and replies carry for people.
const (
	maxErrorText  = 500
	maxDetailText = 120
	maxBecause    = 400
	maxReplyText  = 400
)

// printable makes one line of s that is safe in logs and on terminals: blanks and line ends become one
// space, what can't be printed becomes '?', and what is longer than limit octets is cut.
func printable(s string, limit int) string {
	var b strings.Builder
	space := false
	for _, r := range s {
		if unicode.IsSpace(r) {
			space = b.Len() > 0
			continue
		}
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			r = '?'
		}
		if b.Len() >= limit {
			b.WriteString("…")
			break
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		b.WriteRune(r)
	}
	return b.String()
}
