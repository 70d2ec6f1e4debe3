package office

import (
	"strings"

	"github.com/postern-mail/postern/internal/archive/ole"
)

// installer says what of the Windows Installer a compound file is, "" where it is none of it. Where the class is not
// told, the names of the tables do (they are compressed in a way of their own).
func installer(root *ole.Storage) string {
	switch root.CLSID.String() {
	case "000C1084-0000-0000-C000-000000000046":
		return "a Windows Installer package"
	case "000C1082-0000-0000-C000-000000000046":
		return "a Windows Installer transform"
	case "000C1086-0000-0000-C000-000000000046":
		return "a Windows Installer patch"
	}
	for _, s := range root.Streams {
		if name, table := installerName(s.Name); table && (name == "_Tables" || name == "_StringPool") {
			return "a Windows Installer package"
		}
	}
	return ""
}

// installerName undoes the compression of the names of streams: two of 64 letters are one character from U+3800 on,
// or one from U+4800 on; U+4840 marks a table.
func installerName(name string) (plain string, table bool) {
	const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._"
	if rest, ok := strings.CutPrefix(name, "\u4840"); ok {
		name, table = rest, true
	}
	var b strings.Builder
	for _, r := range name {
		switch {
		case r >= 0x3800 && r < 0x4800:
			b.WriteByte(letters[(r-0x3800)&63])
			b.WriteByte(letters[(r-0x3800)>>6])
		case r >= 0x4800 && r < 0x4840:
			b.WriteByte(letters[r-0x4800])
		default:
			b.WriteRune(r)
		}
	}
	return b.String(), table
}
