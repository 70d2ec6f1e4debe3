package disk

import (
	"encoding/binary"
	"hash/crc32"
	"unicode/utf16"
)

// image is a disk that is built in sectors.
type image struct {
	b    []byte
	size int // of a sector
}

// at gives a sector, making the image as large as is needed.
func (m *image) at(sector int) []byte {
	if need := (sector + 1) * m.size; need > len(m.b) {
		m.b = append(m.b, make([]byte, need-len(m.b))...)
	}
	return m.b[sector*m.size : (sector+1)*m.size : (sector+1)*m.size]
}

// put writes octets at the start of a sector, and into those behind it.
func (m *image) put(sector int, parts ...[]byte) {
	at := sector * m.size
	for _, p := range parts {
		m.at((at + len(p)) / m.size)
		at += copy(m.b[at:], p)
	}
}

// rec makes a directory record.
func rec(sector, size int, flags byte, name string, use ...string) []byte {
	r := make([]byte, 33)
	binary.LittleEndian.PutUint32(r[2:], uint32(sector))
	binary.LittleEndian.PutUint32(r[10:], uint32(size))
	r[25], r[32] = flags, byte(len(name))
	r = append(r, name...)
	if len(r)%2 == 1 {
		r = append(r, 0)
	}
	for _, u := range use {
		r = append(r, u...)
	}
	if len(r)%2 == 1 {
		r = append(r, 0)
	}
	r[0] = byte(len(r))
	return r
}

// field makes a system use field.
func field(kind, body string) string { return kind + string([]byte{byte(len(body) + 4), 1}) + body }

func nm(name string) string { return field("NM", "\x00"+name) }

func ucs2(s string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.BigEndian.AppendUint16(b, u)
	}
	return string(b)
}

// volumeAt writes a volume descriptor whose root is at a sector.
func (m *image) volumeAt(sector int, kind byte, escape string, root, size int) {
	d := m.at(sector)
	d[0] = kind
	copy(d[1:], "CD001\x01")
	copy(d[88:], escape)
	binary.LittleEndian.PutUint16(d[128:], isoSector)
	copy(d[156:], rec(root, size, isFolder, "\x00"))
}

// disc makes an ISO image with the records as its root, and files from sector 24 on, one in each.
func disc(records [][]byte, files ...string) *image {
	m := &image{size: isoSector}
	m.volumeAt(16, 1, "", 20, isoSector)
	copy(m.at(17), "\xffCD001\x01")
	m.put(20, append([][]byte{rec(20, isoSector, isFolder, "\x00"), rec(20, isoSector, isFolder, "\x01")}, records...)...)
	for i, f := range files {
		m.put(24+i, []byte(f))
	}
	return m
}

// floppy makes a FAT volume of 12 bits with the entries as its root, and files from cluster 2 on, one in each.
func floppy(table []uint16, entries []byte, files ...string) *image {
	m := &image{size: sectorSize}
	b := m.at(0)
	copy(b, "\xeb\x3c\x90MSDOS5.0")
	binary.LittleEndian.PutUint16(b[11:], sectorSize)
	b[13], b[16], b[21] = 1, 1, 0xf0
	binary.LittleEndian.PutUint16(b[14:], 1)
	binary.LittleEndian.PutUint16(b[17:], 32)
	binary.LittleEndian.PutUint16(b[19:], 100)
	binary.LittleEndian.PutUint16(b[22:], 1)
	b[510], b[511] = 0x55, 0xaa
	t := m.at(1)
	for i, v := range table {
		at := i * 3 / 2
		old := binary.LittleEndian.Uint16(t[at:])
		binary.LittleEndian.PutUint16(t[at:], old|v<<(i&1*4))
	}
	m.put(2, entries)
	for i, f := range files {
		m.put(4+i, []byte(f))
	}
	m.at(99)
	return m
}

// dos makes an entry of a FAT folder.
func dos(name string, attr byte, first, size int) []byte {
	e := make([]byte, 32)
	copy(e, name)
	e[11] = attr
	binary.LittleEndian.PutUint16(e[26:], uint16(first))
	binary.LittleEndian.PutUint32(e[28:], uint32(size))
	return e
}

// long makes the entries of a long name before that of a short one.
func long(name, short string) (b []byte) {
	units := append(utf16.Encode([]rune(name)), 0)
	for len(units)%13 != 0 {
		units = append(units, 0xffff)
	}
	sum := byte(0)
	for _, c := range []byte(short) {
		sum = sum>>1 | sum<<7
		sum += c
	}
	for n := len(units) / 13; n > 0; n-- {
		e := make([]byte, 32)
		e[0], e[11], e[13] = byte(n), 0x0f, sum
		if n == len(units)/13 {
			e[0] |= 0x40
		}
		for i, at := range [13]int{1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30} {
			binary.LittleEndian.PutUint16(e[at:], units[(n-1)*13+i])
		}
		b = append(b, e...)
	}
	return b
}

// vhd appends the footer of a virtual disk.
func vhd(b []byte, kind uint32) []byte {
	foot := make([]byte, sectorSize)
	copy(foot, "conectix")
	binary.BigEndian.PutUint32(foot[60:], kind)
	return append(append([]byte{}, b...), foot...)
}

// table makes a disk with one partition.
func table(kind byte, volume []byte) []byte {
	b := make([]byte, 4*sectorSize)
	b[446+4] = kind
	binary.LittleEndian.PutUint32(b[446+8:], 4)
	binary.LittleEndian.PutUint32(b[446+12:], uint32(len(volume)/sectorSize))
	b[510], b[511] = 0x55, 0xaa
	return append(b, volume...)
}

// uefi makes a disk with one partition by a GPT.
func uefi(volume []byte) []byte {
	b := table(0xee, volume)
	h := b[sectorSize:]
	copy(h, "EFI PART")
	binary.LittleEndian.PutUint64(h[72:], 2)
	binary.LittleEndian.PutUint32(h[80:], 1)
	binary.LittleEndian.PutUint32(h[84:], 128)
	e := b[2*sectorSize:]
	copy(e, "a type of sixteen")
	binary.LittleEndian.PutUint64(e[32:], 4)
	binary.LittleEndian.PutUint64(e[40:], uint64(4+len(volume)/sectorSize-1))
	binary.LittleEndian.PutUint32(h[16:], crc32.ChecksumIEEE(h[:92]))
	return b
}

// descriptor writes a UDF descriptor with its tag.
func (m *image) descriptor(sector int, id uint16, location int, write func(b []byte)) {
	b := m.at(sector)
	write(b)
	binary.LittleEndian.PutUint16(b, id)
	binary.LittleEndian.PutUint16(b[2:], 2)
	binary.LittleEndian.PutUint32(b[12:], uint32(location))
	b[4] = 0
	for i, c := range b[:16] {
		if i != 4 {
			b[4] += c
		}
	}
}

// entryAt writes a file entry, with its descriptors or content.
func (m *image) entryAt(sector int, kind, form byte, size int, data string) {
	m.descriptor(sector, tagFile, sector-udfStart, func(b []byte) {
		binary.LittleEndian.PutUint16(b[16+4:], 4)
		b[16+11], b[16+18] = kind, form
		binary.LittleEndian.PutUint64(b[56:], uint64(size))
		binary.LittleEndian.PutUint32(b[172:], uint32(len(data)))
		copy(b[176:], data)
	})
}

func shortAD(kind, size, block int) string {
	b := binary.LittleEndian.AppendUint32(nil, uint32(kind<<30|size))
	return string(binary.LittleEndian.AppendUint32(b, uint32(block)))
}

func longAD(size, block, ref int) string {
	b := append([]byte(shortAD(0, size, block)), byte(ref), 0)
	return string(append(b, 0, 0, 0, 0, 0, 0))
}

// fid makes a file identifier.
func fid(flags byte, name string, block int) string {
	b := make([]byte, 38)
	binary.LittleEndian.PutUint16(b, tagFileName)
	b[18] = flags
	if name != "" {
		name = "\x08" + name
	}
	b[19] = byte(len(name))
	copy(b[20:], longAD(isoSector, block, 0))
	b = append(b, name...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return string(b)
}

// udfStart is the first sector of the partition.
const udfStart = 257

// udfDisc makes a UDF image whose root has the identifiers; the entries of files follow at block 2.
func udfDisc(maps []string, root string) *image {
	m := &image{size: isoSector}
	for i, id := range []string{"BEA01", "NSR02", "TEA01"} {
		copy(m.at(16 + i)[1:], id)
	}
	m.descriptor(32, tagPartition, 32, func(b []byte) {
		binary.LittleEndian.PutUint32(b[188:], udfStart)
		binary.LittleEndian.PutUint32(b[192:], 100)
	})
	m.descriptor(33, tagLogical, 33, func(b []byte) {
		binary.LittleEndian.PutUint32(b[212:], isoSector)
		copy(b[248:], longAD(isoSector, 0, 0))
		at := 440
		for _, p := range maps {
			at += copy(b[at:], p)
		}
		binary.LittleEndian.PutUint32(b[264:], uint32(at-440))
	})
	m.descriptor(34, tagTerminating, 34, func([]byte) {})
	m.descriptor(256, tagAnchor, 256, func(b []byte) {
		binary.LittleEndian.PutUint32(b[16:], 16*isoSector)
		binary.LittleEndian.PutUint32(b[20:], 32)
	})
	m.descriptor(udfStart, tagFileSet, 0, func(b []byte) { copy(b[400:], longAD(isoSector, 1, 0)) })
	m.entryAt(udfStart+1, 4, 3, len(root), root)
	return m
}

// type1 is the map of a partition that is as it is.
const type1 = "\x01\x06\x00\x00\x00\x00"
