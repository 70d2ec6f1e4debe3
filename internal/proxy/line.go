package proxy

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"
)

const (
	unknown = "PROXY UNKNOWN"
	tcp4    = "PROXY TCP4 "
	tcp6    = "PROXY TCP6 "

	blanks = 5 // in a line that names addresses
)

// missing gives how many octets a line of version 1 must at least still have; 0 where it is whole. The line has at
// least as many octets as the shortest one.
func missing(line []byte) (int, error) {
	last := line[len(line)-1]
	switch s := string(line[:len(unknown)]); {
	case s == unknown:
		// 2.1: whatever stands before the line's end is to be ignored.
		switch {
		case line[len(unknown)] != ' ' && line[len(unknown)] != '\r':
			return 0, malformed("the line is %q", line)
		case bytes.HasSuffix(line, crlf):
			return 0, nil
		case last == '\r':
			return 1, nil
		}
		return len(crlf), nil
	case !strings.HasPrefix(s, tcp4) && !strings.HasPrefix(s, tcp6):
		return 0, malformed("the line is %q", line)
	}
	rest := blanks - bytes.Count(line, []byte(" "))
	ends := bytes.IndexByte(line, '\r')
	switch {
	case rest < 0, rest > 0 && ends >= 0, ends >= 0 && ends < len(line)-len(crlf):
		return 0, malformed("the line is %q", line)
	case ends == len(line)-1:
		return 1, nil
	case ends >= 0:
		if last != '\n' {
			return 0, malformed("the line is %q", line) // 2.1: a CR or LF alone ends no line
		}
		return 0, nil
	}
	n := 2*rest + len(crlf) // each blank that is to come has a field of an octet at least behind it
	if last == ' ' {
		n++
	}
	return n, nil
}

// parseLine reads a line of version 1 (2.1) that is whole, without its end.
func parseLine(line []byte) (Header, error) {
	s := string(line)
	if strings.HasPrefix(s, unknown) {
		return Header{Local: true}, nil
	}
	f := strings.Split(s, " ")
	if len(f) != blanks+1 {
		return Header{}, malformed("the line is %q", s)
	}
	source, ok1 := parseEnd(f[1], f[2], f[4])
	destination, ok2 := parseEnd(f[1], f[3], f[5])
	if !ok1 || !ok2 {
		return Header{}, malformed("the line is %q", s)
	}
	return between(source, destination), nil
}

// between makes the header of a connection. An address of zeros is nobody's.
func between(source, destination netip.AddrPort) Header {
	if source.Addr().IsUnspecified() {
		return Header{Local: true}
	}
	return Header{Source: source, Destination: destination}
}

// parseEnd reads one end of a connection; the family says which form its address must have (2.1).
func parseEnd(family, address, port string) (netip.AddrPort, bool) {
	a, err := netip.ParseAddr(address)
	if err != nil || a.Zone() != "" || a.Is4() != (family == "TCP4") {
		return netip.AddrPort{}, false
	}
	// 2.1: no zeros in front of numbers; of those in addresses netip thinks the same.
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || strconv.FormatUint(n, 10) != port {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), true
}
