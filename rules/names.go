package rules

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// What lines say of rules that there are not, which is how a name that is misspelled shows.

// mention is a line that says something of a rule.
type mention struct {
	key, name string
}

// mentions notes the first line of each keyword that names a rule.
func (r *reader) mentions(key, name string) {
	if m := (mention{key, name}); r.mentioned[m] == (Position{}) {
		r.mentioned[m] = r.at
	}
}

// tellUnknown names the lines about rules that are nowhere defined. What stands behind an if that does not hold is there for others: so
// are the rules of plugins that are not loaded, and what is said of them elsewhere.
func (l *loader) tellUnknown(s *Set) {
	like := map[string]string{}
	order := func(a, b mention) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.key, b.key)) }
	for _, m := range slices.SortedFunc(maps.Keys(l.mentioned), order) {
		if l.rules[m.name] != nil || l.passed[m.name] {
			continue
		}
		meant, known := like[m.name]
		if !known && len(like) < maxMeant {
			meant = l.meant(m.name)
			like[m.name] = meant
		}
		switch {
		case meant != "":
			l.tell(l.mentioned[m], Inexact, m.name, "%s: there is no such rule; is %s meant?", m.key, meant)
		case m.key == "score": // files of scores have some for rules that are gone, those of SpamAssassin too
			l.tell(l.mentioned[m], Note, m.name, "score: there is no such rule")
		default:
			l.tell(l.mentioned[m], Inexact, m.name, "%s: there is no such rule", m.key)
		}
	}
	for _, r := range s.rules {
		for _, name := range r.test.strangers {
			if !l.passed[name] {
				l.tell(r.At, Inexact, r.Name, "it names %s: there is no such rule, and it counts as not hit", name)
			}
		}
	}
}

// Means reports whether a text with * and ? means a rule, or one behind an if that does not hold. Where it means none it also gives one of
// which it may be a misspelling, "" for none.
func (s *Set) Means(glob string) (ok bool, meant string) {
	for name := range s.passed {
		if matchGlob(glob, name) {
			return true, ""
		}
	}
	for _, r := range s.rules {
		switch {
		case matchGlob(glob, r.Name):
			return true, ""
		case meant == "" && len(glob) >= shortName && near(glob, r.Name):
			meant = r.Name
		}
	}
	return false, meant
}

// maxMeant is for how many names those are looked for that may be meant.
const maxMeant = 1000

// shortName is how long a name must be for another one to be like it.
const shortName = 4

// meant gives a rule whose name another one may be a misspelling of.
func (l *loader) meant(name string) string {
	for _, of := range l.order {
		if len(name) >= shortName && near(name, of) {
			return of
		}
	}
	return ""
}

// near reports whether two names differ in one letter that was added, left out or replaced, or in two that were swapped. Numbers make other names.
func near(a, b string) bool {
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	digit := func(s string) bool { return s != "" && '0' <= s[0] && s[0] <= '9' }
	switch {
	case digit(a) || digit(b):
		return false
	case len(a)+len(b) == 1, len(a) == 1 && len(b) == 1:
		return true
	}
	return len(a) == 2 && len(b) == 2 && a[0] == b[1] && a[1] == b[0]
}

// flagWords are the words of tflags that mean something, here or to others.
var flagWords = wordSet(`net nice learn userconf noautolearn autolearn_force autolearn_body autolearn_header noawl multiple nosubject nolog
	ips_only domains_only notrim a ns concat publish nopublish`)

// tflags takes "tflags NAME words". Commas divide words, too: SpamAssassin looks for words anywhere in a line.
func (r *reader) tflags(name, rest string) {
	words := strings.FieldsFunc(rest, func(c rune) bool { return c == ',' || strings.ContainsRune(space, c) })
	if len(words) == 0 {
		r.tell(r.at, Fault, name, "tflags: no flag is named, and what was set before stays")
		return
	}
	for _, w := range words {
		key, value, has := strings.Cut(w, "=")
		known := flagWords[w]
		switch {
		case has && key == "maxhits":
			_, err := strconv.ParseUint(value, 10, 32)
			known = err == nil
		case has && key == "range":
			known = strings.Trim(value, "0123456789-") == ""
		}
		if !known {
			r.tell(r.at, Inexact, name, "tflags: %q means nothing", cut(w, 40))
		}
	}
	r.flags[name] = words
}
