package zip

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// names gives every reading of the names of headers, the usual one first: readers differ in whether they heed the
// flag of UTF-8 (APPNOTE D.1) and the Unicode Path field, and what they take unmarked octets for.
func names(records ...*record) (all []string) {
	add := func(s string) {
		if s != "" && len(s) <= maxName && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	for _, r := range records {
		if r == nil {
			continue
		}
		if utf8.Valid(r.unicode) {
			add(string(r.unicode))
		}
		for _, s := range readings(r.name, r.flags&flagUTF8 != 0) {
			add(s)
		}
	}
	// Readers in C end a name at its first NUL.
	for _, s := range all {
		if i := strings.IndexByte(s, 0); i > 0 {
			add(s[:i])
		}
	}
	return all
}

// maxName is the length of a name in octets above which it is none for any system, after conversion.
const maxName = 3 << 16

// readings gives the texts that a name may stand for.
func readings(name []byte, marked bool) (all []string) {
	if ascii(name) {
		return []string{string(name)}
	}
	utf, _ := strings.CutPrefix(string(name), "\ufeff")
	if utf8.Valid(name) {
		all = append(all, utf)
	}
	if cp437, err := charmap.CodePage437.NewDecoder().Bytes(name); err == nil {
		all = append(all, string(cp437))
	}
	if !marked {
		if latin, err := charmap.Windows1252.NewDecoder().Bytes(name); err == nil {
			all = append(all, string(latin))
		}
	}
	return all
}

func ascii(b []byte) bool {
	return bytes.IndexFunc(b, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
}

// sameName reports whether two headers give the same name: the separators of DOS and Unix are the same to most.
func sameName(a, b []byte) bool {
	return bytes.Equal(a, b) || bytes.Equal(bytes.ReplaceAll(a, []byte(`\`), []byte("/")), bytes.ReplaceAll(b, []byte(`\`), []byte("/")))
}
