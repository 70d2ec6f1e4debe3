package attachments

import (
	"bytes"
	"encoding/binary"
)

// detectProgram knows machine code, byte code and installers.
func detectProgram(head []byte, textBody bool) kind {
	k := programOf(head)
	if k.class == "" && !textBody {
		// Readers are known that drop blanks and NULs in front, as at the start of base64 that was not quite.
		if rest := bytes.TrimLeft(head, "\r\n\t \x00"); len(rest) < len(head) && bytes.HasPrefix(rest, []byte("MZ")) {
			k = programOf(rest)
		}
	}
	if textBody && !portable(head) && bytes.IndexByte(head[:min(len(head), 512)], 0) < 0 {
		return kind{}
	}
	return k
}

func programOf(head []byte) kind {
	switch {
	case len(head) < 2:
	case bytes.HasPrefix(head, []byte("MZ")), bytes.HasPrefix(head, []byte("ZM")) && portable(head):
		if portable(head) {
			return kind{executable, "application/vnd.microsoft.portable-executable", "a Windows program"}
		}
		return kind{executable, "application/vnd.microsoft.portable-executable", "a DOS or Windows program"}
	case machO(head):
		return kind{executable, "application/x-mach-binary", "a macOS program (Mach-O)"}
	case javaClass(head):
		return kind{executable, "application/java-vm", "a Java class"}
	}
	return find(programs, head)
}

// programs are those that announce themselves by a mark alone.
var programs = []magic{
	{0, "\x7fELF", nil, kind{executable, "application/x-elf", "a Linux or Unix program (ELF)"}},
	{0, "dex\n03", nil, kind{executable, "application/x-dex", "an Android program"}},
	{0, "dex\n04", nil, kind{executable, "application/x-dex", "an Android program"}},
	{0, "dey\n03", nil, kind{executable, "application/x-dex", "an Android program"}},
	{0, "\xed\xab\xee\xdb", nil, kind{executable, "application/x-rpm", "an RPM package, which the system installs"}},
	{0, "!<arch>\ndebian-binary", nil, kind{executable, "application/vnd.debian.binary-package", "a Debian package, which the system installs"}},
	{0, "Joy!peff", nil, kind{executable, "application/x-pef-executable", "a program for old Macs (PEF)"}},
	{0, "Cr24", isExtension, kind{executable, "application/x-chrome-extension", "a browser extension"}},
	{0, "FWS", isFlash, kind{executable, "application/x-shockwave-flash", "a Flash film, which is a program"}},
	{0, "CWS", isFlash, kind{executable, "application/x-shockwave-flash", "a Flash film, which is a program"}},
	{0, "ZWS", isFlash, kind{executable, "application/x-shockwave-flash", "a Flash film, which is a program"}},
}

// isFlash asks for a version that there is, and a length of less than 512 MiB (SWF file format, chapter 2).
func isFlash(head []byte) bool {
	return len(head) > 8 && head[3] > 0 && head[3] < 0x80 && head[7] < 0x20 && head[7] != '\t' && head[7] != '\n' && head[7] != '\r'
}

// isExtension asks for version 2 or 3.
func isExtension(head []byte) bool {
	return len(head) >= 8 && head[4] >= 2 && head[4] <= 3 && head[5] == 0 && head[6] == 0 && head[7] == 0
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
	case 0xbebafeca, 0xbfbafeca:
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
	k := is("application/x-ole-storage")
	shift := binary.LittleEndian.Uint16(head[0x1e:])
	if shift != 9 && shift != 12 {
		return k, true
	}
	at := (int64(binary.LittleEndian.Uint32(head[0x30:]))+1)<<shift + 0x50
	if at+16 > int64(len(head)) {
		return k, true
	}
	if isInstaller(head[at : at+16]) {
		return kind{executable, "application/x-msi", "a Windows Installer package"}, true
	}
	return k, true
}

// isInstaller knows the class identifiers of Windows Installer's compound files: {000C1084-…} is a package,
// {000C1082-…} a transform, {000C1086-…} a patch.
func isInstaller(id []byte) bool {
	return id[0]&^6 == 0x80 && bytes.Equal(id[1:], []byte("\x10\x0c\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46"))
}
