package dkim

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// canonicaliser turns a body that is written to it, in pieces of any size, into its canonical form (RFC 6376 3.4.3,
// 3.4.4) for a sink.
//
// Almost everything in a body is canonical already. So the canonicaliser looks for the next place where it may not be, and gives
// on what lies before as it is. Only from there it reads octet by octet, and holds back white space and line ends
// until it sees what follows them: at the end of a line or of the body they count for nothing. What is held back is a
// count, so a body of nothing else costs no memory.
type canonicaliser struct {
	relaxed bool
	sink    *sink

	blank bool  // white space is held back: one SP, if the line goes on (relaxed)
	lines int64 // CRLFs that are held back
	cr    bool  // a CR is held back that may belong to a CRLF
	any   bool  // something was given on
}

// held reports whether anything is held back.
func (c *canonicaliser) held() bool { return c.blank || c.cr || c.lines > 0 }

// Write takes the next piece of the body. It never fails.
func (c *canonicaliser) Write(p []byte) (int, error) {
	n := len(p)
	// The blanks at the end of the piece can't be judged before the next one: they are read by octets.
	t := len(bytes.TrimRight(p, c.blanks()))
	tail, p := p[t:], p[:t]
	for len(p) > 0 {
		if i := c.step(p); i > 0 {
			p = p[i:]
			continue
		}
		end := len(p)
		if c.relaxed {
			end = blankAt(p)
		}
		if end > 0 {
			c.put(p[:end])
			p = p[end:]
		}
		if len(p) > 0 {
			p = p[c.octet(p[0]):]
		}
	}
	for _, ch := range tail {
		c.octet(ch)
	}
	return n, nil
}

func (c *canonicaliser) blanks() string {
	if c.relaxed {
		return " \t\r\n"
	}
	return "\r\n"
}

// step reads octets while something is held back, and gives how many.
func (c *canonicaliser) step(p []byte) (n int) {
	for n < len(p) && c.held() {
		n += c.octet(p[n])
	}
	return n
}

// octet takes one octet. It always gives 1.
func (c *canonicaliser) octet(ch byte) int {
	switch {
	case ch == '\n' && c.cr:
		// RFC 6376 3.4.4: white space at the end of a line is ignored.
		c.cr, c.blank = false, false
		c.lines++
		return 1
	case c.cr:
		// A CR alone is an octet like any other.
		c.cr = false
		c.give('\r')
	}
	switch {
	case ch == '\r':
		c.cr = true
	case c.relaxed && (ch == ' ' || ch == '\t'):
		c.blank = true
	default:
		c.give(ch)
	}
	return 1
}

// give gives an octet on, and before it what was held back.
func (c *canonicaliser) give(ch byte) {
	c.release()
	c.sink.octet(ch)
	c.any = true
}

func (c *canonicaliser) put(p []byte) {
	c.release()
	c.sink.Write(p)
	c.any = true
}

func (c *canonicaliser) release() {
	for c.lines > 0 {
		n := min(c.lines, int64(len(manyLines)/2))
		c.sink.Write(manyLines[:2*n])
		c.lines -= n
	}
	if c.blank {
		c.sink.octet(' ')
		c.blank = false
	}
}

var manyLines = bytes.Repeat([]byte("\r\n"), 512)

// end finishes the body.
func (c *canonicaliser) end() {
	if c.cr {
		c.cr = false
		c.give('\r')
	}
	// RFC 6376 3.4.3: no empty line at the end, and a CRLF where there is none; so an empty body is one CRLF.
	// RFC 6376 3.4.4: the same, but a body that is empty then stays so.
	if c.any || !c.relaxed {
		c.sink.Write(manyLines[:2])
	}
	c.sink.end()
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// under marks, by their highest bit, the octets of w that are less than n (n <= 0x80). A borrow may mark octets
// above one that is; none is missed.
func under(w, n uint64) uint64 { return (w - n*ones) &^ w & highs }

// blankAt gives the offset of the first octet in p that the relaxed algorithm may have to change: of a TAB, of a SP with a
// blank behind it, or of a CRLF with a blank behind it; and len(p) if there is none. The last octet of p must be no
// blank. Eight octets are looked at together: text has a blank every six, and a search for each would take longer than the
// hash does.
func blankAt(p []byte) int {
	i := 0
	for i+9 <= len(p) {
		w, next := binary.LittleEndian.Uint64(p[i:]), binary.LittleEndian.Uint64(p[i+1:])
		// Two octets up to SP in a row, the first of them no CR; or a TAB. A mark too many is found out below.
		mark := under(w, 0x21)&under(next, 0x21)&^under(w^'\r'*ones, 1) | under(w^'\t'*ones, 1)
		for ; mark != 0; mark &= mark - 1 {
			at := i + bits.TrailingZeros64(mark)/8
			if k := changes(p, at); k >= 0 {
				return k
			}
		}
		i += 8
	}
	for ; i < len(p); i++ {
		if k := changes(p, i); k >= 0 {
			return k
		}
	}
	return len(p)
}

// changes gives the offset from which p has to be read by octets, if it is for the octet at i, and -1 if not.
func changes(p []byte, i int) int {
	switch ch := p[i]; {
	case ch == '\t':
		return i
	case i+1 == len(p) || !isBlank(p[i+1]):
		return -1
	case ch == ' ':
		return i
	case ch == '\n' && i > 0 && p[i-1] == '\r':
		return i - 1
	}
	return -1
}
