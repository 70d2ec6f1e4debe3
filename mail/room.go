package mail

import "bytes"

// Reading straight into the memory of a message: Room gives some of it, Filled takes in what was read there, and Leave gives
// back what was not needed. What Filled can't take as it is goes through Write, as everything may.
//
// A read may bring little, of a sender who is slow. So memory that the message has no need of yet is lent for one read;
// it becomes the message's own if the read has filled a good part of it, and else what came is copied out of it.

const (
	mostRoom  = blockSize // octets that one read may bring
	leastRoom = 16 << 10  // octets for which it is worth while
)

// Room gives memory to read the next octets into, nil where they have to be written; nothing else may be done with the
// Ingest before Filled or Leave. With lend it may be memory that is lent.
func (g *Ingest) Room(lend bool) []byte {
	if g.ended || g.err != nil || g.bare || g.dot {
		return nil
	}
	from := len(g.buf)
	if g.cr {
		from++
	}
	memory := g.buf
	if g.file != nil && len(g.buf) > blockSize/2 {
		if !g.flush() {
			return nil
		}
		from -= len(memory)
		memory = g.buf
	}
	switch {
	case cap(g.buf)-from >= leastRoom && (g.file != nil || from+leastRoom <= g.opts.Memory):
	case g.file != nil || !lend || from+leastRoom > min(g.opts.Memory, 4*blockSize):
		return nil
	default:
		if g.lent == nil {
			g.lent = getBuffer(g.mayNeed(from))
		}
		memory = g.lent
	}
	g.room = memory[from:min(from+mostRoom, cap(memory))]
	return g.room
}

// mayNeed tells how much memory is to be lent to a message that has so much: of what is expected to be short not the most.
func (g *Ingest) mayNeed(have int) int {
	if g.opts.Size > 0 && g.opts.Size+leastRoom <= blockSize && have+leastRoom <= blockSize {
		return blockSize
	}
	return 4 * blockSize
}

// Filled takes in the first n octets of the Room, up to the first line that begins with a dot, as far as they hold no line end
// but CRLF. With begins they begin a line. The rest is for the caller to undo the dots of (RFC 5321 4.5.2) and to
// write; it is valid until Leave, which has to follow before anything else is done.
func (g *Ingest) Filled(n int, begins bool) (rest []byte) {
	b := g.room[:n]
	if n == 0 || begins && b[0] == '.' {
		return b
	}
	n, ok := plainLines(b, g.cr)
	if !ok {
		return b
	}
	more, ends := n, b[n-1] == '\r'
	if g.cr {
		more++
	}
	if ends {
		more-- // waits for what follows
	}
	size := len(g.buf) + more
	if g.opts.Limit > 0 && g.size+int64(more) > g.opts.Limit || g.file == nil && size > g.opts.Memory {
		return b // Write knows what becomes of it
	}
	g.faults.NUL += int64(bytes.Count(b[:n], nul))
	g.dots = g.dots || b[0] == '.'
	switch {
	case g.lent != nil && cap(g.lent) > bufferSize(g.capacity(size)) && cap(g.lent) > 4*size:
		g.keep(b[:n])
		return b[n:]
	case g.lent != nil:
		memory := append(g.lent, g.buf...)
		putBuffer(g.buf)
		g.buf, g.lent = memory, nil
	}
	if g.cr {
		g.buf = append(g.buf, '\r')
	}
	g.buf, g.cr = g.buf[:size], ends
	g.size += int64(more)
	if g.file != nil && size == blockSize {
		g.flush() // there is no rest: the block was full
	}
	return b[n:]
}

// Leave ends the use of the Room.
func (g *Ingest) Leave() {
	g.room = nil
	if g.lent != nil {
		putBuffer(g.lent)
		g.lent = nil
	}
}
