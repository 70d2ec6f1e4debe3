// Package proxy reads the header of the PROXY protocol, versions 1 and 2, with which a proxy says for whom it has opened
// a connection. It writes no header, decides nobody's trust, and knows nothing of what follows the header.
//
// The protocol is haproxy's, described in its doc/proxy-protocol.txt (2020/03/05); section numbers in this package are
// that document's.
package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
)

// Header is what a proxy says about a connection.
type Header struct {
	// Source and Destination are the ends of the connection that the client made to the proxy, unmapped: never
	// ::ffff:a.b.c.d. They are zero where Local is set.
	Source, Destination netip.AddrPort
	// Local says that the header names no client: the proxy speaks for itself (a health check, 2.2 LOCAL), or for
	// somebody whose address it does not have or we can't use (2.1 UNKNOWN, 2.2 UNSPEC, UNIX sockets, UDP). The
	// connection counts with its own ends.
	Local bool
}

// The errors of Read. Other errors do not come out of it.
var (
	// ErrSilent is wrapped where the connection ended, failed or reached its deadline before its first octet: a health
	// check that only looks whether the port is open does so.
	ErrSilent = errors.New("proxy: no header")
	// ErrMalformed is wrapped where what came is no header, or only the beginning of one.
	ErrMalformed = errors.New("proxy: malformed header")
)

// The sizes of headers, in octets.
const (
	shortest  = len("PROXY UNKNOWN\r\n")
	longest   = 107  // 2.1: of a line, with its end
	fixed     = 16   // 2.2: what precedes the addresses
	mostBlock = 4096 // of addresses and additions; 2 wants the whole to fit in one segment of 536 octets
)

var (
	word      = []byte("PROXY ")
	signature = []byte("\r\n\r\n\x00\r\nQUIT\n")
	crlf      = []byte("\r\n")
)

// Read reads one header off r, and not an octet more: what follows is still to be read. Errors wrap ErrSilent or
// ErrMalformed.
//
// There is no way to put an octet back into a connection, so that a line, whose length nobody knows beforehand, is read
// in pieces of as many octets as it must at least still have.
func Read(r io.Reader) (Header, error) {
	head, err := begin(r)
	if err != nil {
		return Header{}, err
	}
	if head[0] == signature[0] {
		return readBlock(r, head)
	}
	for {
		n, err := missing(head)
		switch {
		case err != nil:
			return Header{}, err
		case n == 0:
			return parseLine(head[:len(head)-len(crlf)])
		case len(head)+n > longest:
			return Header{}, malformed("the line is too long")
		}
		if head, err = more(r, head, n); err != nil {
			return Header{}, err
		}
	}
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// begin reads as many octets as both kinds of header have. 2.1: what can't become one is told at once, so that whoever
// waits for a greeting need not wait for the deadline.
func begin(r io.Reader) ([]byte, error) {
	head := make([]byte, 0, longest)
	for len(head) < shortest {
		n, err := r.Read(head[len(head):shortest])
		head = head[:len(head)+n]
		if l := len(head); l > 0 && !bytes.HasPrefix(word, head[:min(l, len(word))]) && !bytes.HasPrefix(signature, head[:min(l, len(signature))]) {
			return nil, malformed("it begins with %q", head)
		}
		switch {
		case err == nil, len(head) == shortest:
		case len(head) == 0:
			return nil, fmt.Errorf("%w: %w", ErrSilent, err)
		default:
			return nil, cut(err)
		}
	}
	return head, nil
}

// cut is the error of a header that does not end.
func cut(err error) error { return fmt.Errorf("%w: cut off: %w", ErrMalformed, err) }

// more appends n octets to head.
func more(r io.Reader, head []byte, n int) ([]byte, error) {
	l := len(head)
	if cap(head) < l+n {
		head = append(make([]byte, 0, l+n), head...)
	}
	head = head[:l+n]
	if _, err := io.ReadFull(r, head[l:]); err != nil {
		return nil, cut(err)
	}
	return head, nil
}
