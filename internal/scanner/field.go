package scanner

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/postern-mail/postern/mail"
)

// maxField bounds the octets of a field that a program outside wants on a message, and maxLine those of a line (RFC 5322
// 2.1.1).
const (
	maxField = 16 << 10
	maxLine  = 998
)

// fixed are fields that no program outside may add, change or remove: those by which the structure is read, which was
// scanned as it is, and those that say which way a message came.
var fixed = []string{"mime-version", "received", "return-path"}

// MayChange reports whether a program outside may add, change or remove fields of that name at all.
func MayChange(name string) bool {
	low := mail.LowerASCII(name)
	return !strings.HasPrefix(low, "content-") && !slices.Contains(fixed, low)
}

// IsFieldName reports whether a text can be the name of a field (RFC 5322 2.2), and not a long one.
func IsFieldName(name string) bool {
	return name != "" && len(name) <= 76 && strings.IndexFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) < 0
}

// FieldBody gives the body of a field as a program outside gave it, with canonical folds. It is an error where it can't be
// one: a line that does not begin with a blank would be a field of its own.
func FieldBody(value string) (string, error) {
	value = strings.ReplaceAll(value, "\r\n", "\n")
	value = strings.Trim(value, " \t\n")
	switch {
	case len(value) > maxField:
		return "", fmt.Errorf("more than %d octets", maxField)
	case !utf8.ValidString(value):
		return "", errors.New("not UTF-8")
	}
	var out []string
	for line := range strings.SplitSeq(value, "\n") {
		line = strings.TrimRight(line, " \t")
		switch {
		case line == "":
			continue // a fold of blanks
		case len(line) > maxLine:
			return "", fmt.Errorf("a line of more than %d octets", maxLine)
		case strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			return "", errors.New("control characters")
		case len(out) > 0 && line[0] != ' ' && line[0] != '\t':
			return "", errors.New("a line that begins a field of its own")
		}
		out = append(out, line)
	}
	return strings.Join(out, "\r\n"), nil
}
