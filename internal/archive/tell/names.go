package tell

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// Name gives the first of an entry's names, for people.
func Name(names []string) string {
	if len(names) == 0 || names[0] == "" {
		return "a file without a name"
	}
	return fmt.Sprintf("%.200q", names[0])
}

// Names gives the readings of a name in octets of an unknown character set: UTF-8 where it is that, else the code pages
// of Windows and DOS.
func Names(raw []byte) []string {
	if utf8.Valid(raw) {
		return Add(nil, string(raw))
	}
	windows, dos := decode(charmap.Windows1252, raw), decode(charmap.CodePage437, raw)
	if strings.ContainsRune(windows, utf8.RuneError) { // not every octet is a character of Windows
		return Add(nil, dos, windows)
	}
	return Add(nil, windows, dos)
}

func decode(page *charmap.Charmap, raw []byte) string {
	var b strings.Builder
	for _, c := range raw {
		b.WriteRune(page.DecodeByte(c))
	}
	return b.String()
}

// Add appends names that are not among names yet, as UTF-8. What is empty is left out.
func Add(names []string, more ...string) []string {
	for _, name := range more {
		name = strings.ToValidUTF8(name, "\uFFFD")
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// AddRaw appends the readings of a name in octets of an unknown character set, up to the first NUL and without the white
// space around it.
func AddRaw(names []string, raw []byte) []string {
	raw, _, _ = bytes.Cut(raw, []byte{0})
	return Add(names, Names(bytes.TrimSpace(raw))...)
}

// UTF16 decodes UTF-16; an octet too many at the end is left out.
func UTF16(order binary.ByteOrder, raw []byte) string {
	units := make([]uint16, len(raw)/2)
	for i := range units {
		units[i] = order.Uint16(raw[2*i:])
	}
	return string(utf16.Decode(units))
}
