package arc

import (
	"slices"
	"strings"
)

type tag struct{ name, value string }

// layout is a list of tags in lines. RFC 8617 4.1.2 and 4.1.3: the instance comes first; any order of the others is
// right (RFC 6376 3.2). What stands in a line does not depend on the value of b=, so that a field folds alike before and
// after it is signed.
type layout [][]tag

// byName gives the same tags in one line, in the order of their names.
func (l layout) byName() layout {
	all := slices.Concat(l...)
	slices.SortFunc(all, func(a, b tag) int { return strings.Compare(a.name, b.name) })
	return layout{all}
}

// text gives the list with a value for b=, and folds values that are too long for a line or leaves them whole.
func (l layout) text(b string, fold bool) string {
	var out strings.Builder
	for i, line := range l {
		for j, t := range line {
			if t.name == "b" {
				t.value = b
			}
			if fold {
				t.value = t.folded()
			}
			switch {
			case j > 0:
				out.WriteString("; ")
			case i > 0:
				out.WriteString(";\r\n ")
			}
			out.WriteString(t.name + "=" + t.value)
		}
	}
	return out.String()
}

// maxLine is how long a line should be at most, without its CRLF (RFC 5322 2.1.1).
const maxLine = 78

// folded gives the value of a tag that begins a line, and may be too long for one.
func (t tag) folded() string {
	const indent = 1
	room := maxLine - indent - len(t.name) - len("=;")
	var lines []string
	switch t.name {
	case "b": // RFC 6376 3.5: white space anywhere
		for piece := range slices.Chunk([]byte(t.value), room) {
			lines = append(lines, string(piece))
		}
	case "h": // RFC 6376 3.5: white space around a colon
		line := ""
		for name := range strings.SplitAfterSeq(t.value, ":") {
			if line != "" && len(line)+len(name) > room {
				lines = append(lines, line)
				line = ""
			}
			line += name
		}
		lines = append(lines, line)
	default:
		return t.value
	}
	return strings.Join(lines, "\r\n ")
}
