// Package foreign knows containers by their first octets that the gateway does not look into. It reads none of them.
package foreign

import (
	"bytes"
	"context"
	"encoding/binary"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell"
)

// headSize is how many octets Walk gives to Detect.
const headSize = 64 << 10

// magics are the formats that are known by octets at a fixed place.
var magics = []struct {
	at    int
	magic string
	name  string
}{
	{7, "**ACE**", "an ACE archive"},
	{20, "\xdc\xa7\xc4\xfd", "a ZOO archive"},
	{0, "xar!", "a XAR archive"},
	{0, "hsqs", "a SquashFS image"},
	{0, "sqsh", "a SquashFS image"},
	{0, "shsq", "a SquashFS image"},
	{0, "qshs", "a SquashFS image"},
	{0, "\x45\x3d\xcd\x28", "a CramFS image"},
	{0, "-rom1fs-", "a ROMFS image"},
	{0, "MSWIM\x00\x00\x00", "a Windows image"},
	{0, "WLPWM\x00\x00\x00", "a Windows image"},
	{0, "ISc(", "an InstallShield cabinet"},
	{0, "\x13\x5d\x65\x8c", "an InstallShield archive"},
	{0, "SZDD\x88\xf0\x27\x33", "a file packed by COMPRESS.EXE"},
	{0, "SZ \x88\xf0\x27\x33\xd1", "a file packed by COMPRESS.EXE"},
	{0, "KWAJ\x88\xf0\x27\xd1", "a file packed by COMPRESS.EXE"},
	{0, "ITSF\x03\x00\x00\x00", "a compiled help file"},
	{0, "ITOLITLS", "a compiled help file"},
	{8, "\x19\x04\x00\x10", "a Symbian installation file"},
	{0, "\x7a\x1a\x20\x10", "a Symbian installation file"},
	{0, "zPQ", "a ZPAQ archive"},
	{0, "7kSt", "a ZPAQ archive"},
	{0, "LRZI", "an LRZIP file"},
	{0, "\x89LZO\x00\r\n\x1a\n", "an LZOP file"},
	{0, "SIT!", "a StuffIt archive"},
	{0, "StuffIt ", "a StuffIt archive"},
	{0, "SITD", "a StuffIt X archive"},
	{0, "StuffIt!", "a StuffIt X archive"},
	{0, "PAR2\x00PKT", "a parity volume"},
	{0, "UC2\x1a", "a UC2 archive"},
	{0, "HLSQZ", "a SQZ archive"},
	{0, "\x1aJar\x1b", "a JAR archive of ARJ Software"},
	{14, "\x1aJar\x1b", "a JAR archive of ARJ Software"},
	{0, "YC\x1a", "a YAC archive"},
	{0, "QFI\xfb", "a QEMU disk image"},
	{0, "KDMV", "a VMware disk image"},
	{0, "COWD", "a VMware disk image"},
	{0, "# Disk DescriptorFile", "a VMware disk image"},
	{64, "\x7f\x10\xda\xbe", "a VirtualBox disk image"},
	{0, "\xed\xab\xee\xdb", "an RPM package"},
	{0, "Cr24", "a browser extension"},
	{0, "ZM20", "a ZIM archive"},
	{0, "ArC\x01", "a FreeArc archive"},
	{0, "PEA\x01", "a PEA archive"},
	{0, "bvx2", "an LZFSE file"},
	{0, "bvxn", "an LZFSE file"},
	{0, "bvx-", "an LZFSE file"},
	{0, "pbzx", "a PBZX file"},
	{0, "AA01", "an Apple archive"},
	{0, "AEA1", "an encrypted Apple archive"},
	{0, "encrcdsa", "an encrypted disk image"},
	{0, "cdsaencr", "an encrypted disk image"},
	{0, "LUKS\xba\xbe", "an encrypted disk"},
	{0, "-FVE-FS-", "an encrypted disk"},
	{3, "-FVE-FS-", "an encrypted disk"},
}

// Detect gives the name of the container that head begins, for people: "an ARJ archive". It is empty for what is none
// of the containers known here.
func Detect(head []byte) (name string) {
	for _, m := range magics {
		if len(head) >= m.at && bytes.HasPrefix(head[m.at:], []byte(m.magic)) {
			return m.name
		}
	}
	switch {
	case isARJ(head):
		return "an ARJ archive"
	case isLHA(head):
		return "an LHA archive"
	case isARC(head):
		return "an ARC archive"
	}
	return ""
}

// Is reports whether Detect knows what head begins.
func Is(head []byte) bool { return Detect(head) != "" }

// isARJ knows the main header of an archive: its size, of the fixed part too, and its type.
func isARJ(head []byte) bool {
	if len(head) < 12 || head[0] != 0x60 || head[1] != 0xea {
		return false
	}
	size := binary.LittleEndian.Uint16(head[2:])
	first := uint16(head[4])
	return size > 0 && size <= 2600 && first >= 0x1e && first <= size && head[10] == 2
}

// isLHA knows the method of the first file, and the level of its header.
func isLHA(head []byte) bool {
	if len(head) < 21 || head[2] != '-' || head[6] != '-' || head[20] > 3 {
		return false
	}
	switch string(head[3:5]) {
	case "lh", "lz", "pm", "ah", "pc":
		return true
	}
	return false
}

// isARC knows an archive of ARC, PAK or ArcFS by its mark, a method, and a name that ends in its field.
func isARC(head []byte) bool {
	if len(head) < 29 || head[0] != 0x1a || head[1] == 0 || head[1] > 11 && head[1] != 0x7f {
		return false
	}
	name, _, ended := bytes.Cut(head[2:15], []byte{0})
	if !ended || len(name) == 0 {
		return false
	}
	for _, c := range name {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// Walk tells v that the container is not looked into. It is an archive.Walk.
func Walk(_ context.Context, f *archive.File, b *archive.Budget, v archive.Visitor) error {
	head, err := f.Head(headSize)
	if err != nil {
		return err
	}
	name := Detect(head)
	if name == "" {
		name = "a container of an unknown form"
	}
	return tell.New(b, v).Sign(archive.Unreadable, "%s, which is not looked into", name)
}
