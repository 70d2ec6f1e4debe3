package config

import (
	"fmt"
	"strings"
)

// Pos is a place in the file; lines and columns begin at 1. The zero Pos is no place.
type Pos struct{ Line, Col int }

// Error is one fault of a configuration, at its place.
type Error struct {
	File      string
	Line, Col int      // from 1; 0 for the file as a whole
	Msg       string   // what is wrong
	Allowed   []string // what may stand here, where that is a closed set
	Excerpt   string   // the line of the file with a caret below the column, or ""
}

// Error gives the place, what is wrong, the allowed values and the excerpt, without a final line end.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Col)
	}
	b.WriteString(": " + e.Msg)
	if len(e.Allowed) > 0 {
		b.WriteString("; allowed: " + strings.Join(e.Allowed, ", "))
	}
	if e.Excerpt != "" {
		b.WriteString("\n" + e.Excerpt)
	}
	return b.String()
}

// Errors are all the faults that were found in a configuration, in the order of the file.
type Errors []*Error

// Error gives every fault, one after the other.
func (es Errors) Error() string {
	parts := make([]string, len(es))
	for i, e := range es {
		parts[i] = e.Error()
	}
	return strings.Join(parts, "\n")
}

// Unwrap gives the faults one by one.
func (es Errors) Unwrap() []error {
	all := make([]error, len(es))
	for i, e := range es {
		all[i] = e
	}
	return all
}
