package dkim

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// canonicaliser turns a body that is written to it, in pieces of any size, into its canonical form (RFC 6376 3.4.3,
// 3.4.4) for a sink.
//
// Almost everything in a body is canonical already. So the canonicaliser looks for the next place where it may not be,
// and gives on what lies before as it is. There it reads all the blanks that follow one another, and gives on what they
// come to once it sees what follows them: at the end of a line or of the body they count for nothing. What is held back
// is a count, so a body of nothing else costs no memory.
type canonicaliser struct {
	relaxed bool
	sink    *sink

	blank bool  // white space is held back: one SP, if the line goes on (relaxed)
	lines int64 // CRLFs that are held back, before the white space
	cr    bool  // a CR is held back that may belong to a CRLF
	any   bool  // something was given on
}

// Write takes the next piece of the body. It never fails.
func (c *canonicaliser) Write(p []byte) (int, error) {
	n := len(p)
	if c.cr && n > 0 {
		if c.cr = false; p[0] == '\n' {
			p = p[1:]
			c.lines, c.blank = c.lines+1, false
		} else {
			c.give('\r') // a CR alone is an octet like any other
		}
	}
	// What the blanks at the end of the piece come to, the next one will show.
	t := len(p)
	for t > 0 && (p[t-1] == '\n' || p[t-1] == '\r' || c.relaxed && (p[t-1] == ' ' || p[t-1] == '\t')) {
		t--
	}
	tail, p := p[t:], p[:t]
	for len(p) > 0 {
		p = p[c.skip(p):]
		end := len(p)
		if c.relaxed {
			end = blankAt(p)
		}
		c.put(p[:end])
		p = p[end:]
	}
	for len(tail) > 0 {
		if tail = tail[c.skip(tail):]; len(tail) == 1 && tail[0] == '\r' {
			c.cr = true
			break
		} else if len(tail) > 0 {
			c.give(tail[0])
			tail = tail[1:]
		}
	}
	return n, nil
}

// skip holds back the blanks that p begins with, and gives how many octets they are. It stops at a CR or a LF that is
// no part of a CRLF.
func (c *canonicaliser) skip(p []byte) (n int) {
	const fourLines = 0x0a0d0a0d0a0d0a0d
	lines, blank := c.lines, c.blank
	for n < len(p) {
		switch ch := p[n]; {
		case ch == '\r' && n+1 < len(p) && p[n+1] == '\n':
			// RFC 6376 3.4.4: white space at the end of a line is ignored.
			lines, blank = lines+1, false
			n += 2
			for ; n+8 <= len(p) && binary.LittleEndian.Uint64(p[n:]) == fourLines; n += 8 {
				lines += 4
			}
			continue
		case c.relaxed && (ch == ' ' || ch == '\t'):
			blank = true
			for n++; n < len(p) && (p[n] == ' ' || p[n] == '\t'); {
				if n+8 <= len(p) && allBlank(binary.LittleEndian.Uint64(p[n:])) {
					n += 8
				} else {
					n++
				}
			}
			continue
		}
		break
	}
	c.lines, c.blank = lines, blank
	return n
}

// give gives an octet on, and before it what was held back.
func (c *canonicaliser) give(ch byte) {
	c.release()
	c.sink.octet(ch)
	c.any = true
}

func (c *canonicaliser) put(p []byte) {
	if len(p) > 0 {
		c.release()
		c.sink.Write(p)
		c.any = true
	}
}

func (c *canonicaliser) release() {
	if c.lines == 1 {
		c.sink.octet('\r')
		c.sink.octet('\n')
		c.lines = 0
	}
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

// blankMarks marks octets of w, by their highest bit, where the relaxed algorithm may have to change something: a TAB, and
// an octet up to SP but CR with another such behind it. next is w moved on by one octet. A borrow between octets may mark too
// many; none that is a SP, a TAB or a LF is missed.
func blankMarks(w, next uint64) uint64 {
	pair := (w - 0x21*ones) & (next - 0x21*ones) &^ next &^ ((w ^ '\r'*ones) - ones)
	return (pair | ((w ^ '\t'*ones) - ones)) &^ w & highs
}

// allBlank reports whether all octets of w are SP or TAB.
func allBlank(w uint64) bool {
	const lows = ^uint64(highs)
	sp, tab := w^' '*ones, w^'\t'*ones
	// The highest bit of an octet stays out where all its other bits and itself are 0; nothing is carried between octets.
	return ((sp&lows+lows)|sp)&((tab&lows+lows)|tab)&highs == 0
}

// blankAt gives the offset of the first octet in p that the relaxed algorithm may have to change: of a TAB, of a SP with a
// blank behind it, or of a CRLF with a blank behind it; and len(p) if there is none. The last octet of p must be no
// blank. Eight octets are looked at together: text has a blank every six, and a search for each would take longer than the
// hash does.
func blankAt(p []byte) int {
	i := 0
	for q := p; len(q) >= 17; q = q[16:] {
		w0, w1 := binary.LittleEndian.Uint64(q), binary.LittleEndian.Uint64(q[8:])
		mark0 := blankMarks(w0, w0>>8|w1<<56)
		mark1 := blankMarks(w1, w1>>8|uint64(q[16])<<56)
		if mark0|mark1 != 0 {
			for ; mark0 != 0; mark0 &= mark0 - 1 {
				if k := changes(p, i+bits.TrailingZeros64(mark0)/8); k >= 0 {
					return k
				}
			}
			for ; mark1 != 0; mark1 &= mark1 - 1 {
				if k := changes(p, i+8+bits.TrailingZeros64(mark1)/8); k >= 0 {
					return k
				}
			}
		}
		i += 16
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
