package mailbox

import (
	"bytes"
	"fmt"
)

// NoMessageError tells of a file, or of an entry of an mbox, that is no message.
type NoMessageError struct {
	Name  string
	Entry bool   // of an mbox
	Why   string // "a zip archive"
}

// Error implements error.
func (e *NoMessageError) Error() string {
	return fmt.Sprintf("mailbox: %s: no message: %s", e.Name, e.Why)
}

// formats are what people have beside their mail, by how they begin: no field begins so.
var formats = []struct {
	magic, why string
}{
	{"PK\x03\x04", "a zip archive, which has to be unpacked"},
	{"7z\xbc\xaf\x27\x1c", "a 7z archive, which has to be unpacked"},
	{"\xfd7zXZ\x00", "packed with xz, which is not read here"},
	{"\x28\xb5\x2f\xfd", "packed with zstd, which is not read here"},
	{"\x1f\x8b\x08", "packed twice"},
	{"!BDN", "a file of Outlook (.pst), which is not read here"},
	{"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a file of Outlook (.msg) or of Office, which is not read here"},
}

// maxLook bounds where a field is looked for, in octets.
const maxLook = 64 << 10

// whyNone says why something is no message: it has no header field at all. "" for what is one.
func whyNone(b []byte) string {
	for _, f := range formats {
		if bytes.HasPrefix(b, []byte(f.magic)) {
			return f.why
		}
	}
	if isTar(b) {
		return "a tar archive, which has to be unpacked"
	}
	for rest := b[:min(len(b), maxLook)]; len(rest) > 0; {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte{'\n'})
		line = bytes.TrimSuffix(line, []byte{'\r'})
		switch {
		case isField(line):
			return ""
		case !isText(line):
			return "it is no text"
		case len(line) == 0:
			return "no header field stands before its first empty line"
		}
	}
	return "it has no header field"
}

// tarMagic is where a tar archive says that it is one, in octets.
const tarMagic = 257

// isTar reports whether a tar archive begins here. A sender can have the same word at the same place of a message, but what fills the fields
// of an archive up, NULs in its first line, stands in no Return-Path or Received that a server has put before it.
func isTar(b []byte) bool {
	if len(b) < tarMagic || !bytes.HasPrefix(b[tarMagic:], []byte("ustar")) {
		return false
	}
	line, _, _ := bytes.Cut(b[:tarMagic], []byte{'\n'})
	return bytes.IndexByte(line, 0) >= 0
}

// isField reports whether a line begins a field (RFC 5322 2.2), by a name of letters, digits and what else there is in names; blanks may
// stand before the colon (RFC 5322 4.5).
func isField(line []byte) bool {
	name, _, ok := bytes.Cut(line, []byte{':'})
	name = bytes.TrimRight(name, " \t")
	if !ok || len(name) == 0 {
		return false
	}
	for _, c := range name {
		if c|0x20 < 'a' || c|0x20 > 'z' {
			if (c < '0' || c > '9') && !bytes.ContainsRune([]byte("-_.+/"), rune(c)) {
				return false
			}
		}
	}
	return true
}

// isText reports whether a line has no control characters but those that text has: tabs, and what switches alphabets or pages.
func isText(line []byte) bool {
	for _, c := range line {
		if c < 0x20 && c != '\t' && c != '\r' && c != '\f' && c != 0x1b || c == 0x7f {
			return false
		}
	}
	return true
}
