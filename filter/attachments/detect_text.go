package attachments

import (
	"bytes"
	"encoding/binary"
	"regexp"
	"unicode/utf16"
)

// Texts are told by how they begin. Whoever attaches a patch, a log, a source file or a note about scripts must
// be able to send it under its own name: so a script is one for what honest texts do not begin with, or for a
// first statement of its language together with what only such scripts do (see languages).

// detectText reads a text in each way in which it may be encoded. The first reading that is of a class counts,
// else the first that is of a type.
func detectText(head []byte) kind {
	var known kind
	for _, t := range textReadings(head) {
		k := detectReading(t)
		if k.class != "" {
			return k
		}
		if known.mediaType == "" {
			known = k
		}
	}
	return known
}

// detectReading tells what a text in lower case is.
func detectReading(t []byte) kind {
	first := bytes.TrimLeft(t, " \t\r\n\f\v\x00\u00a0\ufeff")
	if k := detectOpening(first); k.mediaType != "" {
		return k
	}
	if begins(first, "<") {
		if k := detectMarkup(first); k.mediaType != "" {
			return k
		}
	}
	if begins(first, "[") || begins(first, ";") || begins(first, "#") {
		if k := detectSections(first); k.class != "" {
			return k
		}
	}
	if bytes.IndexByte(t[:min(len(t), 4<<10)], 0) >= 0 {
		return kind{}
	}
	if k := detectScript(first); k.class != "" {
		return k
	}
	if isMessage(first) {
		return is("message/rfc822")
	}
	return kind{}
}

// openings are what some texts begin with, in lower case.
var openings = []struct {
	text string
	kind kind
}{
	{"windows registry editor version 5", kind{script, "text/x-ms-regedit", "a change to the Windows registry"}},
	{"regedit4\r", kind{script, "text/x-ms-regedit", "a change to the Windows registry"}},
	{"regedit4\n", kind{script, "text/x-ms-regedit", "a change to the Windows registry"}},
	{"regedit\r", kind{script, "text/x-ms-regedit", "a change to the Windows registry"}},
	{"regedit\n", kind{script, "text/x-ms-regedit", "a change to the Windows registry"}},
	{"# this is a shell archive", kind{script, "application/x-shar", "a shell archive"}},
	{"[internetshortcut", kind{shortcut, "application/x-mswinurl", "an Internet shortcut"}},
	{"[oledb]", kind{shortcut, "application/x-ms-udl", "a link to a database"}},
	{"xlodbc\r", kind{shortcut, "application/x-dqy", "a query of a database"}},
	{"xlodbc\n", kind{shortcut, "application/x-dqy", "a query of a database"}},
	{"querytype=oledb", kind{shortcut, "application/x-oqy", "a query of a database"}},
	{"[desktop entry]", kind{shortcut, "application/x-desktop", "a desktop entry"}},
	{"id;p", is("application/x-sylk")},
	{"{\\rt", is("application/rtf")},
	{"-----begin pgp message", is("application/pgp-encrypted")},
	{"-----begin pgp signed message", is("text/x-pgp-signed")},
	{"-----begin pgp signature", is("application/pgp-signature")},
	{"-----begin pgp public key", is("application/pgp-keys")},
	{"-----begin pkcs7-----", is("application/pkcs7-mime")},
	{"-----begin cms-----", is("application/pkcs7-mime")},
	{"(this file must be converted with binhex", is("application/mac-binhex40")},
	{"=ybegin ", is("application/x-yencoded")},
	{"begin:vcard", is("text/vcard")},
	{"begin:vcalendar", is("text/calendar")},
}

var (
	// uuencoded is the first line of a file that uuencode has made (POSIX, uuencode).
	uuencoded = regexp.MustCompile(`^begin(-base64)? 0?[0-7]{3} \S`)
	// webQuery is how a web query of Excel begins.
	webQuery = regexp.MustCompile(`^web\r?\n1\r?\n(https?:|ftp:|file:|\\\\)`)
	// remoteDesktop is a line of a Remote Desktop file: name, type and value.
	remoteDesktop = regexp.MustCompile(`^[a-z][a-z0-9 ]*:[sib]:`)
	// clickOnce is what an application reference has for its text (the whole of it).
	clickOnce = regexp.MustCompile(`^(https?|file)://[^\r\n]*\.application#`)
)

// detectOpening knows texts by their first words.
func detectOpening(t []byte) kind {
	for _, o := range openings {
		if begins(t, o.text) {
			return o.kind
		}
	}
	line := t[:min(len(t), 1<<10)]
	switch {
	case begins(t, "#!") && begins(bytes.TrimLeft(t[2:], " \t"), "/"):
		return kind{script, "text/x-shellscript", "a script (it begins with #!)"}
	case webQuery.Match(line):
		return kind{shortcut, "application/x-iqy", "a web query, which fetches data from an address"}
	case clickOnce.Match(line):
		return kind{shortcut, "application/x-ms-appref", "a reference to a program that is installed from the web"}
	case remoteDesktop.Match(line) && (bytes.Contains(t, []byte("full address:s:")) || bytes.Contains(t, []byte("remoteapplicationprogram:s:"))):
		return kind{shortcut, "application/x-rdp", "a Remote Desktop connection"}
	case uuencoded.Match(line):
		return is("text/x-uuencode")
	}
	return kind{}
}

func begins(b []byte, s string) bool { return bytes.HasPrefix(b, []byte(s)) }

// messageField is the name of a header field.
var messageField = regexp.MustCompile(`^[!-9;-~]+[ \t]*:`)

// isMessage knows Internet messages, and the web archives and mailboxes made of them: lines of a header, among
// them two fields that messages have.
func isMessage(t []byte) bool {
	known := 0
	for line := range bytes.Lines(t[:min(len(t), 8<<10)]) {
		switch {
		case begins(line, "from ") && known == 0, begins(line, ">from ") && known == 0:
		case line[0] == ' ' || line[0] == '\t':
		case !messageField.Match(line[:min(len(line), 128)]):
			return false
		}
		for _, f := range []string{"received:", "from:", "message-id:", "mime-version:", "subject:", "date:", "return-path:", "content-type:"} {
			if begins(line, f) {
				known++
			}
		}
		if known == 2 {
			return true
		}
	}
	return false
}

// textReadings gives the text in lower case, without byte order mark and in UTF-8, in each way in which a
// program may read it.
func textReadings(head []byte) [][]byte {
	switch {
	case begins(head, "\xff\xfe\x00\x00"):
		return [][]byte{bytes.ToLower(fromUTF32(head[4:], binary.LittleEndian)), bytes.ToLower(fromUTF16(head[2:], binary.LittleEndian))}
	case begins(head, "\x00\x00\xfe\xff"):
		return [][]byte{bytes.ToLower(fromUTF32(head[4:], binary.BigEndian))}
	case begins(head, "\xff\xfe"):
		// The command interpreter of Windows passes over the line with the mark, and reads octets.
		return [][]byte{bytes.ToLower(fromUTF16(head[2:], binary.LittleEndian)), bytes.ToLower(head[2:])}
	case begins(head, "\xfe\xff"):
		return [][]byte{bytes.ToLower(fromUTF16(head[2:], binary.BigEndian)), bytes.ToLower(head[2:])}
	}
	for begins(head, "\xef\xbb\xbf") {
		head = head[3:]
	}
	readings := [][]byte{bytes.ToLower(head)}
	if order := wideOrder(head); order != nil {
		readings = append(readings, bytes.ToLower(fromUTF16(head, order)))
	}
	return readings
}

// wideOrder tells UTF-16 without a mark by the NULs of its letters, nil for none.
func wideOrder(head []byte) binary.ByteOrder {
	head = head[:min(len(head), 64)&^1]
	var even, odd int
	for i, c := range head {
		if c == 0 && i%2 == 0 {
			even++
		} else if c == 0 {
			odd++
		}
	}
	switch half := len(head) / 2; {
	case half < 4:
	case even == 0 && odd >= half-1:
		return binary.LittleEndian
	case odd == 0 && even >= half-1:
		return binary.BigEndian
	}
	return nil
}

func fromUTF16(b []byte, order binary.ByteOrder) []byte {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = order.Uint16(b[2*i:])
	}
	return []byte(string(utf16.Decode(units)))
}

func fromUTF32(b []byte, order binary.ByteOrder) []byte {
	points := make([]rune, len(b)/4)
	for i := range points {
		points[i] = rune(order.Uint32(b[4*i:]))
	}
	return []byte(string(points))
}
