package attachments

import (
	"bytes"
	"encoding/binary"
)

// disk makes the kind of a disk image.
func disk(mediaType, what string) kind { return kind{diskImage, mediaType, what} }

// fileSystems are disk images that announce themselves. Those of optical discs do it at their 17th sector
// (ECMA-119 7.1, ECMA-167 2/8, with sectors of 2048 octets): the octets before it may be those of any other format.
var fileSystems = []magic{
	{0x8001, "CD001", nil, disk("application/x-iso9660-image", "a disc image (ISO 9660)")},
	{0x8801, "CD001", nil, disk("application/x-iso9660-image", "a disc image (ISO 9660)")},
	{0x9001, "CD001", nil, disk("application/x-iso9660-image", "a disc image (ISO 9660)")},
	{0x8009, "CDROM", nil, disk("application/x-iso9660-image", "a disc image (High Sierra)")},
	{0x8001, "BEA01", nil, disk("application/x-iso9660-image", "a disc image (UDF)")},
	{0x8001, "NSR0", nil, disk("application/x-iso9660-image", "a disc image (UDF)")},
	{0x8801, "NSR0", nil, disk("application/x-iso9660-image", "a disc image (UDF)")},
	{0x9001, "NSR0", nil, disk("application/x-iso9660-image", "a disc image (UDF)")},
	// Sectors as they are on the disc, with their marks of synchronisation (ECMA-130 14).
	{0, "\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00", nil, disk("application/x-cd-image", "a disc image of whole sectors")},
	{0, "MEDIA DESCRIPTOR\x01", nil, disk("application/x-mds", "a disc image (MDS)")},
	{0, "CISO\x00", nil, disk("application/x-ciso", "a packed disc image")},
	{0, "conectix", nil, disk("application/x-vhd", "a virtual disk (VHD)")},
	{0, "vhdxfile", nil, disk("application/x-vhdx", "a virtual disk (VHDX)")},
	{0, "KDMV", zerosAt(5, 3), disk("application/x-vmdk", "a virtual disk (VMDK)")},
	{0, "COWD", zerosAt(5, 3), disk("application/x-vmdk", "a virtual disk (VMDK)")},
	{0, "# Disk DescriptorFile", nil, disk("application/x-vmdk", "a virtual disk (VMDK)")},
	{0, "QFI\xfb", nil, disk("application/x-qemu-disk", "a virtual disk (QCOW)")},
	{0x40, "\x7f\x10\xda\xbe", nil, disk("application/x-virtualbox-vdi", "a virtual disk (VDI)")},
	{0, "MSWIM\x00\x00\x00", nil, disk("application/x-ms-wim", "a Windows image (WIM)")},
	{0, "WLPWM\x00\x00\x00", nil, disk("application/x-ms-wim", "a Windows image (WIM)")},
	{0, "hsqs", zerosAt(29, 1), disk("application/x-squashfs", "a file system (squashfs)")},
	{0, "sqsh", zerosAt(28, 1), disk("application/x-squashfs", "a file system (squashfs)")},
	{0, "\x45\x3d\xcd\x28", nil, disk("application/x-cramfs", "a file system (cramfs)")},
	{0, "encrcdsa", nil, disk("application/x-apple-diskimage", "an encrypted macOS disk image")},
	{0, "sprs\x00", nil, disk("application/x-apple-diskimage", "a macOS disk image")},
}

// detectVolume knows raw disks and volumes. Their marks are short or far from the start, so that a format
// which announces itself goes first.
func detectVolume(head []byte) kind {
	raw := func(what string) kind { return disk("application/x-raw-disk-image", "a disk image ("+what+")") }
	switch {
	case len(head) < 512:
	case at(head, 3, "NTFS    "):
		return raw("NTFS")
	case at(head, 3, "EXFAT   "):
		return raw("exFAT")
	case at(head, 512, "EFI PART"):
		return raw("GPT")
	case at(head, 32, "NXSB"):
		return disk("application/x-apple-diskimage", "a macOS disk image (APFS)")
	case at(head, 0x400, "H+\x00\x04"), at(head, 0x400, "HX\x00\x05"), at(head, 0x400, "BD") && at(head, 0x4a4, "\x00"):
		return disk("application/x-apple-diskimage", "a macOS disk image (HFS)")
	case at(head, 0, "ER\x02\x00") && at(head, 512, "PM"):
		return disk("application/x-apple-diskimage", "a macOS disk image (partitions)")
	case at(head, 0x438, "\x53\xef") && bytes.Equal(head[:4], make([]byte, 4)):
		return raw("ext")
	case !at(head, 510, "\x55\xaa"):
	case at(head, 54, "FAT"), at(head, 82, "FAT32"):
		return raw("FAT")
	case isPartitioned(head):
		return raw("partitions")
	}
	return kind{}
}

// isPartitioned asks a first sector for a table of four partitions, each of them active or not, and one of them
// with a type, a place and a length.
func isPartitioned(head []byte) bool {
	used := false
	for i := range 4 {
		p := head[446+16*i:][:16]
		if p[0]&0x7f != 0 {
			return false
		}
		start, sectors := binary.LittleEndian.Uint32(p[8:]), binary.LittleEndian.Uint32(p[12:])
		used = used || p[4] != 0 && start > 0 && sectors > 0
	}
	return used
}
