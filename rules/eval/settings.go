package eval

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Position is a place in a .cf file, for messages.
type Position struct {
	File string
	Line int // from 1
}

// String gives file:line.
func (p Position) String() string { return fmt.Sprintf("%s:%d", p.File, p.Line) }

// Line is one line that sets something: its key, as the settings name it, what stands behind, and where.
type Line struct {
	Key  string
	Args string // trimmed
	At   Position
}

// Settings holds what the lines of .cf files beside the rules set for functions. Lines are kept in order: with many keys
// a later line adds to the earlier ones, and what a line means together with the others is for the function to say. The
// zero value is ready. Add is not safe for concurrent use; the rest is, once nothing is added any more.
type Settings struct {
	lines map[string][]kept
	count int

	mu    sync.Mutex
	built map[string]any
}

type kept struct {
	Line
	order int
}

// maxLines bounds what one set of files may set: stock SpamAssassin has some four thousand.
const maxLines = 1 << 20

// known names the keys that functions read, with those of the same meaning: an alias leads to its key.
var known = map[string]string{}

// keys registers keys, for a table's file.
func keys(names ...string) bool {
	for _, n := range names {
		known[n] = n
	}
	return true
}

// checks look at the arguments of a key as they come.
var checks = map[string]func(args string) error{}

// checked registers the check of a key's arguments.
func checked(key string, check func(args string) error) bool {
	checks[key] = check
	return true
}

// aliases registers further names of keys: old, new, old, new …
func aliases(pairs ...string) bool {
	for p := range slices.Chunk(pairs, 2) {
		known[p[0]] = p[1]
	}
	return true
}

// Add takes a line whose key is none of the rule language's own. It is known where a function reads it. A line with an
// unknown key is left to the caller. The error is of arguments that cannot be; such a line is not kept.
func (s *Settings) Add(key, args string, at Position) (knownKey bool, err error) {
	name, ok := known[key]
	if !ok {
		return false, nil
	}
	if s.count++; s.count > maxLines {
		return true, fmt.Errorf("eval: more than %d lines of settings", maxLines)
	}
	if check := checks[name]; check != nil {
		if err := check(strings.TrimSpace(args)); err != nil {
			return true, err
		}
	}
	if s.lines == nil {
		s.lines = map[string][]kept{}
	}
	s.lines[name] = append(s.lines[name], kept{Line{name, strings.TrimSpace(args), at}, s.count})
	return true, nil
}

// Lines gives the lines of some keys, in the order in which they stand in the files.
func (s *Settings) Lines(keys ...string) []Line {
	var all []kept
	for _, k := range keys {
		all = append(all, s.lines[k]...)
	}
	if len(keys) > 1 {
		slices.SortFunc(all, func(a, b kept) int { return a.order - b.order })
	}
	lines := make([]Line, len(all))
	for i, k := range all {
		lines[i] = k.Line
	}
	return lines
}

// Words gives the words of all lines of a key.
func (s *Settings) Words(key string) []string {
	var all []string
	for _, k := range s.lines[key] {
		all = append(all, strings.Fields(k.Args)...)
	}
	return all
}

// Last gives what the last line of a key says.
func (s *Settings) Last(key string) (args string, ok bool) {
	l := s.lines[key]
	if len(l) == 0 {
		return "", false
	}
	return l[len(l)-1].Args, true
}

// Built gives what build makes of the settings under a name, once for all functions that ask for it. Build must not call
// Built itself.
func Built[T any](s *Settings, name string, build func() T) T {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.built[name]; ok {
		return v.(T)
	}
	v := build()
	if s.built == nil {
		s.built = map[string]any{}
	}
	s.built[name] = v
	return v
}
