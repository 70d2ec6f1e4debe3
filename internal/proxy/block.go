package proxy

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"net/netip"
)

// The two octets behind the signature (2.2): version and command, family and protocol.
const (
	local  = 0x20
	remote = 0x21

	overIPv4 = 0x11 // TCP over IPv4
	overIPv6 = 0x21

	lastFamily, lastProtocol = 0x3, 0x2
)

// The additions (2.2): a type of one octet, a length of two, so many octets.
const (
	additionHead = 3
	typeCRC32C   = 0x03
)

// readBlock reads a header of version 2, of which head is the beginning.
func readBlock(r io.Reader, head []byte) (Header, error) {
	head, err := more(r, head, fixed-len(head))
	if err != nil {
		return Header{}, err
	}
	command, family := head[12], head[13]
	n := int(binary.BigEndian.Uint16(head[14:]))
	switch {
	case command != local && command != remote:
		return Header{}, malformed("it begins with %q", head)
	case n > mostBlock:
		return Header{}, malformed("its length of %d octets is above our limit", n)
	}
	// 2.2: as many octets as were announced belong to the header, also to that of a LOCAL connection.
	if head, err = more(r, head, n); err != nil {
		return Header{}, err
	}
	if command == local {
		return Header{Local: true}, nil // 2.2: the rest is to be discarded, the family with it
	}
	if family>>4 > lastFamily || family&0xf > lastProtocol {
		return Header{}, malformed("family and protocol %#02x do not exist", family)
	}
	block := head[fixed:]
	size := 0
	switch family {
	case overIPv4:
		size = 2*4 + 2*2
	case overIPv6:
		size = 2*16 + 2*2
	default:
		// 2.2: what is valid and not known to the receiver counts as UNSPEC.
		return Header{Local: true}, nil
	}
	if len(block) < size {
		return Header{}, malformed("%d octets can't hold its addresses", len(block))
	}
	if err := checkAdditions(head, fixed+size); err != nil {
		return Header{}, err
	}
	return parseEnds(block[:size]), nil
}

// parseEnds reads two addresses, then two ports.
func parseEnds(b []byte) Header {
	n := (len(b) - 4) / 2
	source, _ := netip.AddrFromSlice(b[:n])
	destination, _ := netip.AddrFromSlice(b[n : 2*n])
	return between(
		netip.AddrPortFrom(source.Unmap(), binary.BigEndian.Uint16(b[2*n:])),
		netip.AddrPortFrom(destination.Unmap(), binary.BigEndian.Uint16(b[2*n+2:])),
	)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checkAdditions walks through the additions, which begin at an offset of the whole header. Only a checksum is looked
// at: what a proxy says of TLS between the client and itself is no proof to us.
func checkAdditions(head []byte, at int) error {
	sum := -1
	for at < len(head) {
		if len(head)-at < additionHead {
			return malformed("an addition is cut off")
		}
		kind, n := head[at], int(binary.BigEndian.Uint16(head[at+1:]))
		at += additionHead
		if len(head)-at < n {
			return malformed("an addition is cut off")
		}
		if kind == typeCRC32C {
			if n != 4 || sum >= 0 {
				return malformed("its checksum has a wrong form")
			}
			sum = at
		}
		at += n
	}
	if sum < 0 {
		return nil
	}
	// 2.2.3: the sum of the whole header, with zeros where the sum itself stands.
	want := binary.BigEndian.Uint32(head[sum:])
	clear(head[sum : sum+4])
	if crc32.Checksum(head, castagnoli) != want {
		return malformed("its checksum is wrong")
	}
	return nil
}
