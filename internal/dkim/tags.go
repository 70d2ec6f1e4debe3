package dkim

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

// MaxTags is how many tags a list may have: RFC 6376 knows fourteen for a signature and seven for a key.
const MaxTags = 64

// Tag is one tag of a list (RFC 6376 3.2).
type Tag struct {
	Name  string // as written: names are case-sensitive
	Value string // without the folding white space around it; what stands within is kept
	// Start and End are the offsets in the list between which everything behind the "=" stands, white space and all.
	Start, End int
}

// Tags is a list of tags in order, no name twice.
type Tags []Tag

// Get gives the value of a tag, and whether the list has it.
func (t Tags) Get(name string) (string, bool) {
	for i := range t {
		if t[i].Name == name {
			return t[i].Value, true
		}
	}
	return "", false
}

// Compact gives the value of a tag without any white space, for those that may be folded anywhere or hold none.
func (t Tags) Compact(name string) string {
	v, _ := t.Get(name)
	return compact(v)
}

// base64 gives the octets of a tag's value that is base64.
func (t Tags) base64(name string) ([]byte, bool) {
	v, _ := t.Get(name)
	return decodeBase64(v)
}

// ParseTags reads a tag list: the body of a signature, with its folds, or a key record. It is strict: a name that
// stands twice, a specification without "=", an empty one anywhere but behind the last ";", and octets that
// no value may have are errors. Beyond RFC 6376 it takes UTF-8 in values (RFC 8616 5) and blanks behind the last ";".
// With an error it gives the tags before the one at fault, for people to be told of.
func ParseTags(list string) (Tags, error) {
	var tags Tags
	for pos := 0; pos <= len(list); {
		end := len(list)
		if n := strings.IndexByte(list[pos:], ';'); n >= 0 {
			end = pos + n
		}
		spec := list[pos:end]
		eq := strings.IndexByte(spec, '=')
		if eq < 0 {
			if trim(spec) != "" {
				return tags, permError("a tag without a value")
			}
			// RFC 6376 3.2: one ";" may end the list; nothing else may be empty.
			if end < len(list) || len(tags) == 0 {
				return tags, permError("an empty tag")
			}
			return tags, nil
		}
		t := Tag{Name: trim(spec[:eq]), Value: trim(spec[eq+1:]), Start: pos + eq + 1, End: end}
		switch _, twice := tags.Get(t.Name); {
		case !isTagName(t.Name):
			return tags, permError("a malformed tag name")
		case twice:
			// RFC 6376 3.2: if a tag name occurs more than once, the entire tag-list is invalid.
			return tags, permError("the tag " + clip(t.Name) + "= stands twice")
		case !isTagValue(t.Value):
			return tags, permError("the tag " + clip(t.Name) + "= has octets that no value may have")
		case len(tags) == MaxTags:
			return tags, permError("too many tags")
		}
		tags = append(tags, t)
		pos = end + 1
	}
	return tags, nil
}

// isTagName tells a tag-name (RFC 6376 3.2): ALPHA *(ALPHA / DIGIT / "_").
func isTagName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (i == 0 || (c < '0' || c > '9') && c != '_') {
			return false
		}
	}
	return s != ""
}

// isTagValue tells a tag-value (RFC 6376 3.2): printable US-ASCII but ";", with folding white space within, and UTF-8.
func isTagValue(s string) bool {
	ascii := true
	for i := range len(s) {
		c := s[i]
		if c == 0x7f || c < ' ' && !isBlank(c) {
			return false
		}
		ascii = ascii && c < 0x80
	}
	return ascii || utf8.ValidString(s)
}

// isBlank tells the octets that folding white space consists of (RFC 6376 2.8).
func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// trim removes folding white space on both sides.
func trim(s string) string { return strings.Trim(s, " \t\r\n") }

// compact removes all folding white space.
func compact(s string) string { return compactTo(s, len(s)) }

// compactTo gives the first n octets of s without its folding white space, or all that there are.
func compactTo(s string, n int) string {
	first := strings.IndexFunc(s, func(r rune) bool { return r <= ' ' && isBlank(byte(r)) })
	if first < 0 || first >= n {
		return s[:min(n, len(s))]
	}
	var b strings.Builder
	b.Grow(min(n, len(s)))
	b.WriteString(s[:first])
	for i := first; i < len(s) && b.Len() < n; i++ {
		if !isBlank(s[i]) {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// decodeBase64 reads base64string (RFC 6376 2.10 and 3.5): folding white space anywhere, padding or none.
func decodeBase64(s string) ([]byte, bool) {
	s = compact(s)
	for range 2 {
		s = strings.TrimSuffix(s, "=")
	}
	b, err := base64.RawStdEncoding.DecodeString(s)
	return b, err == nil && len(b) > 0
}

// splitList reads a list whose items colons divide, with folding white space around them (RFC 6376 3.5, h= and q=).
func splitList(s string) []string {
	all := make([]string, 0, strings.Count(s, ":")+1)
	for item := range strings.SplitSeq(s, ":") {
		all = append(all, trim(item))
	}
	return all
}

// fold puts US-ASCII letters in lower case and leaves every other octet: strings.ToLower would make a "k" of the
// Kelvin sign.
func fold(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for j := i; j < len(b); j++ {
				b[j] = lower(b[j])
			}
			return string(b)
		}
	}
	return s
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
