package attachments

import (
	"bytes"
	"encoding/binary"
)

// containers are archives and packed files.
var containers = []magic{
	{0, "PK\x03\x04", nil, is("application/zip")},
	{0, "PK\x05\x06", nil, is("application/zip")},
	{0, "PK\x06\x06", nil, is("application/zip")},
	{0, "PK\x07\x08", nil, is("application/zip")},
	{0, "PK00PK\x03\x04", nil, is("application/zip")},
	{0, "\x1f\x8b", nil, is("application/gzip")},
	{0, "\x1f\x9d", nil, is("application/x-compress")},
	{0, "\x1f\x1e", nil, is("application/x-pack")},
	{0, "\x1f\xa0", nil, is("application/x-lzh-compress")},
	{0, "BZh", isBzip2, is("application/x-bzip2")},
	{0, "\xfd7zXZ\x00", nil, is("application/x-xz")},
	{0, "LZIP", nil, is("application/x-lzip")},
	{0, "\x28\xb5\x2f\xfd", nil, is("application/zstd")},
	{1, "\x2a\x4d\x18", isSkippable, is("application/zstd")},
	{0, "\x04\x22\x4d\x18", nil, is("application/x-lz4")},
	{0, "\x02\x21\x4c\x18", nil, is("application/x-lz4")},
	{0, "\x89LZO\x00\r\n\x1a\n", nil, is("application/x-lzop")},
	{0, "LRZI\x00", nil, is("application/x-lrzip")},
	{0, "\xff\x06\x00\x00sNaPpY", nil, is("application/x-snappy-framed")},
	{0, "SZDD\x88\xf0\x27\x33", nil, is("application/x-ms-compress-szdd")},
	{0, "KWAJ\x88\xf0\x27\xd1", nil, is("application/x-ms-compress-kwaj")},
	{0, "Rar!\x1a\x07", nil, is("application/vnd.rar")},
	{0, "RE~^", nil, is("application/vnd.rar")},
	{0, "7z\xbc\xaf\x27\x1c", nil, is("application/x-7z-compressed")},
	{0, "MSCF\x00\x00\x00\x00", nil, is("application/vnd.ms-cab-compressed")},
	{0, "ISc(", nil, is("application/x-installshield")},
	{0, "\x60\xea", isARJ, is("application/x-arj")},
	{2, "-", isLHA, is("application/x-lzh-compressed")},
	{7, "**ACE**", nil, is("application/x-ace-compressed")},
	{20, "\xdc\xa7\xc4\xfd", nil, is("application/x-zoo")},
	{0, "ALZ\x01", nil, is("application/x-alz-compressed")},
	{0, "EGGA", nil, is("application/x-egg")},
	{0, "ArC\x01", nil, is("application/x-freearc")},
	{10, "rLau", nil, is("application/x-stuffit")},
	{0, "StuffIt (c)1997-", nil, is("application/x-stuffitx")},
	{0, "StuffIt!", nil, is("application/x-stuffitx")},
	{0, "xar!", nil, is("application/x-xar")},
	{0, "!<arch>\n", nil, is("application/x-archive")},
	{0, "!<thin>\n", nil, is("application/x-archive")},
	{0, "070701", nil, is("application/x-cpio")},
	{0, "070702", nil, is("application/x-cpio")},
	{0, "070707", nil, is("application/x-cpio")},
	{0, "\xc7\x71", nil, is("application/x-cpio")},
	{0, "\x71\xc7", nil, is("application/x-cpio")},
	{257, "ustar", nil, is("application/x-tar")},
	{0, "", isOldTar, is("application/x-tar")},
	{0, "", isLZMA, is("application/x-lzma")},
	{0, "\x00\x05\x16\x00\x00", nil, is("application/applefile")},
	{0, "\x00\x05\x16\x07\x00", nil, is("application/applefile")},
}

// isBzip2 asks for a level, and for the mark of a block or of the end.
func isBzip2(head []byte) bool {
	return len(head) >= 10 && head[3] >= '1' && head[3] <= '9' && (at(head, 4, "1AY&SY") || at(head, 4, "\x17\x72\x45\x38\x50\x90"))
}

// isSkippable asks for a frame that zstd and LZ4 pass over (RFC 8878 3.1.2).
func isSkippable(head []byte) bool { return head[0]&0xf0 == 0x50 }

// isARJ asks for a main header of a size that there may be, and of which the first part is shorter.
func isARJ(head []byte) bool {
	if len(head) < 8 {
		return false
	}
	size := binary.LittleEndian.Uint16(head[2:])
	return size > 0 && size <= 2600 && head[4] >= 30 && uint16(head[4]) <= size
}

// isLHA asks for one of the methods: -lh0- to -lhx-, -lz4- and the like, -pm0-.
func isLHA(head []byte) bool {
	return len(head) >= 7 && head[6] == '-' && (at(head, 3, "lh") || at(head, 3, "lz") || at(head, 3, "pm")) && head[0] != 0
}

// isOldTar knows archives from before ustar by the sum of the header's octets (POSIX.1-1988 10.1.1).
func isOldTar(head []byte) bool {
	if len(head) < 512 || head[0] == 0 {
		return false
	}
	var want, sum int64
	digits := bytes.Trim(head[148:156], " \x00")
	if len(digits) == 0 {
		return false
	}
	for _, c := range digits {
		if c < '0' || c > '7' {
			return false
		}
		want = want<<3 | int64(c-'0')
	}
	for i, c := range head[:512] {
		if i >= 148 && i < 156 {
			c = ' '
		}
		sum += int64(c)
	}
	return sum == want
}

// isLZMA knows the older format of LZMA, which has no mark: properties, the size of a dictionary that encoders
// choose, a length that is unknown or below 256 GiB, and the first octet of the coder, which is 0.
func isLZMA(head []byte) bool {
	if len(head) < 14 || head[0] >= 9*5*5 || head[13] != 0 {
		return false
	}
	dict := binary.LittleEndian.Uint32(head[1:])
	if dict < 1<<12 || dict&(dict-1) != 0 && (dict%3 != 0 || dict/3&(dict/3-1) != 0) {
		return false
	}
	length := binary.LittleEndian.Uint64(head[5:])
	return length == ^uint64(0) || length < 1<<38
}
