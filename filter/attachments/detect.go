package attachments

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
)

// headSize is how many decoded octets of a part are looked at to tell what it is.
const headSize = 64 << 10

// kind is what the content of a part is, by its own evidence.
type kind struct {
	class     class  // "" for nothing dangerous
	mediaType string // "" when unknown
	what      string // for people: "a Windows program"
}

// detect tells from the first octets of a part what it is. The text bodies of a message are judged more
// carefully: people write about programs, nobody's mail client runs what it shows as text, and a line
// that begins with MZ is no program. So there only a binary program counts, and it must look like one
// beyond its first letters.
func detect(head []byte, textBody bool) kind {
	if k := detectProgram(head, textBody); k.class != "" {
		return k
	}
	if k, ok := detectOLE(head); ok {
		if textBody {
			k.class = ""
		}
		return k
	}
	if textBody {
		return kind{}
	}
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.magic)) {
			return m.kind
		}
	}
	return detectText(head)
}

// shellLink begins a Windows shortcut: the size of its header and its class identifier (MS-SHLLINK 2.1).
const shellLink = "\x4c\x00\x00\x00\x01\x14\x02\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46"

// magics are formats that announce themselves in their first octets.
var magics = []struct {
	magic string
	kind  kind
}{
	{shellLink, kind{shortcut, "application/x-ms-shortcut", "a Windows shortcut"}},
	// Not the whole of the EICAR test file, lest this source be taken for one.
	{`X5O!P%@AP[4\PZX54(P^)`, kind{executable, "application/x-dos-com", "the EICAR test program"}},
	{"#@~^", kind{script, "text/vbscript", "an encoded Windows script"}},
	{"ITSF\x03\x00\x00\x00", kind{script, "application/vnd.ms-htmlhelp", "a compiled help file, which may run scripts"}},
	{"%PDF-", kind{"", "application/pdf", ""}},
	{"PK\x03\x04", kind{"", "application/zip", ""}},
	{"PK\x05\x06", kind{"", "application/zip", ""}},
	{"\x1f\x8b", kind{"", "application/gzip", ""}},
	{"Rar!\x1a\x07", kind{"", "application/vnd.rar", ""}},
	{"7z\xbc\xaf\x27\x1c", kind{"", "application/x-7z-compressed", ""}},
	{"MSCF\x00\x00\x00\x00", kind{"", "application/vnd.ms-cab-compressed", ""}},
	{"{\\rtf", kind{"", "application/rtf", ""}},
	{"\x89PNG\r\n\x1a\n", kind{"", "image/png", ""}},
	{"\xff\xd8\xff", kind{"", "image/jpeg", ""}},
	{"GIF87a", kind{"", "image/gif", ""}},
	{"GIF89a", kind{"", "image/gif", ""}},
	{"II*\x00", kind{"", "image/tiff", ""}},
	{"MM\x00*", kind{"", "image/tiff", ""}},
	{"OggS", kind{"", "application/ogg", ""}},
	{"ID3", kind{"", "audio/mpeg", ""}},
	{"\x78\x9f\x3e\x22", kind{"", "application/ms-tnef", ""}},
}

// detectProgram knows machine code, byte code and installers.
func detectProgram(head []byte, textBody bool) kind {
	if len(head) < 2 {
		return kind{}
	}
	var k kind
	switch {
	case bytes.HasPrefix(head, []byte("MZ")), bytes.HasPrefix(head, []byte("ZM")) && portable(head):
		k = kind{executable, "application/vnd.microsoft.portable-executable", "a DOS or Windows program"}
		if portable(head) {
			k.what = "a Windows program"
		}
	case bytes.HasPrefix(head, []byte("\x7fELF")):
		k = kind{executable, "application/x-elf", "a Linux or Unix program (ELF)"}
	case machO(head):
		k = kind{executable, "application/x-mach-binary", "a macOS program (Mach-O)"}
	case javaClass(head):
		k = kind{executable, "application/java-vm", "a Java class"}
	case bytes.HasPrefix(head, []byte("dex\n03")):
		k = kind{executable, "application/x-dex", "an Android program"}
	case bytes.HasPrefix(head, []byte("\xed\xab\xee\xdb")):
		k = kind{executable, "application/x-rpm", "an RPM package, which the system installs"}
	case bytes.HasPrefix(head, []byte("!<arch>\ndebian-binary")):
		k = kind{executable, "application/vnd.debian.binary-package", "a Debian package, which the system installs"}
	}
	if textBody && !portable(head) && bytes.IndexByte(head[:min(len(head), 512)], 0) < 0 {
		return kind{}
	}
	return k
}

// portable reports whether the DOS header points to a PE header (PE format, MS-DOS stub).
func portable(head []byte) bool {
	if len(head) < 0x40 {
		return false
	}
	at := int64(binary.LittleEndian.Uint32(head[0x3c:]))
	return at+4 <= int64(len(head)) && bytes.HasPrefix(head[at:], []byte("PE\x00\x00"))
}

// machO knows thin binaries of both word sizes and byte orders, and fat ones. A fat binary shares its
// magic with Java classes: what follows is a count of architectures there, and a version here, and
// no Java class has a version below 45.
func machO(head []byte) bool {
	if len(head) < 8 {
		return false
	}
	switch binary.BigEndian.Uint32(head) {
	case 0xfeedface, 0xfeedfacf, 0xcefaedfe, 0xcffaedfe:
		return true
	case 0xcafebabe, 0xcafebabf:
		n := binary.BigEndian.Uint32(head[4:])
		return n > 0 && n < 45
	case 0xbebafeca:
		n := binary.LittleEndian.Uint32(head[4:])
		return n > 0 && n < 45
	}
	return false
}

// javaClass knows class files (JVMS 4.1): minor version, then a major one of 45 and above.
func javaClass(head []byte) bool {
	if len(head) < 8 || binary.BigEndian.Uint32(head) != 0xcafebabe {
		return false
	}
	major := binary.BigEndian.Uint16(head[6:])
	return major >= 45 && major < 200
}

// detectOLE knows compound files, and among them Windows Installer's by the class identifier of the root
// directory entry (MS-CFB 2.2, 2.6.1), where that entry lies in the head.
func detectOLE(head []byte) (kind, bool) {
	if len(head) < 0x40 || !bytes.HasPrefix(head, []byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")) {
		return kind{}, false
	}
	k := kind{"", "application/x-ole-storage", ""}
	shift := binary.LittleEndian.Uint16(head[0x1e:])
	if shift != 9 && shift != 12 {
		return k, true
	}
	at := (int64(binary.LittleEndian.Uint32(head[0x30:]))+1)<<shift + 0x50
	if at+16 > int64(len(head)) {
		return k, true
	}
	id := head[at : at+16]
	// {000C1084-…} is a package, {000C1082-…} a transform, {000C1086-…} a patch.
	if id[0]&^6 == 0x80 && bytes.Equal(id[1:], []byte("\x10\x0c\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46")) {
		return kind{executable, "application/x-msi", "a Windows Installer package"}, true
	}
	return k, true
}

// textHead is how much of a text is read for its shape.
const textHead = 8 << 10

// detectText tells scripts and shortcuts by how they begin. Only what no honest text begins with counts:
// a patch, a source file or a note about scripts must pass under its own name.
func detectText(head []byte) kind {
	t := plainText(head)
	first := bytes.TrimLeft(t, " \t\r\n")
	switch {
	case bytes.HasPrefix(t, []byte("#!")) && bytes.HasPrefix(bytes.TrimLeft(t[2:], " \t"), []byte("/")):
		return kind{script, "text/x-shellscript", "a script (it begins with #!)"}
	case begins(first, "@echo off"), begins(first, "@echo on"), begins(first, "@setlocal"):
		return kind{script, "application/x-bat", "a Windows command file"}
	case begins(first, "windows registry editor version 5"), begins(first, "regedit4"):
		return kind{script, "text/x-ms-regedit", "a change to the Windows registry"}
	case begins(first, "[internetshortcut"):
		return kind{shortcut, "application/x-mswinurl", "an Internet shortcut"}
	case begins(first, "[desktop entry]"):
		return kind{shortcut, "application/x-desktop", "a desktop entry"}
	case begins(first, "[shell]") && bytes.Contains(t, []byte("iconfile=")):
		return kind{shortcut, "application/x-ms-scf", "a Windows shell command file"}
	case begins(first, "["), begins(first, ";"), begins(first, "#"):
		return detectSections(first)
	case begins(first, "<"):
		return detectMarkup(first)
	}
	return kind{}
}

func begins(b []byte, s string) bool { return bytes.HasPrefix(b, []byte(s)) }

// detectSections reads an INI file, in which the section that makes it a shortcut need not be the first.
func detectSections(t []byte) kind {
	for len(t) > 0 {
		line, rest, _ := bytes.Cut(t, []byte("\n"))
		t = rest
		line = bytes.TrimSpace(line)
		switch {
		case len(line) == 0, line[0] == ';', line[0] == '#':
		case begins(line, "[internetshortcut"):
			return kind{shortcut, "application/x-mswinurl", "an Internet shortcut"}
		case begins(line, "[desktop entry]"):
			return kind{shortcut, "application/x-desktop", "a desktop entry"}
		case line[0] == '[' && line[len(line)-1] == ']':
		case bytes.IndexByte(line, '=') > 0:
		default:
			return kind{}
		}
	}
	return kind{}
}

// detectMarkup knows the XML and HTML dialects that Windows runs or follows, by their first element, and
// HTML applications by theirs.
func detectMarkup(t []byte) kind {
	root := firstElement(t)
	switch {
	case bytes.Contains(t, []byte("<hta:application")):
		return kind{script, "application/hta", "an HTML application"}
	case root == "job" || root == "package" || root == "component" || root == "scriptlet":
		if bytes.Contains(t, []byte("<script")) {
			return kind{script, "text/scriptlet", "a Windows script file"}
		}
	case root == "pcsettings" && bytes.Contains(t, []byte("<deeplink")):
		return kind{shortcut, "application/x-settingcontent", "a Windows settings shortcut"}
	case root == "librarydescription":
		return kind{shortcut, "application/windows-library+xml", "a Windows library"}
	case root == "persistedquery":
		return kind{shortcut, "application/x-search-ms", "a saved Windows search"}
	case root == "searchconnectordescription":
		return kind{shortcut, "application/windows-search-connector+xml", "a Windows search connector"}
	case root == "jnlp":
		return kind{shortcut, "application/x-java-jnlp-file", "a Java Web Start file"}
	}
	return kind{}
}

// firstElement gives the name of the first element of a text in lower case, past declarations,
// processing instructions and comments.
func firstElement(t []byte) string {
	for {
		t = bytes.TrimLeft(t, " \t\r\n")
		end := ">"
		switch {
		case begins(t, "<!--"):
			end = "-->"
		case begins(t, "<?"):
			end = "?>"
		case begins(t, "<!"):
		case begins(t, "<"):
			name := t[1:]
			if i := bytes.IndexAny(name, " \t\r\n/>"); i >= 0 {
				name = name[:i]
			}
			return string(name)
		default:
			return ""
		}
		i := bytes.Index(t, []byte(end))
		if i < 0 {
			return ""
		}
		t = t[i+len(end):]
	}
}

// plainText gives the beginning of a text with its letters in lower case and without byte order mark,
// UTF-16 turned into UTF-8: Windows reads its own text formats either way.
func plainText(head []byte) []byte {
	head = head[:min(len(head), textHead)]
	switch {
	case begins(head, "\xef\xbb\xbf"):
		head = head[3:]
	case begins(head, "\xff\xfe"):
		return bytes.ToLower(fromUTF16(head[2:], binary.LittleEndian))
	case begins(head, "\xfe\xff"):
		return bytes.ToLower(fromUTF16(head[2:], binary.BigEndian))
	}
	return bytes.ToLower(head)
}

func fromUTF16(b []byte, order binary.ByteOrder) []byte {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = order.Uint16(b[2*i:])
	}
	return []byte(string(utf16.Decode(units)))
}
